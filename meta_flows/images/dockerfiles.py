"""Reading Dockerfiles: which files of the build context they copy to where, and where runs of the image start."""

from __future__ import annotations

import json
import posixpath
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, get_key_val_dictionary

from meta_flows.diagnostics import refuse
from meta_flows.files import read_file
from meta_flows.models import Location

INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
PREDEFINED = frozenset(f"{name}_proxy" for name in ("http", "https", "ftp", "no", "all"))
"""Build arguments that every Dockerfile accepts and no image depends on."""


class Copy(NamedTuple):
    """One COPY or ADD instruction.

    Attributes:
        sources: Paths or globs in the context, or in another stage.
        target: Absolute path in the image; a folder if it ends with a slash.
        origin: Its `--from`: name or number of a stage, or an image; None for the context.
        stage: The earlier stage of that name or number, if there is one.
        certain: Whether all variables in it are known.
    """

    instruction: str
    sources: tuple[str, ...]
    target: str
    origin: str | None
    stage: Stage | None
    place: Location
    certain: bool = True


@dataclass
class Stage:
    """One build stage: a FROM and the instructions after it.

    Attributes:
        base: The image or the earlier stage that it starts from.
        workdir: Working directory at its end.
        user: The user and the place of the last USER instruction, here or in an earlier stage.
        copies: Its COPY and ADD instructions, in order.
        commands: Its RUN instructions.
        values: Its variables.
    """

    name: str
    base: str
    place: Location
    parent: Stage | None = None
    workdir: str = "/"
    user: tuple[str, Location | None] = ("", None)
    copies: list[Copy] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


class Dockerfile(NamedTuple):
    """A Dockerfile, read with given build arguments.

    Attributes:
        path: POSIX path relative to the repository's root.
        stages: All its stages; the last one becomes the image.
        build_args: The given build arguments that it uses.
        assignments: Key, value and place of its ENV and ARG values.
    """

    path: str
    content: bytes
    stages: tuple[Stage, ...]
    build_args: Mapping[str, str]
    assignments: tuple[tuple[str, str, Location], ...]

    @property
    def workdir(self) -> str:
        """Working directory of runs."""
        return self.stages[-1].workdir

    @property
    def bases(self) -> list[str]:
        """The images that its stages start from."""
        return [stage.base for stage in self.stages if stage.parent is None]

    @property
    def copies(self) -> Iterator[Copy]:
        """The instructions of all stages that copy from the context."""
        return (copy for stage in self.stages for copy in stage.copies if copy.origin is None)

    def places(self, path: str) -> set[str]:
        """Return where this file of the context is in the image."""
        found = dict[int, set[str]]()
        for stage in self.stages:  # each is built from earlier ones
            here = set(found[id(stage.parent)]) if stage.parent else set()
            for copy in stage.copies:
                if copy.origin is None:
                    here.update(_targets(copy, path))
                elif copy.stage:
                    inner = (place.lstrip("/") for place in found[id(copy.stage)])
                    here.update(target for place in inner for target in _targets(copy, place))
            found[id(stage)] = here
        return found[id(self.stages[-1])]


def read_dockerfile(root: Path, path: str, build_args: Mapping[str, str]) -> Dockerfile:
    """Read a Dockerfile of the repository, with values for its ARG instructions.

    Raises:
        MetaFlowsError: MF602, it cannot be read, or is not a Dockerfile.
    """
    try:
        content = read_file(root / path, root).removeprefix(BOM_UTF8)
        instructions = [*_instructions(content, path)]
    except (OSError, UnicodeDecodeError) as error:
        raise refuse("MF602", Location(path=path), detail=str(error)) from None
    defaults, taken = dict[str, str](), dict[str, str]()
    stages, assignments = list[Stage](), list[tuple[str, str, Location]]()
    for instruction, value, place in instructions:
        values = stages[-1].values if stages else defaults
        if instruction == "FROM":
            stages.append(_stage(value, defaults, stages, place))
        elif instruction == "ARG":
            for name, default in _arguments(value, values):
                if name in build_args and name.lower() not in PREDEFINED:
                    taken[name] = build_args[name]
                values[name] = build_args.get(name, defaults.get(name, "") if default is None else default)
                assignments.append((name, default or "", place))
        elif not stages:
            raise refuse("MF602", place, detail=f"{instruction} before the first FROM")
        elif instruction == "ENV":
            env = _env(value, values, place)
            values |= env
            assignments += [(name, text, place) for name, text in env.items()]
        else:
            _extend(stages, instruction, value, place)
    if not stages:
        raise refuse("MF602", Location(path=path), detail="it has no FROM")
    return Dockerfile(path, content, tuple(stages), taken, tuple(assignments))


def _extend(stages: Sequence[Stage], instruction: str, value: str, place: Location) -> None:
    """Add an instruction to the last stage."""
    stage = stages[-1]
    if instruction == "WORKDIR":
        if not value.strip():
            raise refuse("MF602", place, detail="WORKDIR names no folder")
        stage.workdir = _join(stage.workdir, "".join(_words(value, stage.values)[:1]))
    elif instruction == "USER":
        stage.user = ("".join(_words(value, stage.values)[:1]), place)
    elif instruction == "RUN":
        stage.commands.append(value)
    elif instruction in ("COPY", "ADD"):
        stage.copies.append(_copy(instruction, value, stages, place))


def _instructions(content: bytes, path: str) -> Iterator[tuple[str, str, Location]]:
    file: Any = BytesIO(_without_heredocs(content))  # its stub says text, and it wants bytes
    for item in DockerfileParser(fileobj=file).structure:
        instruction, place = str(item["instruction"]), Location(path=path, line=item["startline"] + 1)
        if instruction != "COMMENT":
            if instruction not in INSTRUCTIONS:
                raise refuse("MF602", place, detail=f"unknown instruction {instruction}")
            yield instruction, str(item["value"]), place


def _without_heredocs(content: bytes) -> bytes:
    """Turn the lines of here-documents into comments: the parser does not know them."""
    lines, ends = [], list[bytes]()
    for line in content.split(b"\n"):
        if not ends:
            ends = (
                re.findall(rb"<<-?[\"']?(\w+)", line) if re.match(rb"\s*(RUN|COPY|ADD)\s", line, re.IGNORECASE) else []
            )
            lines.append(line)
            continue
        if line.strip() == ends[0]:
            ends.pop(0)
        lines.append(b"#")
    return b"\n".join(lines)


def _stage(value: str, defaults: Mapping[str, str], stages: list[Stage], place: Location) -> Stage:
    words = [word for word in _words(value, defaults) if not word.startswith("--")]
    if not words:
        raise refuse("MF602", place, detail="FROM names no image: its build argument has no value")
    base, name = words[0], "".join(words[2:]).lower()  # FROM image AS name
    parent = next((stage for stage in stages if stage.name == base.lower()), None)
    if parent:
        return Stage(name, base, place, parent, parent.workdir, parent.user, values=dict(parent.values))
    return Stage(name, base, place)


def _env(value: str, values: Mapping[str, str], place: Location) -> dict[str, str]:
    try:
        return dict(get_key_val_dictionary(value, env_replace=True, args={}, envs=dict(values)))
    except (IndexError, ValueError) as error:
        raise refuse("MF602", place, detail=f"ENV is not KEY=VALUE: {error}") from None


def _arguments(value: str, values: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    for word in _words(value, values):
        name, equals, default = word.partition("=")
        yield name, default if equals else None


def _copy(instruction: str, value: str, stages: Sequence[Stage], place: Location) -> Copy:
    *earlier, stage = stages
    flags = dict(re.findall(r"--(\w+)=(\S+)", value.partition("[")[0]))
    rest = re.sub(r"^(\s*--\S+)+\s*", "", value)
    paths = _listed(rest) or _words(rest, stage.values)
    if not paths[1:]:
        raise refuse("MF602", place, detail="it needs at least one source and a target")
    *sources, target = paths
    folder = target.endswith(("/", "/.")) or target == "." or len(sources) > 1
    absolute = _join(stage.workdir, target)
    local = [source for source in sources if "://" not in source and not source.startswith(("git@", "<<"))]
    origin = flags.get("from")
    numbered = enumerate(earlier)
    return Copy(
        instruction,
        tuple(_join("/", source).lstrip("/") for source in local),
        f"{absolute.rstrip('/')}/" if folder else absolute,
        origin,
        next((each for number, each in numbered if origin and origin.lower() in (each.name, str(number))), None),
        place,
        all(stage.values.get(name) for name in re.findall(r"\$\{?(\w+)", rest)),
    )


def _listed(value: str) -> list[str]:
    """Return the words of an instruction that is written as a JSON list; none for any other."""
    try:
        words = [str(word) for word in json.loads(value)] if value.startswith("[") else []
        "".join(words).encode()
    except (ValueError, RecursionError):
        return []
    return words


def _words(value: str, values: Mapping[str, str]) -> list[str]:
    """Return the words of an instruction, with variables filled in; the parser does not know `${NAME:-default}`."""

    def chosen(found: re.Match[str]) -> str:
        value, word = values.get(found["name"], ""), found["word"]
        return (value or word) if found["when"] == "-" else word if value else ""

    plain = re.sub(r"\$\{(?P<name>\w+):(?P<when>[-+])(?P<word>[^}]*)\}", chosen, value)
    return [word for word in WordSplitter(plain, args={}, envs=dict(values)).split() if word]


def _join(folder: str, path: str) -> str:
    """Return the absolute form of a path in a folder, without `.` and `..`."""
    return f"/{posixpath.normpath(posixpath.join(folder, path)).lstrip('/')}"


def takes(source: str, path: str) -> bool:
    """Return whether a source of a COPY is this file of the context, or a folder that contains it."""
    if source in ("", ".", path) or path.startswith(f"{source}/"):
        return True
    parts, patterns = path.split("/"), source.split("/")
    return len(patterns) <= len(parts) and all(map(fnmatchcase, parts, patterns))


def _targets(copy: Copy, path: str) -> Iterator[str]:
    """Yield where an instruction puts one file: the content of a folder goes into the target, a file under its name."""
    parts = PurePosixPath(path).parts
    for source in copy.sources:
        if takes(source, path):
            inner = "/".join(parts[len(PurePosixPath(source).parts) :])
            named = inner or (parts[-1] if copy.target.endswith("/") else "")
            yield f"{copy.target.rstrip('/')}/{named}" if named else copy.target
