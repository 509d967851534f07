"""One writer per environment, on whatever machine: a global concurrency limit with a single slot.

The slot is leased for a minute and renewed while its holder lives, so one that was killed gives it back. The limit does
not tell who holds it; the run that writes therefore carries a tag. A slot that is taken while no live run has the tag
was leaked (the server forgets leases when it restarts) or was given to an acquire whose answer was lost: it is freed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed

from meta_flows.errors import refuse
from meta_flows.prefect_api.apply import delete
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import read_writers

LEASE_SECONDS = 60
"""The shortest lease that the server grants."""
POLL_SECONDS = 1.0
HOLDERLESS_SECONDS = 10
"""How long a slot must have been taken without a holder before it is freed: a holder needs a moment to say its name."""


def lock_name(project: str, environment: str) -> str:
    """Name of the global concurrency limit."""
    return f"deploy-{project}-{environment}"


def writer_tag(project: str, environment: str) -> str:
    """Tag of the run that writes."""
    return f"writer:{project}:{environment}"


@contextmanager
def write_lock(
    api: Api, project: str, environment: str, *, run_id: str, tags: list[str], wait: float, tell: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Be the only writer of an environment; gives a function that says whether we still are.

    Args:
        api: Client of the server.
        project: Owner of the deployments.
        environment: Long name.
        run_id: The flow run that writes.
        tags: Its tags.
        wait: How long to wait for another writer, in seconds.
        tell: What to do with the news that there is one.

    Raises:
        MetaFlowsError: MF512, another run held it all that time.
    """
    name, tag = lock_name(project, environment), writer_tag(project, environment)
    deadline = time.monotonic() + wait
    taken: tuple[UUID | None, float] = (None, 0.0)
    while True:
        limit_id, is_taken = _limit(api, name)
        with nullcontext(enter_result=False) if is_taken else _slot(name, run_id) as acquired:
            if acquired and _named(api, run_id, [*tags, tag], name, limit_id):
                for dead in _others(api, tag, run_id):
                    state: State[None] = Crashed(message="Its process ended without a word: its lease ran out.")
                    api.set_flow_run_state(dead["id"], state, force=True)
                try:
                    yield partial(_still_ours, api, name, limit_id, tag, run_id)
                except asyncio.CancelledError as error:  # what the thread that renews the lease does to us
                    raise refuse("MF519", environment=environment) from error
                finally:
                    with suppress(httpx.HTTPError):  # a run that has ended holds nothing
                        api.update_flow_run(UUID(run_id), tags=tags)
                return
        holders, now = _others(api, tag, run_id), time.monotonic()
        if taken[0] is None:
            tell(f"Waiting up to {wait:g} s for {describe(holders)}")
        if holders or taken[0] != limit_id:
            taken = (limit_id, now)
        if not holders and now - taken[1] > HOLDERLESS_SECONDS:
            free(api, limit_id)
        elif now > deadline:
            raise refuse("MF512", environment=environment, seconds=wait, holder=describe(holders))
        time.sleep(POLL_SECONDS)


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
    return ", ".join(f"run '{run['name']}' since {run['start_time'][:19]}Z" for run in holders) or "an unknown run"


def _limit(api: Api, name: str) -> tuple[UUID, bool]:
    """The limit's id, and whether its slot is taken; it is made if there is none."""
    try:
        limit = api.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):  # another deploy was quicker
            api.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        limit = api.read_global_concurrency_limit_by_name(name)
    return limit.id, bool(limit.active_slots)


def _still_ours(api: Api, name: str, limit_id: UUID, tag: str, run_id: str) -> bool:
    return _limit(api, name)[0] == limit_id and not _others(api, tag, run_id)


def _others(api: Api, tag: str, run_id: str) -> list[dict[str, Any]]:
    return [run for run in read_writers(api, tag) if run["id"] != run_id]


def _named(api: Api, run_id: str, tags: list[str], name: str, limit_id: UUID) -> bool:
    """Say who we are; false if the slot was freed meanwhile by somebody who could not see that yet."""
    api.update_flow_run(UUID(run_id), tags=tags)
    return _limit(api, name)[0] == limit_id


@contextmanager
def _slot(name: str, run_id: str) -> Iterator[bool]:
    """Hold the slot, if it is free; whether it is."""
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(run_id))
    slot = concurrency(name, max_retries=0, lease_duration=LEASE_SECONDS, strict=True, holder=holder)
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
