"""Discovery: finding flows and their metadata in Python source, importing none of it."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from meta_flows.diagnostics import diagnostic, refuse
from meta_flows.discovery.distributions import distributions
from meta_flows.discovery.modules import Modules
from meta_flows.discovery.source import unreachable_flows
from meta_flows.discovery.tree import NEVER_CODE, Tree, join, parent
from meta_flows.models import Diagnostic, FlowMetadata, Location

__all__ = ["discover", "find_undeployable", "ignored_paths", "select"]

DEPLOYMENT_FILES = ("deployment.yaml", "deployment.yml")
RUN_TIME_FOLDERS = frozenset({"data", "output"})
LEFTOVERS = ("~", ".swp", ".swo", ".bak", ".orig", ".tmp", ".pyc")


def discover(root: Path, folder: str = "flows") -> tuple[FlowMetadata, ...]:
    """Return every flow at or below a folder of a repository, sorted by path and line.

    Paths are relative to `root`, at which imports begin. An error in one file or flow is in its own entry and never
    prevents another from being found.

    Raises:
        MetaFlowsError: MF110, the folder does not exist; MF102 or MF111, `.prefectignore` is invalid.
    """
    top = _relative(folder)
    if not (root / top).is_dir():
        raise refuse("MF110", folder=folder, root=root)
    tree = Tree(root)
    modules = Modules(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python repeats them when the flow runs
        flows = [flow for path in tree.walk(top) if _may_define_flows(path) for flow in modules.source(path).flows]
        homes = {parent(flow.path) for flow in flows}
        shared = {path: _shared_metadata(tree, modules, path, top, homes) for path in {flow.path for flow in flows}}
    flows = [flow.model_copy(update=shared[flow.path]) for flow in flows]
    flows.sort(key=lambda flow: (flow.path, flow.line))
    by_name = defaultdict[str, list[FlowMetadata]](list)
    for flow in flows:
        by_name[_known_name(flow)].append(flow)
    return tuple(_with_cross_file_errors(flow, modules, by_name[_known_name(flow)]) for flow in flows)


def find_undeployable(root: Path, flows: Iterable[FlowMetadata], folder: str = "flows") -> tuple[Diagnostic, ...]:
    """Return a diagnostic for each flow that cannot be deployed, and each deployment file that configures no flow.

    `flows` is what `discover` returned for the same folder.
    """
    tree = Tree(root)
    used = {flow.deployment_file for flow in flows if flow.deployment_file}
    found: list[Diagnostic] = []
    for path in tree.walk(_relative(folder)):
        home, _, name = path.rpartition("/")
        if name in DEPLOYMENT_FILES and path not in used and not _is_kubernetes_manifest(tree, path):
            place = Location(path=path, line=1)
            if home in map(parent, used):
                detail = "is not read: the other file of this folder is"
                found.append(diagnostic("MF203", place, key=name, detail=detail))
            else:
                found.append(diagnostic("MF114", place, folder=home or "."))
        elif _may_define_flows(path):
            with suppress(OSError):
                found += unreachable_flows(path, tree.read(path))
    return tuple(found)


def _relative(folder: str) -> str:
    return "" if normpath(folder) == "." else normpath(folder)


def _is_kubernetes_manifest(tree: Tree, path: str) -> bool:
    with suppress(OSError):
        return b"apiVersion:" in tree.read(path)
    return False


def ignored_paths(root: Path, paths: Iterable[str]) -> set[str]:
    """Return the paths that are existing files and that `.prefectignore` excludes."""
    tree = Tree(root)
    return {path for path in paths if tree.ignores(path) and (root / path).is_file()}


def select(flows: Iterable[FlowMetadata], patterns: Iterable[str]) -> tuple[FlowMetadata, ...]:
    """Return the flows that match any of the patterns; all flows if there are no patterns.

    Patterns are case-sensitive globs. One with a slash matches the flow's path or the path of a folder that contains
    it; any other matches its name, its function, or the name of such a folder, except the topmost, which has all flows.
    """
    globs = [pattern.removeprefix("./").rstrip("/") for pattern in patterns]
    return tuple(flow for flow in flows if not globs or any(_matches(flow, glob) for glob in globs))


def _matches(flow: FlowMetadata, glob: str) -> bool:
    path = PurePosixPath(flow.path)
    if "/" in glob:
        names = (flow.path, *map(str, path.parents))
    else:
        names = (flow.name if flow.function_name else path.name, flow.function_name, *path.parts[1:-1])
    return any(fnmatchcase(name, glob) for name in names)


def _may_define_flows(path: str) -> bool:
    name = path.rpartition("/")[2]
    if not name:
        return True  # an unreadable folder: reading it reports the error
    return name.endswith(".py") and not (name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")


def _is_data_of_flow(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name not in DEPLOYMENT_FILES and not name.endswith((".py", *LEFTOVERS))


def _shared_metadata(tree: Tree, modules: Modules, path: str, top: str, homes: AbstractSet[str]) -> dict[str, Any]:
    """Return the metadata that all flows of one file share.

    A file other than Python belongs to the nearest of `homes`, the folders with flows, and is a source file of every
    flow that imports from there.
    """
    folder = parent(path)
    local, elsewhere, needed = modules.closure(path)
    files = set(local)
    for home in homes & {parent(module) for module in local}:
        files.update(filter(_is_data_of_flow, tree.walk(home, NEVER_CODE | RUN_TIME_FOLDERS, homes)))
    content = "".join(f"{file}\0{tree.digest(file)}\n" for file in sorted(files))
    return {
        "local_modules": tuple(sorted(local)),
        "dependencies": distributions(elsewhere),
        "imports": tuple(sorted(needed, key=lambda item: (item.place.path, item.place.line or 0, item.module))),
        "source_files": tuple(sorted(files)),
        "source_digest": hashlib.sha256(content.encode()).hexdigest(),
        "dockerfile_path": tree.nearest(folder, ("Dockerfile",), top),
        "env_files": tuple(
            join(folder, name) for name in sorted(tree.listing(folder).files) if name.startswith(".env")
        ),
        "deployment_file": tree.nearest(folder, DEPLOYMENT_FILES, top),
    }


def _known_name(flow: FlowMetadata) -> str:
    """Return the flow's name, or a unique text if its name is unknown."""
    unknown = not flow.function_name or any(error.code == "MF104" for error in flow.validation_errors)
    return f"{flow.path}:{flow.function_name}" if unknown else flow.name


def _with_cross_file_errors(flow: FlowMetadata, modules: Modules, same_name: Sequence[FlowMetadata]) -> FlowMetadata:
    """Add the errors that depend on other files: broken imports and duplicate names."""
    errors = [*flow.validation_errors]
    for path in flow.local_modules:
        if path != flow.path and (error := modules.source(path).error):
            detail = error.message.removeprefix("SyntaxError: ")
            errors.append(diagnostic("MF108", flow.place, module=error.place, detail=detail))
    if duplicates := [str(other.place) for other in same_name if other is not flow]:
        errors.append(diagnostic("MF103", flow.place, name=flow.name, others=", ".join(duplicates)))
    return flow.model_copy(update={"validation_errors": tuple(errors), "is_valid": False}) if errors else flow
