"""Steps that write: work pools and deployments, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from meta_flows.errors import MetaFlowsError
from meta_flows.models import Change, FieldChange, WorkPoolChange
from meta_flows.planning import difference, merge
from meta_flows.planning.schedules import matched
from meta_flows.prefect_api import Api, plain_reason, speaking_plainly
from meta_flows.prefect_api import apply as writes
from meta_flows.prefect_api import observe as reads
from meta_flows.reporting import DONE
from meta_flows.tasks import step
from meta_flows.tasks.progress import progress

ANOTHER_FAILED = "another change failed before it"

SINGLE = 20
"""Up to this many changes have a task run each; more of them share one.

Each task run sends five events, and while SQLite stores those it refuses our writes: with a task run each, 97 of 100
creations were first answered with 503; with one for all, 8.
"""

Write = Callable[[Change | WorkPoolChange], BaseException | None]
"""Makes one change; returns why it failed."""


class Applied(NamedTuple):
    """What became of one change.

    A task that is given a `State` gets what that state holds instead, so states are not passed on.

    Attributes:
        state: Name of its task run's state.
        error: Why it failed, if it did.
    """

    state: str
    error: str | None = None

    @classmethod
    def of(cls, state: State[Any]) -> Applied:
        """What the state of a task run says."""
        return cls(
            str(state.name), None if state.is_completed() else plain_reason(state.result(raise_on_failure=False))
        )


@step("{change}")
def apply_change(api: Api, change: Change | WorkPoolChange, flow_ids: Mapping[str, str]) -> State[Any]:
    """Change one deployment or work pool as planned.

    Returns:
        A state named for what was done.
    """
    for field in change.fields if change.live else ():
        get_run_logger().info("%s: %s -> %s%s", field.path, field.old, field.new, " (drift)" if field.drift else "")
    _ensure_written(api, change, flow_ids)
    return Completed(name=DONE[change.action], message=change.reason or f"{len(change.fields)} fields")


@step("apply {count} changes")
def apply_batch(count: int, write_all: Callable[[], Mapping[str, Applied]]) -> State[Any]:
    """Make many changes in one task run.

    Args:
        count: How many.
        write_all: Makes them, and returns the outcome of each by key.

    Returns:
        A state that counts what was done, or names what failed.
    """
    applied = write_all()
    failed = [f"{key}: {result.error}" for key, result in applied.items() if result.state == "Failed"]
    if failed:
        return Failed(message=f"{len(failed)} of {count} changes failed: {'; '.join(failed)}")
    counts = Counter(result.state for result in applied.values() if result.state != DONE["unchanged"])
    return Completed(name="Applied", message=", ".join(f"{number} {state.lower()}" for state, number in counts.items()))


@step("{change}")
def fail_change(change: Change | WorkPoolChange, error: BaseException) -> None:
    """Show a change of a batch that failed as a task run of its own, which raises its error."""
    raise error


def _ensure_written(api: Api, change: Change | WorkPoolChange, flow_ids: Mapping[str, str]) -> None:
    """Make one change.

    A write whose answer was lost may have happened, and its repetition is refused then. So after a failure it is the
    server that says whether it is as planned.
    """
    try:
        with speaking_plainly():
            _write(api, change, flow_ids)
    except MetaFlowsError:
        if not _is_done(api, change):
            raise


def _write(api: Api, change: Change | WorkPoolChange, flow_ids: Mapping[str, str]) -> None:
    if isinstance(change, WorkPoolChange):
        if change.live is None:
            writes.create_work_pool(api, change.name, change.target)
        else:
            writes.update_work_pool(api, change.name, change.live, change.target)
    elif change.live is None:
        flow_id = flow_ids.get(change.flow_name) or writes.create_flow(api, change.flow_name)
        writes.create_deployment(api, flow_id, change.name, change.target)
    elif change.action == "delete":
        writes.delete_deployment(api, change.live)
    else:
        writes.update_deployment(api, change.live, change.target)


def _is_done(api: Api, change: Change | WorkPoolChange) -> bool:
    """Whether the server has it as planned; false if it does not say."""
    try:
        if isinstance(change, WorkPoolChange):
            return not work_pool_difference(api, change)
        now = reads.read_deployment(api, change.flow_name, change.name)
    except MetaFlowsError:
        return False
    if change.action == "delete" or now is None:
        return change.action == "delete" and now is None
    now = matched(now, change.target["schedules"])
    before = change.live.spec if change.live else {}
    return not difference(now.spec, merge(change.target, before, now.spec))


def work_pool_difference(api: Api, change: WorkPoolChange) -> tuple[FieldChange, ...]:
    """In what a work pool is not as planned; what was not planned does not count."""
    now = reads.read_work_pool_specs(api, {change.name}).get(change.name, {})
    return difference(now, merge(change.target, change.live or {}, now))


def apply_changes(
    api: Api,
    changes: Iterable[Change | WorkPoolChange],
    applied: dict[str, Applied],
    *,
    stop_at_failure: bool,
    before_each: Callable[[], None] | None = None,
) -> None:
    """Carry out changes one after the other.

    Writes are not made in parallel: SQLite answers that with 503, and PostgreSQL is not faster for it.

    Args:
        api: Client of the server.
        changes: What to do; work pools before the deployments that need them.
        applied: Receives the outcome of each change by key, so that it is known even if this raises.
        stop_at_failure: Try nothing more once something has failed; otherwise only once the server does not answer.
        before_each: Called before each change that writes; what it raises ends everything.
    """
    planned = tuple(changes)
    new = {change.flow_name for change in planned if isinstance(change, Change) and change.action == "create"}
    flow_ids = reads.read_flow_ids(api, new) if new else {}
    write_all = partial(_apply_all, planned, applied, stop_at_failure=stop_at_failure, before_each=before_each)
    count = sum(change.action != "unchanged" for change in planned)
    if count <= SINGLE:
        write_all(lambda change: _failure(apply_change(api, change, flow_ids, return_state=True)))
        return

    def in_batch(change: Change | WorkPoolChange) -> BaseException | None:
        try:
            _ensure_written(api, change, flow_ids)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is about this change
            fail_change(change, error, return_state=True)
            return error
        fields = ", ".join(field.path for field in change.fields) if change.live else ""
        get_run_logger().info("%s %s%s", DONE[change.action], change, fields and f": {fields}")
        return None

    error = _failure(apply_batch(count, partial(write_all, in_batch), return_state=True))
    if error and not isinstance(error, FailedRun):
        raise error


def _failure(state: State[Any]) -> BaseException | None:
    """Why a task run failed, if it did."""
    if state.is_completed():
        return None
    error: BaseException = state.result(raise_on_failure=False)
    return error


def _apply_all(
    planned: Iterable[Change | WorkPoolChange],
    applied: dict[str, Applied],
    write: Write,
    *,
    stop_at_failure: bool,
    before_each: Callable[[], None] | None,
) -> dict[str, Applied]:
    """Make changes by a function for each; return their outcomes, and add them to those of earlier changes."""
    planned, stopped = tuple(planned), ""
    with progress("write deployments", sum(change.action != "unchanged" for change in planned)) as advance:
        for change in planned:
            if change.action == "unchanged":  # neither a request nor a task run: the report lists it
                applied[change.key] = Applied(DONE["unchanged"])
                continue
            advance()
            if stopped:
                applied[change.key] = Applied("NotTried", stopped)
                continue
            if before_each:
                before_each()
            pool = applied.get(change.target.get("work_pool_name", ""))
            if pool and pool.error:
                applied[change.key] = Applied("Failed", f"its work pool is not as planned: {pool.error}")
            elif error := write(change):
                applied[change.key] = Applied("Failed", plain_reason(error))
                stopped = "the server stopped answering before it" if _unreachable(error) else ""
            else:
                applied[change.key] = Applied(DONE[change.action])
            if applied[change.key].error and stop_at_failure:
                stopped = stopped or ANOTHER_FAILED
    return {change.key: applied[change.key] for change in planned}


def _unreachable(error: BaseException) -> bool:
    return isinstance(error, MetaFlowsError) and error.errors[0].code == "MF401"
