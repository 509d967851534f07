"""Where a run gets a flow's code from: the folder itself, or a pinned commit of a git repository."""

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
        prefix: The folder's path within the git repository, empty at its top.
        uncommitted: Paths, relative to the folder, of changed and untracked files.
        tracked: Paths, relative to the folder, of all files that git knows.
        branches: Branches that have the commit: those of remotes, or where no remote is known the local ones.
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
    """Ask git about a folder; outside a checkout, or without git, nothing is known."""
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
    """The steps by which a run gets this flow's code.

    A process run starts in a temporary folder, so even a local source needs a step, or relative outputs vanish with it.

    Args:
        source: The environment's source.
        root: The repository's folder.
        checkout: What git knows about it.
        flow: The flow.
        released: The flow's released spec if its code is the same as now; its commit is kept then.

    Raises:
        MetaFlowsError: MF505, there is no commit that holds this code where runs can get it.
    """
    if isinstance(source, LocalSource):
        return _enter(root)
    commit = source.commit or _released_commit(released) or _pinnable_commit(checkout, flow, source.branch)
    return _clone(source, checkout, commit_sha=commit)


def repository_steps(source: LocalSource | GitSource, root: Path, checkout: Checkout) -> PullSteps:
    """The steps by which a meta-flow gets the repository to deploy: the folder, or the newest commit of the branch."""
    if isinstance(source, LocalSource):
        return _enter(root)
    return _clone(source, checkout, **{"branch": source.branch} if source.branch else {})


def _enter(root: Path) -> PullSteps:
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
        raise refuse("MF505", flow.place, detail="this is no git checkout")
    changed = sorted(path for path in flow.source_files if path in checkout.uncommitted or path not in checkout.tracked)
    if changed:
        raise refuse("MF505", flow.place, detail=f"uncommitted changes in {', '.join(changed)}")
    if not checkout.branches or (branch and branch not in checkout.branches):
        lacking = f"branch {branch} lacks" if branch else "no branch that is pushed has"
        raise refuse("MF505", flow.place, detail=f"{lacking} commit {checkout.commit[:12]}")
    return checkout.commit
