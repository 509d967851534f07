"""One writer per environment, on whatever machine: a global concurrency limit with a single slot.

The slot is leased for a minute and renewed while its holder lives, so one that was killed gives it back. The limit does
not tell who holds it; the run that writes therefore carries a tag, and is touched while it lives. A slot that is taken
while no live run has the tag was leaked (the server forgets leases when it restarts) or was given to an acquire whose
answer was lost: it is freed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed
from prefect.utilities.urls import url_for

from meta_flows.errors import refuse
from meta_flows.prefect_api.apply import delete
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import read_writers

LEASE_SECONDS = 60
"""The shortest lease that the server grants."""
POLL_SECONDS = 1.0
BEAT_SECONDS = 15
"""How often a holder shows that it lives, and at least looks whether it still holds the lock."""
SILENT_SECONDS = 60
"""How long a holder may be silent before it counts as dead."""
NAMELESS_SECONDS = 10
"""How long a slot may be taken by nobody: a holder needs a moment to say its name."""


class Lock(NamedTuple):
    """The lock, as its holder has it.

    Attributes:
        limit_id: Id of the limit; another one has taken its place once somebody freed the slot.
    """

    api: Api
    environment: str
    name: str
    tag: str
    run_id: str
    limit_id: UUID
    looked: list[float]

    def is_ours(self) -> bool:
        """Whether we are still the only writer."""
        self.looked[:] = [time.time()]
        return _limit(self.api, self.name)[0] == self.limit_id and not _others(self.api, self.tag, self.run_id)

    def ensure(self) -> None:
        """Make sure that we are still the only writer, if the last look is a while ago.

        Raises:
            MetaFlowsError: MF519, we are not: this process was asleep, or somebody used unlock.
        """
        if time.time() - self.looked[0] > BEAT_SECONDS and not self.is_ours():
            raise refuse("MF519", environment=self.environment)


def lock_name(project: str, environment: str) -> str:
    """Name of the global concurrency limit."""
    return f"deploy-{project}-{environment}"


def writer_tag(project: str, environment: str) -> str:
    """Tag of the run that writes."""
    return f"writer:{project}:{environment}"


def lay_down(api: Api, project: str, environment: str, run_id: str, tags: list[str]) -> None:
    """Take the tag from a run that was killed while it wrote, and has begun anew: it holds nothing yet."""
    tag = writer_tag(project, environment)
    if tag in tags:
        api.update_flow_run(UUID(run_id), tags=[other for other in tags if other != tag])


@contextmanager
def write_lock(
    api: Api, project: str, environment: str, *, run_id: str, tags: list[str], wait: float, tell: Callable[[str], None]
) -> Iterator[Lock]:
    """Be the only writer of an environment.

    Args:
        api: Client of the server.
        project: Owner of the deployments.
        environment: Long name.
        run_id: The flow run that writes.
        tags: Its tags.
        wait: How long to wait for another writer, in seconds.
        tell: What to do with the news that there is one.

    Raises:
        MetaFlowsError: MF512, another run held it all that time; MF519, it was lost while writing.
    """
    name, tag = lock_name(project, environment), writer_tag(project, environment)
    tags = [other for other in tags if other != tag]
    deadline = time.monotonic() + wait
    seen: Any = None
    since = 0.0
    while True:
        limit_id, is_taken = _limit(api, name)
        with nullcontext(enter_result=False) if is_taken else _slot(name) as acquired:
            if acquired and _named(api, run_id, [*tags, tag], name, limit_id):
                _bury(api, _others(api, tag, run_id))
                try:
                    with _beating(api, run_id, [*tags, tag]):
                        yield Lock(api, environment, name, tag, run_id, limit_id, [time.time()])
                except asyncio.CancelledError as error:  # what the thread that renews the lease does to us
                    raise refuse("MF519", environment=environment) from error
                finally:
                    with suppress(httpx.HTTPError):  # a run that has ended holds nothing; one that is suspended goes on
                        api.update_flow_run(UUID(run_id), tags=tags)
                return
        holders, now = _others(api, tag, run_id), time.monotonic()
        signs = (limit_id, [(run["id"], run["updated"]) for run in holders])
        if seen is None:
            tell(f"Waiting up to {wait:g} s for {describe(holders)}")
        if signs != seen:
            seen, since = signs, now
        if now - since > (SILENT_SECONDS if holders else NAMELESS_SECONDS):
            free(api, limit_id)
        elif now > deadline:
            raise refuse("MF512", environment=environment, seconds=wait, holder=describe(holders))
        time.sleep(POLL_SECONDS)


def _bury(api: Api, dead: list[dict[str, Any]]) -> None:
    """Say of runs that cannot be writing any more, since we hold the lock, that they have crashed."""
    for run in dead:
        state: State[None] = Crashed(message="Its process ended without a word: its lease ran out.")
        api.set_flow_run_state(run["id"], state, force=True)


@contextmanager
def _beating(api: Api, run_id: str, tags: list[str]) -> Iterator[None]:
    """Show that this run lives: each update, even to the same tags, has its time."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(BEAT_SECONDS):
            with suppress(httpx.HTTPError):
                api.update_flow_run(UUID(run_id), tags=tags)

    heart = threading.Thread(target=beat, daemon=True, name="lock-heartbeat")
    heart.start()
    try:
        yield
    finally:
        stopped.set()


def read_lock(api: Api, project: str, environment: str) -> tuple[UUID | None, list[dict[str, Any]]]:
    """The id of the limit while its slot is taken, and the runs that say they have it."""
    try:
        limit = api.read_global_concurrency_limit_by_name(lock_name(project, environment))
    except ObjectNotFound:
        return None, []
    return (limit.id if limit.active_slots else None), read_writers(api, writer_tag(project, environment))


def free(api: Api, limit_id: UUID) -> None:
    """Free the slot for good: a lease on it that is still kept somewhere is then a lease on nothing."""
    delete(api, f"/v2/concurrency_limits/{limit_id}")


def describe(holders: list[dict[str, Any]]) -> str:
    """Who holds a lock and since when, in words."""
    links = ((run, url_for("flow-run", obj_id=run["id"])) for run in holders)
    return ", ".join(f"run '{run['name']}' since {run['start_time'][:19]}Z, {link}" for run, link in links) or "nobody"


def _limit(api: Api, name: str) -> tuple[UUID, bool]:
    """The limit's id, and whether its slot is taken; it is made if there is none."""
    try:
        limit = api.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):  # another deploy was quicker
            api.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        limit = api.read_global_concurrency_limit_by_name(name)
    return limit.id, bool(limit.active_slots)


def _others(api: Api, tag: str, run_id: str) -> list[dict[str, Any]]:
    return [run for run in read_writers(api, tag) if run["id"] != run_id]


def _named(api: Api, run_id: str, tags: list[str], name: str, limit_id: UUID) -> bool:
    """Say who we are; false if the slot was freed meanwhile by somebody who could not see that yet."""
    api.update_flow_run(UUID(run_id), tags=tags)
    return _limit(api, name)[0] == limit_id


@contextmanager
def _slot(name: str) -> Iterator[bool]:
    """Hold the slot, if it is free; whether it is."""
    slot = concurrency(name, max_retries=0, lease_duration=LEASE_SECONDS, strict=True)
    with ExitStack() as held:
        try:
            held.enter_context(slot)
        except ConcurrencySlotAcquisitionError as error:
            cause = error.__cause__
            if not (isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == httpx.codes.LOCKED):
                raise cause or error from None
            yield False
            return
        try:
            yield True
        finally:
            with suppress(httpx.HTTPError):  # a lease that is not given back runs out
                held.close()
