"""Rules on Dockerfiles: what makes a build fail, a run fail, or another image each day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from meta_flows.configuration import ConfiguredFlow, Environment, LocalSource, looks_secret
from meta_flows.diagnostics import diagnostic
from meta_flows.images import Context
from meta_flows.images.dockerfiles import Dockerfile, Stage, read_dockerfile
from meta_flows.models import Diagnostic, FlowMetadata, Location
from meta_flows.validation.dependencies import may_require
from meta_flows.validation.requirements import Declarations

WITHOUT_PREFECT = frozenset({"python", "debian", "ubuntu", "alpine", "fedora", "busybox", "scratch"})
"""Official images of which it is known what is not in them."""

MOST_SHOWN = 3

GLOB = re.compile(r"[*?\[]")
INSTALLS = re.compile(
    r"<<|\b(dnf|yum|zypper|pip|pip3|uv|poetry|pdm|pipenv|conda|mamba|micromamba|apk|apt-get|rye|pixi)\b|\.sh\b"
)
PLAINLY = re.compile(r"\b(?:uv )?pip3? (?:--\S+ \S+ )?install\b(?P<words>[^&|;]*)")


def check_dockerfile(
    flow: FlowMetadata, environment: Environment, context: Context, declarations: Declarations
) -> Iterator[Diagnostic]:
    """What is wrong with the Dockerfile of a flow that runs in a container, beside what keeps it from being read.

    Args:
        flow: The flow.
        environment: Whose build arguments hold.
        context: What a build sees.
        declarations: What the files declare that it installs from.

    Raises:
        MetaFlowsError: MF602, it is none.
    """
    path = flow.dockerfile_path
    if path is None:
        return
    dockerfile = read_dockerfile(context.root, path, environment.docker.build_args)
    yield from _bases(dockerfile)
    yield from _copies(dockerfile, context)
    for key, value, place in dockerfile.assignments:
        if looks_secret(key, value):
            yield diagnostic("MF624", place, key=key)
    last = dockerfile.stages[-1]
    user, stated = last.user
    if user.partition(":")[0] in ("", "root", "0"):
        yield diagnostic("MF623", stated or last.place, detail="USER is root" if stated else "no USER is set")
    copied = {file for copy in dockerfile.copies for source in copy.sources for file in context.taken_by(source)}
    gone = [module for module in flow.local_modules if module not in copied and not _is_empty(context.root / module)]
    if gone and flow.path not in gone:  # an image without the flow itself is refused as such
        more = f" and {len(gone) - MOST_SHOWN} more" if gone[MOST_SHOWN:] else ""
        yield diagnostic("MF625", flow.place, dockerfile=path, modules=", ".join(gone[:MOST_SHOWN]) + more)
    if not any(_may_have_prefect(stage, declarations) for stage in _ancestry(dockerfile)):
        yield diagnostic("MF626", Location(path=path, line=last.place.line), dockerfile=path, base=_base(last))


def check_volumes(item: ConfiguredFlow, environment: Environment) -> Iterator[Diagnostic]:
    """Folders of this machine that containers are to have and that are not there."""
    if not isinstance(environment.source, LocalSource):
        return
    for kind in item.kinds:
        volumes = item.configuration.kinds[kind].job_variables.get("volumes")
        for index, volume in enumerate(volumes if isinstance(volumes, list) else ()):
            folder = PurePosixPath(str(volume).partition(":")[0])
            if folder.is_absolute() and "{{" not in str(volume) and not _exists(str(folder)):
                document = item.configuration.document
                place = document.place(("kinds", kind, "job_variables", "volumes", index))
                yield diagnostic("MF627", place or item.flow.place, volume=volume, folder=folder)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False  # no name that a file could have


def _is_empty(file: Path) -> bool:
    return file.name == "__init__.py" and file.stat().st_size == 0


def _content(folder: Path) -> list[Path] | None:
    try:
        return list(folder.iterdir())
    except (OSError, ValueError):
        return None


def _bases(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    for stage in dockerfile.stages:
        if stage.parent is None and stage.base != "scratch" and "@" not in stage.base:
            tag = stage.base.rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                detail = "latest is another image each time" if tag else "without one it is latest"
                yield diagnostic("MF621", stage.place, base=stage.base, detail=detail)


def _copies(dockerfile: Dockerfile, context: Context) -> Iterator[Diagnostic]:
    for copy in (copy for copy in dockerfile.copies if copy.certain):
        for source in copy.sources:
            optional = GLOB.search(source) and any(map(context.taken_by, copy.sources))
            folder = context.root / source
            if optional or context.taken_by(source) or _content(folder) == []:
                continue
            hint = "; .dockerignore leaves it out" if _exists(str(folder)) else ""
            yield diagnostic("MF622", copy.place, instruction=copy.instruction, source=source or ".", hint=hint)


def _base(stage: Stage) -> str:
    return _base(stage.parent) if stage.parent else stage.base


def _ancestry(dockerfile: Dockerfile) -> Iterator[Stage]:
    """The last stage, and all that it is made of."""
    todo, seen = [dockerfile.stages[-1]], list[Stage]()
    while todo:
        stage = todo.pop()
        if stage not in seen:
            seen.append(stage)
            todo += [copy.stage for copy in stage.copies if copy.stage]
            todo += [stage.parent] if stage.parent else []
    yield from seen


def _may_have_prefect(stage: Stage, declarations: Declarations) -> bool:
    """Whether a stage begins with an image that may have it, installs it, or installs what is not known from here."""
    image = stage.base.removeprefix("docker.io/").removeprefix("library/")
    if stage.parent is None and re.split("[:@]", image)[0] not in WITHOUT_PREFECT:
        return True
    if any(copy.origin and not copy.stage for copy in stage.copies):
        return True  # from an image that is not known here
    return any(_may_install_prefect(command, stage, declarations) for command in stage.commands)


def _may_install_prefect(command: str, stage: Stage, declarations: Declarations) -> bool:
    plain = list(PLAINLY.finditer(command))
    if not plain:
        return bool(INSTALLS.search(command))
    for found in plain:
        words = re.sub(r"(\s)(?:-r|--requirement)[= ]?(?=\S)", r"\1-r ", f" {found['words']}").split()
        for before, word in zip(["", *words], words, strict=False):
            if before in ("-r", "--requirement"):
                copied = (source for copy in stage.copies if copy.origin is None for source in copy.sources)
                files = [source for source in copied if PurePosixPath(source).name == PurePosixPath(word).name]
                read = [declarations.read(path) for path in files]
                names = {item.requirement.name for each in read for item in each.requirements}
                if not files or not all(each.complete for each in read) or _brings_prefect(names):
                    return True
            elif not word.startswith("-") and before not in ("-c", "--constraint", "--target", "--python", "--prefix"):
                name = re.split(r"[\[<>=!~;\"']", word.strip("\"'"))[0]
                if not re.fullmatch(r"[\w.-]*\w", name) or _brings_prefect({name}):
                    return True
    return False


def _brings_prefect(names: set[str]) -> bool:
    """Whether one of them is Prefect, or may require it: what is not installed here may require anything."""
    return any(name.startswith("prefect") or may_require(name, "prefect") for name in map(canonicalize_name, names))
