"""Finding flows: what a folder of Python files says about its flows, read from source and importing none of it."""

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
    """Every flow at or below a folder of a repository, sorted by path and line.

    What is wrong with one file or flow is in its own entry and never keeps another from being found.

    Args:
        root: The repository's root: what paths are relative to and imports begin at.
        folder: Where the flows are.

    Raises:
        MetaFlowsError: MF110 if there is no such folder, MF102 or MF111 if `.prefectignore` cannot be used.
    """
    top = "" if normpath(folder) == "." else normpath(folder)
    if not (root / top).is_dir():
        raise refuse("MF110", folder=folder, root=root)
    tree = Tree(root)
    modules = Modules(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python warns of in a flow's code is for those who run it
        flows = [flow for path in tree.walk(top) if _may_define_flows(path) for flow in modules.source(path).flows]
        homes = {parent(flow.path) for flow in flows}
        facts = {path: _facts(tree, modules, path, top, homes) for path in {flow.path for flow in flows}}
    flows = [flow.model_copy(update=facts[flow.path]) for flow in flows]
    flows.sort(key=lambda flow: (flow.path, flow.line))
    claimants = defaultdict[str, list[FlowMetadata]](list)
    for flow in flows:
        claimants[_claimed_name(flow)].append(flow)
    return tuple(_judged(flow, modules, claimants[_claimed_name(flow)]) for flow in flows)


def find_undeployable(root: Path, flows: Iterable[FlowMetadata], folder: str = "flows") -> tuple[Diagnostic, ...]:
    """What stands beside the flows and comes to nothing: flows that none can deploy, files that configure none.

    Args:
        root: The repository's root.
        flows: What `discover` has found.
        folder: Where the flows are.
    """
    tree, top = Tree(root), "" if normpath(folder) == "." else normpath(folder)
    used = {flow.deployment_file for flow in flows}
    found = []
    for path in tree.walk(top):
        home, _, name = path.rpartition("/")
        if name in DEPLOYMENT_FILES and path not in used and not _is_of_kubernetes(tree, path):
            there = any(parent(file) == home for file in used if file)
            detail = "is not read: the other file of this folder is"
            place = Location(path=path, line=1)
            found.append(diagnostic("MF203", place, key=name, detail=detail) if there else _idle(place, home))
        elif _may_define_flows(path):
            with suppress(OSError):
                found += unreachable_flows(path, tree.read(path))
    return tuple(found)


def _idle(place: Location, home: str) -> Diagnostic:
    return diagnostic("MF114", place, folder=home or ".")


def _is_of_kubernetes(tree: Tree, path: str) -> bool:
    """Whether a `deployment.yaml` is what others call so."""
    try:
        return b"apiVersion:" in tree.read(path)
    except OSError:
        return False


def ignored_paths(root: Path, paths: Iterable[str]) -> set[str]:
    """Those of the paths that are there, and that `.prefectignore` leaves out."""
    tree = Tree(root)
    return {path for path in paths if tree.ignores(path) and (root / path).is_file()}


def select(flows: Iterable[FlowMetadata], patterns: Iterable[str]) -> tuple[FlowMetadata, ...]:
    """Those flows that match any of the patterns; all of them if there is none.

    A pattern is a glob, and case matters. One with a slash is over the flow's path and the paths of the folders it is
    in; any other over its name, its function, and the names of those folders, the topmost excepted: it has them all.
    """
    globs = [pattern.removeprefix("./").rstrip("/") for pattern in patterns]
    return tuple(flow for flow in flows if not globs or any(_matches(flow, glob) for glob in globs))


def _matches(flow: FlowMetadata, glob: str) -> bool:
    path = PurePosixPath(flow.path)
    if "/" in glob:
        words = (flow.path, *map(str, path.parents))
    else:
        words = (flow.name if flow.function_name else path.name, flow.function_name, *path.parts[1:-1])
    return any(fnmatchcase(word, glob) for word in words)


def _may_define_flows(path: str) -> bool:
    name = path.rpartition("/")[2]
    if not name:
        return True  # a folder that cannot be read: reading it says so
    return name.endswith(".py") and not (name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")


def _is_own(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name not in DEPLOYMENT_FILES and not name.endswith((".py", *LEFTOVERS))


def _facts(tree: Tree, modules: Modules, path: str, top: str, homes: AbstractSet[str]) -> dict[str, Any]:
    """What all flows of one file have in common.

    Args:
        tree: The repository.
        modules: Its modules.
        path: The file.
        top: The folder that all flows are in.
        homes: The folders that have files with flows. What is no Python belongs to the nearest of them, and counts
            for all who import from there.
    """
    folder = parent(path)
    local, elsewhere, needed = modules.closure(path)
    files = set(local)
    for home in homes & {parent(module) for module in local}:
        files.update(filter(_is_own, tree.walk(home, NEVER_CODE | RUN_TIME_FOLDERS, homes)))
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


def _claimed_name(flow: FlowMetadata) -> str:
    """The name, or something that no other flow has where the name is not known."""
    unknown = not flow.function_name or any(error.code == "MF104" for error in flow.validation_errors)
    return f"{flow.path}:{flow.function_name}" if unknown else flow.name


def _judged(flow: FlowMetadata, modules: Modules, claimants: Sequence[FlowMetadata]) -> FlowMetadata:
    """The flow with what only shows beside the other files."""
    errors = [*flow.validation_errors]
    for path in flow.local_modules:
        if path != flow.path and (error := modules.source(path).error):
            detail = error.message.removeprefix("SyntaxError: ")
            errors.append(diagnostic("MF108", flow.place, module=error.place, detail=detail))
    if rivals := [str(rival.place) for rival in claimants if rival is not flow]:
        errors.append(diagnostic("MF103", flow.place, name=flow.name, others=", ".join(rivals)))
    return flow.model_copy(update={"validation_errors": tuple(errors), "is_valid": False}) if errors else flow
