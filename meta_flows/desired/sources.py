"""The source of a run's code: the folder itself, or a pinned commit of a git repository."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meta_flows.configuration import GitSource, LocalSource
from meta_flows.diagnostics import refuse
from meta_flows.models import FlowMetadata

PullSteps = Sequence[Mapping[str, Any]]

GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"


class Checkout(NamedTuple):
    """What git knows about the repository's folder.

    Attributes:
        commit: The commit checked out; None outside a git checkout.
        prefix: The folder's path within the git repository; empty at its top.
        uncommitted: Changed and untracked files, relative to the folder.
        branches: Branches that contain the commit: remote ones, or local ones where there is no remote.
        tracked: All files that git tracks, relative to the folder.
    """

    commit: str | None = None
    prefix: str = ""
    uncommitted: frozenset[str] = frozenset()
    branches: frozenset[str] = frozenset()
    tracked: frozenset[str] = frozenset()

    @property
    def dirty(self) -> bool | None:
        """Whether anything is uncommitted; None outside a git checkout."""
        return bool(self.uncommitted) if self.commit else None


def read_checkout(root: Path) -> Checkout:
    """Return the state of a folder's checkout; an empty one outside a checkout, or without git."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Checkout()
    status = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", ".") or ""
    prefix = (_git(root, "rev-parse", "--show-prefix") or "").strip()
    uncommitted = frozenset(line[3:].removeprefix(prefix) for line in status.split("\0") if line)
    refs, depth = ("refs/remotes", 3) if _git(root, "remote") else ("refs/heads", 2)
    containing = _git(root, "for-each-ref", "--format=%(refname)", "--contains", commit.strip(), refs) or ""
    branches = frozenset(name.split("/", depth)[-1] for name in containing.split())
    tracked = frozenset((_git(root, "ls-files", "-z") or "").split("\0"))
    return Checkout(commit.strip(), prefix.rstrip("/"), uncommitted, branches, tracked)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def pull_steps(
    source: LocalSource | GitSource,
    root: Path,
    checkout: Checkout,
    flow: FlowMetadata,
    released: Mapping[str, Any] | None,
) -> PullSteps:
    """Return the steps by which a run gets this flow's code.

    A process run starts in a temporary folder, so even a local source needs a step, or relative outputs vanish with it.
    `released` is the flow's released spec if it has the same code; its commit is kept.

    Raises:
        MetaFlowsError: MF505, no commit that runs can clone holds this code.
    """
    if isinstance(source, LocalSource):
        return _local(root)
    commit = source.commit or _released_commit(released) or _pinnable_commit(checkout, flow, source.branch)
    return _clone(source, checkout, commit_sha=commit)


def repository_steps(source: LocalSource | GitSource, root: Path, checkout: Checkout) -> PullSteps:
    """Return the steps by which a meta-flow gets the repository: the folder, or the newest commit of the branch."""
    if isinstance(source, LocalSource):
        return _local(root)
    return _clone(source, checkout, **{"branch": source.branch} if source.branch else {})


def _local(root: Path) -> PullSteps:
    return [{SET_DIRECTORY: {"directory": str(root)}}]


def _clone(source: GitSource, checkout: Checkout, **which: str) -> PullSteps:
    credentials = {"credentials": source.credentials} if source.credentials else {}
    clone = {GIT_CLONE: {"id": "clone", "repository": source.repository, **which, **credentials}}
    below = {SET_DIRECTORY: {"directory": f"{{{{ clone.directory }}}}/{checkout.prefix}"}}
    return [clone, below] if checkout.prefix else [clone]


def _released_commit(released: Mapping[str, Any] | None) -> str | None:
    for step in (released or {}).get("pull_steps") or ():
        if GIT_CLONE in step:
            return str(step[GIT_CLONE]["commit_sha"])
    return None


def _pinnable_commit(checkout: Checkout, flow: FlowMetadata, branch: str | None) -> str:
    if checkout.commit is None:
        raise refuse("MF505", flow.place, detail="the repository is not a git checkout")
    changed = sorted(path for path in flow.source_files if path in checkout.uncommitted or path not in checkout.tracked)
    if changed:
        raise refuse("MF505", flow.place, detail=f"uncommitted changes in {', '.join(changed)}")
    if not checkout.branches or (branch and branch not in checkout.branches):
        missing = f"branch {branch} does not contain" if branch else "no pushed branch contains"
        raise refuse("MF505", flow.place, detail=f"{missing} commit {checkout.commit[:12]}")
    return checkout.commit
