"""What a server can do for the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from meta_flows.models import Change, LiveResource, Ownership, Release
from meta_flows.resources import Spec


class Limit(NamedTuple):
    """A global concurrency limit with one slot, which serves as a lock.

    Attributes:
        id: Another limit of the same name has another one.
        is_taken: Whether its slot is held.
    """

    id: str
    is_taken: bool


class Writer(NamedTuple):
    """A run under way that carries a writer's tag.

    Attributes:
        updated: When it last gave a sign of life.
        started: When it began.
        link: Its page in the Prefect UI.
    """

    id: str
    name: str
    updated: str
    started: str
    link: str = ""


class Store(Protocol):
    """A Prefect server, as the engine sees it. Whatever goes wrong is raised as a `MetaFlowsError`.

    After it has given up on a server that does not answer, each further call makes one short attempt.

    Attributes:
        guard: Called before each request that writes a resource, of which one change may make several; what it raises
            ends the change.
    """

    guard: Callable[[], None]

    def briefly(self, seconds: float) -> AbstractContextManager[None]:
        """Make one attempt of each call within this context, of so many seconds at most."""

    def read(self, addresses: Collection[str]) -> dict[str, LiveResource]:
        """Return the resources at these addresses that exist, by address."""

    def read_owned(self, ownership: Ownership) -> dict[str, LiveResource]:
        """Return the resources that carry our tags, by address."""

    def create(self, change: Change) -> None:
        """Create a resource as its change says."""

    def update(self, live: LiveResource, target: Spec) -> None:
        """Send what differs between a resource and its target."""

    def delete(self, live: LiveResource) -> None:
        """Delete a resource; one that is gone already is no error."""

    def remove_unused(
        self, pools: Collection[str], queues: Collection[tuple[str, str]], flows: Collection[str]
    ) -> None:
        """Delete these work pools, queues (as (pool, queue)) and flows, unless others use them."""

    def read_flow_ids(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the ids of the flows of these names that the server knows."""

    def read_work_queues(self, pool: str) -> set[str]:
        """Return the names of a work pool's queues."""

    def read_deployments_in(self, pool: str) -> dict[str, LiveResource]:
        """Return the deployments in a work pool, whatever project owns them, by address."""

    def default_job_template(self, pool_type: str) -> Spec:
        """Return the base job template that work pools of a type have by default."""

    def latest_release(self, ownership: Ownership) -> Release | None:
        """Return the newest release, whatever its state; a plan that was rejected is none.

        Raises:
            MetaFlowsError: MF518, its record cannot be read by this version.
        """

    def read_releases(self, ownership: Ownership) -> list[tuple[str, Release | None]]:
        """Return the newest releases by the names of their records, newest first; None for an unreadable one."""

    def read_release(self, release: Release) -> Release | None:
        """Return the record of a release as it is now; None if it is gone."""

    def save_release(self, release: Release) -> None:
        """Record a release that is new."""

    def update_release(self, release: Release) -> None:
        """Record what a release has come to; a record that is gone is made again."""

    def delete_release(self, release: Release) -> None:
        """Forget one release."""

    def forget_old_releases(self, ownership: Ownership) -> None:
        """Delete all but the newest releases."""

    def limit(self, name: str) -> Limit:
        """Return the limit of this name, which is created if there is none."""

    def find_limit(self, name: str) -> Limit | None:
        """Return the limit of this name, if there is one."""

    def delete_limit(self, limit_id: str) -> None:
        """Delete a limit: a lease on it that is still kept somewhere is then a lease on nothing."""

    def acquire(self, name: str, seconds: float) -> str | None:
        """Take a limit's slot for some seconds, and return the lease; None while it is taken."""

    def renew(self, lease: str, seconds: float) -> bool:
        """Keep a slot for some more seconds; False if the lease is no more."""

    def release(self, lease: str) -> None:
        """Give a slot back."""

    def writers(self, tag: str) -> list[Writer]:
        """Return the runs under way that carry a tag, the newest first."""

    def tag_run(self, run_id: str, tags: Sequence[str]) -> None:
        """Set a run's tags; each time, even to the same ones, is a sign of life."""

    def mark_crashed(self, run_id: str) -> None:
        """Say of a run that its process has ended without a word."""


def unguarded() -> None:
    """Let every request pass."""


SEPARATOR = "--"
"""Between the parts of a name: no project and no environment has it in its own, so names of two never collide."""


def joined(*parts: str) -> str:
    """Return the name of what belongs to a project and an environment: a lock, a record, an artifact, a variable."""
    return SEPARATOR.join(parts)


def deploy_lock(ownership: Ownership) -> str:
    """Return the name of the global concurrency limit that lets one run write at a time."""
    return joined("deploy", *ownership)


def legacy_lock(ownership: Ownership) -> str:
    """Return the name that the lock had before, which could be another project's too; honoured for one version."""
    return f"deploy-{ownership.project}-{ownership.environment}"


def writer_tag(ownership: Ownership) -> str:
    """Return the tag of the run that writes."""
    return f"writer:{ownership.project}:{ownership.environment}"


def release_name(ownership: Ownership, release_id: str = "") -> str:
    """Return the name of a release's record, or the common beginning of an environment's."""
    return joined("release", *ownership, release_id)
