"""What the engine needs of a Prefect server, and the names of what it keeps there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from meta_flows.models import Change, LiveResource, Ownership, Release
from meta_flows.resources import Spec


class Limit(NamedTuple):
    """A global concurrency limit with one slot, used as a lock; when it is made anew its id changes."""

    id: str
    is_taken: bool


class Writer(NamedTuple):
    """A running run that carries the writer's tag; `updated` is its last sign of life, `link` its page in the UI."""

    id: str
    name: str
    updated: str
    started: str
    link: str = ""


class Store(Protocol):
    """A Prefect server, as the engine sees it. Every failure is raised as a `MetaFlowsError`.

    After a call has given up on a server that does not answer, each further call makes one short attempt.

    Attributes:
        guard: Called before each request that writes a resource; one change may make several. Its exception ends the
            change.
    """

    guard: Callable[[], None]

    def briefly(self, seconds: float) -> AbstractContextManager[None]:
        """Make only one attempt of each call within this context, of at most so many seconds."""

    def read(self, addresses: Collection[str]) -> dict[str, LiveResource]:
        """Return the resources at these addresses that exist, by address; make no request for no addresses."""

    def read_owned(self, ownership: Ownership) -> dict[str, LiveResource]:
        """Return the resources that carry the ownership tags, by address."""

    def create(self, change: Change) -> None:
        """Create the resource of a change."""

    def update(self, live: LiveResource, target: Spec) -> None:
        """Send the fields in which a resource differs from its target."""

    def delete(self, live: LiveResource) -> None:
        """Delete a resource; succeed if it does not exist."""

    def remove_unused(
        self, pools: Collection[str], queues: Collection[tuple[str, str]], flows: Collection[str]
    ) -> None:
        """Delete these work pools, queues (as (pool, queue)) and flows, unless they are in use."""

    def read_flow_ids(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the ids of the flows of these names that exist, by name."""

    def read_work_queues(self, pool: str) -> set[str]:
        """Return the names of a work pool's queues."""

    def read_deployments_in(self, pool: str) -> dict[str, LiveResource]:
        """Return the deployments of all projects in a work pool, by address."""

    def default_job_template(self, pool_type: str) -> Spec:
        """Return the default base job template of a type of work pool."""

    def latest_release(self, ownership: Ownership) -> Release | None:
        """Return the newest release in any state but rejected.

        Raises:
            MetaFlowsError: MF518, this version cannot read its record.
        """

    def read_releases(self, ownership: Ownership) -> list[tuple[str, Release | None]]:
        """Return the newest releases with the names of their records, newest first; None for an unreadable record."""

    def read_release(self, release: Release) -> Release | None:
        """Return the current record of a release; None if it does not exist."""

    def save_release(self, release: Release) -> None:
        """Save the record of a new release."""

    def update_release(self, release: Release) -> None:
        """Update the record of a release; create it if it does not exist."""

    def delete_release(self, release: Release) -> None:
        """Delete the record of a release."""

    def forget_old_releases(self, ownership: Ownership) -> None:
        """Delete all records but the newest."""

    def limit(self, name: str) -> Limit:
        """Return the limit of this name; create it if it does not exist."""

    def find_limit(self, name: str) -> Limit | None:
        """Return the limit of this name, if it exists."""

    def delete_limit(self, limit_id: str) -> None:
        """Delete a limit, which ends the leases on it."""

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take a limit's slot for some seconds, and return the id of the lease; None while the slot is taken."""

    def renew(self, lease: str, seconds: float) -> bool:
        """Extend a lease by some seconds; return False if it has ended."""

    def release(self, lease: str) -> None:
        """End a lease."""

    def writers(self, tag: str) -> list[Writer]:
        """Return the running runs that carry a tag, newest first."""

    def tag_run(self, run_id: str, tags: Sequence[str]) -> None:
        """Set a run's tags; each call, even with the same tags, is a sign of life."""

    def mark_crashed(self, run_id: str) -> None:
        """Mark a run as crashed."""


def unguarded() -> None:
    """Allow every request: the guard of a store without a lock."""


SEPARATOR = "--"
"""Separates the parts of a name; no project or environment contains it, so the names of two never collide."""


def joined(*parts: str) -> str:
    """Return the name of something that belongs to a project and an environment: a lock, an artifact, a variable."""
    return SEPARATOR.join(parts)


def deploy_lock(ownership: Ownership) -> str:
    """Return the name of the global concurrency limit that serves as the lock."""
    return joined("deploy", *ownership)


def legacy_lock(ownership: Ownership) -> str:
    """Return the lock's former name, which could be another project's too; honoured for one version."""
    return f"deploy-{ownership.project}-{ownership.environment}"


def writer_tag(ownership: Ownership) -> str:
    """Return the tag of the run that writes."""
    return f"writer:{ownership.project}:{ownership.environment}"


def release_name(ownership: Ownership, release_id: str = "") -> str:
    """Return the name of a release's record, or the common prefix of an environment's records."""
    return joined("release", *ownership, release_id)
