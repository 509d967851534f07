"""What a repository declares that its flows need: requirements files, pyproject.toml, inline script metadata."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import normpath
from typing import Any, NamedTuple

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from meta_flows.configuration.reading import read_text
from meta_flows.configuration.secrets import masked
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.discovery.tree import join, parent
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, FlowMetadata, Location

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOR_DEVELOPERS = re.compile(r"dev|test|lint|docs?\b|bench")
NOT_READ = ("setup.py", "setup.cfg", "Pipfile", "environment.yml", "environment.yaml", "conda.yml", "conda.yaml")
INLINE = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""Inline script metadata, as the packaging guide's reference expression has it."""


class Requires(NamedTuple):
    """One requirement, and where it stands."""

    requirement: Requirement
    place: Location


class Declared(NamedTuple):
    """What some files declare.

    Attributes:
        files: Those that declare anything.
        complete: Whether all is known that is declared; some files are not read.
    """

    requirements: tuple[Requires, ...] = ()
    files: tuple[str, ...] = ()
    complete: bool = True
    errors: tuple[Diagnostic, ...] = ()


class Declarations:
    """The requirements of a repository, each file read once.

    Args:
        root: The repository.

    Attributes:
        read: What one requirements file declares.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._of_folder = cache(self._in_folder)
        self.read = cache(lambda path: _requirements_file(root, path))

    def of(self, flow: FlowMetadata) -> Declared:
        """What holds for a flow: what its own file says, and the files in its folder and in all above it."""
        found = [_inline(self._root, flow.path), self._of_folder(folder := parent(flow.path))]
        while folder:
            found.append(self._of_folder(folder := parent(folder)))
        return _joined(*found)

    def _in_folder(self, folder: str) -> Declared:
        here = self._root / folder
        found = [Declared(complete=not any((here / name).is_file() for name in NOT_READ))]
        patterns = ("requirements*.txt", "requirements*.in", "requirements/*.txt", "requirements/*.in")
        files = sorted(file for pattern in patterns for file in here.glob(pattern))
        found += [
            self.read(join(folder, file.relative_to(here).as_posix()))
            for file in files
            if not FOR_DEVELOPERS.search(file.stem)
        ]
        if is_there(here / "pyproject.toml"):
            found.append(_pyproject(self._root, join(folder, "pyproject.toml")))
        return _joined(*found)


def _joined(*parts: Declared) -> Declared:
    return Declared(
        requirements=tuple(item for part in parts for item in part.requirements),
        files=tuple(file for part in parts for file in part.files),
        complete=all(part.complete for part in parts),
        errors=tuple(error for part in parts for error in part.errors),
    )


def _parsed(text: str, place: Location) -> Declared:
    try:
        requirement = Requirement(text)
        if requirement.marker:
            requirement.marker.evaluate({"extra": ""})
        return Declared(requirements=(Requires(requirement, place),))
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as error:
        detail = str(error).partition("\n")[0]
        return Declared(errors=(diagnostic("MF125", place, detail=f"{masked('', text)}: {detail}"),), complete=False)


def _text(root: Path, path: str) -> str | Diagnostic:
    try:
        return read_text(root / path, root)
    except MetaFlowsError as error:
        return error.errors[0]


def _requirements_file(root: Path, path: str, read: set[str] | None = None) -> Declared:
    """A file as pip reads it: with continued lines, comments, options, and other files that it names.

    Args:
        root: The repository.
        path: The file in it.
        read: Files that are read already.
    """
    read = {path} if read is None else read
    try:
        text = read_text(root / path, root)
    except MetaFlowsError as error:
        in_another_encoding = isinstance(error.__context__, UnicodeDecodeError)  # pip reads more of them than we do
        return Declared(errors=() if in_another_encoding else error.errors, complete=False)
    parts = [Declared(files=(path,))]
    for number, line in _lines(text):
        if other := re.match(r"(?:-r|--requirement)[ =]*(.+)", line):
            inner = normpath(join(parent(path), other[1].strip()))
            if inner.startswith(("/", "..")) or "://" in other[1] or "$" in inner:
                parts.append(Declared(complete=False))
            elif not _is_file(root / inner):
                place = Location(path=path, line=number)
                parts.append(
                    Declared(errors=(diagnostic("MF215", place, what="the file", path=inner),), complete=False)
                )
            elif inner not in read:
                read.add(inner)
                parts.append(_requirements_file(root, inner, read))
        elif re.match(r"-e|--editable|[./]|\w+\+?\w*://|\S+\.(whl|zip|tar\.\w+)\b", line):
            named = re.search(r"#egg=([\w.-]+)", line)
            parts.append(_parsed(named[1], Location(path=path, line=number)) if named else Declared(complete=False))
        elif not line.startswith("-"):
            stated = re.split(r"\s--?\w", line)[0]
            parts.append(_parsed(stated, Location(path=path, line=number)))
    return _joined(*parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # no name that a file could have


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a requirements file that say something, with their numbers."""
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if whole else number
        whole += re.sub(r"(^|\s)#.*", "", line)
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        if whole.strip():
            yield first, whole.strip()
        whole = ""


def _pyproject(root: Path, path: str) -> Declared:
    text = _text(root, path)
    if isinstance(text, Diagnostic):
        return Declared(errors=(text,))
    data, error = _toml(text, path)
    if error:
        return Declared(errors=(error,))
    project, poetry = _table(data, "project"), _table(data, "tool", "poetry")
    stated = [
        *_list(project.get("dependencies")),
        *(item for items in _table(project, "optional-dependencies").values() for item in _list(items)),
        *(item for items in _table(data, "dependency-groups").values() for item in _list(items)),
    ]
    for group in (poetry, *(each for each in _table(poetry, "group").values() if isinstance(each, dict))):
        stated += [name for name in _table(group, "dependencies") if name != "python"]
    declares = bool(stated) or "dependencies" in project
    parts = [_parsed(item, _place_of(item, text, path)) for item in stated]
    complete = "dependencies" not in _list(project.get("dynamic"))
    return _joined(Declared(files=(path,) if declares else (), complete=complete), *parts)


def _inline(root: Path, path: str) -> Declared:
    text = _text(root, path)
    found = INLINE.search(text) if isinstance(text, str) and "# /// script" in text else None
    if not found or not isinstance(text, str):
        return Declared()
    content = "".join(line[2:] or line[1:] for line in found["content"].splitlines(keepends=True))
    data, error = _toml(content, path)
    if error:
        return Declared(errors=(error,))
    parts = [_parsed(item, _place_of(item, text, path)) for item in _list(data.get("dependencies"))]
    return _joined(Declared(files=(path,)), *parts)


def _toml(text: str, path: str) -> tuple[dict[str, Any], Diagnostic | None]:
    try:
        return tomllib.loads(text), None
    except (ValueError, RecursionError) as error:
        at = re.search(r"at line (\d+), column (\d+)", str(error))
        place = Location(path=path, line=int(at[1]), column=int(at[2])) if at else Location(path=path)
        return {}, diagnostic("MF125", place, detail=f"not valid TOML: {error}")


def _table(data: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _list(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _place_of(stated: str, text: str, path: str) -> Location:
    position = text.find(stated)
    return Location(path=path, line=text.count("\n", 0, position) + 1 if position >= 0 else None)
