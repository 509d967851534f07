"""Rules on Dockerfiles: what makes a build or a run fail, or a rebuild differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from meta_flows.configuration import ConfiguredFlow, Environment, LocalSource, looks_secret
from meta_flows.diagnostics import diagnostic
from meta_flows.images import BuildContext
from meta_flows.images.dockerfiles import Dockerfile, Stage, read_dockerfile
from meta_flows.models import Diagnostic, FlowMetadata, Location
from meta_flows.validation.dependencies import may_require
from meta_flows.validation.deployments import place_of
from meta_flows.validation.requirements import Declarations, succeeds

WITHOUT_PREFECT = frozenset({"python", "debian", "ubuntu", "alpine", "fedora", "busybox", "scratch"})
"""Official images that are known not to contain Prefect."""

MOST_SHOWN = 3

GLOB = re.compile(r"[*?\[]")
INSTALLS = re.compile(
    r"<<|\b(dnf|yum|zypper|pip|pip3|uv|poetry|pdm|pipenv|conda|mamba|micromamba|apk|apt-get|rye|pixi)\b|\.sh\b"
)
PIP_INSTALL = re.compile(r"\b(?:uv )?pip3? (?:--\S+ \S+ )?install\b(?P<words>[^&|;]*)")
REQUIREMENT_OPTIONS = ("-r", "--requirement")
OPTIONS_WITH_VALUE = ("-c", "--constraint", "--target", "--python", "--prefix")


def check_dockerfile(
    flow: FlowMetadata, environment: Environment, context: BuildContext, declarations: Declarations
) -> Iterator[Diagnostic]:
    """Check the Dockerfile of a flow that runs in a container.

    Raises:
        MetaFlowsError: MF602, it is not a Dockerfile.
    """
    path = flow.dockerfile_path
    if path is None:
        return
    dockerfile = read_dockerfile(context.root, path, environment.docker.build_args)
    yield from _check_bases(dockerfile)
    yield from _check_copies(dockerfile, context)
    for key, value, place in dockerfile.assignments:
        if looks_secret(key, value):
            yield diagnostic("MF624", place, key=key)
    last = dockerfile.stages[-1]
    user, user_place = last.user
    if user.partition(":")[0] in ("", "root", "0"):
        detail = "USER is root" if user_place else "no USER is set"
        yield diagnostic("MF623", user_place or last.place, detail=detail)
    copied = {file for copy in dockerfile.copies for source in copy.sources for file in context.taken_by(source)}
    modules = (module for module in flow.local_modules if not _is_empty_package(context.root / module))
    missing = [module for module in modules if module not in copied]
    if missing and flow.path not in missing:  # MF603 reports an image without the flow itself
        more = f" and {len(missing) - MOST_SHOWN} more" if missing[MOST_SHOWN:] else ""
        yield diagnostic("MF625", flow.place, dockerfile=path, modules=", ".join(missing[:MOST_SHOWN]) + more)
    if not any(_may_have_prefect(stage, declarations) for stage in _ancestry(last)):
        yield diagnostic("MF626", Location(path=path, line=last.place.line), dockerfile=path, base=_base(last))


def check_volumes(item: ConfiguredFlow, environment: Environment) -> Iterator[Diagnostic]:
    """Report volumes whose folder does not exist on this machine, where containers run on it."""
    if not isinstance(environment.source, LocalSource):
        return
    for kind in item.kinds:
        volumes = item.configuration.kinds[kind].job_variables.get("volumes")
        for index, volume in enumerate(volumes if isinstance(volumes, list) else ()):
            folder = PurePosixPath(str(volume).partition(":")[0])
            if folder.is_absolute() and "{{" not in str(volume) and not succeeds(Path(folder).exists):
                place = place_of(item, "kinds", kind, "job_variables", "volumes", index)
                yield diagnostic("MF627", place, volume=volume, folder=folder)


def _is_empty_folder(path: Path) -> bool:
    return succeeds(lambda: not any(path.iterdir()))


def _is_empty_package(file: Path) -> bool:
    return file.name == "__init__.py" and file.stat().st_size == 0


def _check_bases(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    for stage in dockerfile.stages:
        if stage.parent is None and stage.base != "scratch" and "@" not in stage.base:
            tag = stage.base.rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest"):
                detail = "its tag latest moves" if tag else "without a tag it is latest, which moves"
                yield diagnostic("MF621", stage.place, base=stage.base, detail=detail)


def _check_copies(dockerfile: Dockerfile, context: BuildContext) -> Iterator[Diagnostic]:
    for copy in (copy for copy in dockerfile.copies if copy.certain):
        for source in copy.sources:
            optional = GLOB.search(source) and any(map(context.taken_by, copy.sources))
            path = context.root / source
            if not (optional or context.taken_by(source) or _is_empty_folder(path)):
                hint = "; .dockerignore excludes it" if succeeds(path.exists) else ""
                yield diagnostic("MF622", copy.place, instruction=copy.instruction, source=source or ".", hint=hint)


def _base(stage: Stage) -> str:
    return _base(stage.parent) if stage.parent else stage.base


def _ancestry(last: Stage) -> list[Stage]:
    """Return a stage and all that it is built from."""
    found = list[Stage]()
    todo = [last]
    while todo:
        stage = todo.pop()
        if stage not in found:
            found.append(stage)
            todo += [copy.stage for copy in stage.copies if copy.stage]
            todo += [stage.parent] if stage.parent else []
    return found


def _may_have_prefect(stage: Stage, declarations: Declarations) -> bool:
    """Return whether a stage starts from an image with Prefect, or installs it, as far as is known here."""
    image = stage.base.removeprefix("docker.io/").removeprefix("library/")
    if stage.parent is None and re.split("[:@]", image)[0] not in WITHOUT_PREFECT:
        return True
    if any(copy.origin and not copy.stage for copy in stage.copies):
        return True  # copies from an image whose content is unknown
    return any(_may_install_prefect(command, stage, declarations) for command in stage.commands)


def _may_install_prefect(command: str, stage: Stage, declarations: Declarations) -> bool:
    pip_installs = list(PIP_INSTALL.finditer(command))
    if not pip_installs:
        return bool(INSTALLS.search(command))
    for found in pip_installs:
        words = re.sub(r"(\s)(?:-r|--requirement)[= ]?(?=\S)", r"\1-r ", f" {found['words']}").split()
        for before, word in zip(["", *words], words, strict=False):
            if before in REQUIREMENT_OPTIONS:
                if _file_may_bring_prefect(word, stage, declarations):
                    return True
            elif not word.startswith("-") and before not in OPTIONS_WITH_VALUE:
                name = re.split(r"[\[<>=!~;\"']", word.strip("\"'"))[0]
                if not re.fullmatch(r"[\w.-]*\w", name) or _brings_prefect({name}):
                    return True
    return False


def _file_may_bring_prefect(path: str, stage: Stage, declarations: Declarations) -> bool:
    """Return whether a requirements file in the image may name Prefect: the file of that name that a stage copies."""
    copied = (source for copy in stage.copies if copy.origin is None for source in copy.sources)
    files = [source for source in copied if PurePosixPath(source).name == PurePosixPath(path).name]
    declared = [declarations.read(file) for file in files]
    names = {item.requirement.name for each in declared for item in each.requirements}
    return not files or not all(each.complete for each in declared) or _brings_prefect(names)


def _brings_prefect(names: set[str]) -> bool:
    """Return whether one of them is Prefect, or may require it, as may anything that is not installed here."""
    return any(name.startswith("prefect") or may_require(name, "prefect") for name in map(canonicalize_name, names))
