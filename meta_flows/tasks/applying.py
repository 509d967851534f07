"""Steps that write: work pools and deployments, one task run each, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from meta_flows.errors import MetaFlowsError
from meta_flows.models import Change, Plan, WorkPoolCreation
from meta_flows.planning import difference, merge
from meta_flows.planning.schedules import matched
from meta_flows.prefect_api import Api, plain_reason, speaking_plainly
from meta_flows.prefect_api import apply as writes
from meta_flows.prefect_api import observe as reads
from meta_flows.reporting import DONE
from meta_flows.tasks import step
from meta_flows.tasks.progress import progress

ANOTHER_FAILED = "another change failed before it"


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


@step("create work pool {pool.name}")
def create_work_pool(api: Api, pool: WorkPoolCreation) -> State[Any]:
    """Make a work pool that the environment names and the server lacks."""
    with speaking_plainly():
        writes.create_work_pool(api, pool.name, pool.type, pool.base_job_template)
    return Completed(name="Created", message=f"work pool {pool.name} of type {pool.type}")


@step("{change.name}")
def apply_change(api: Api, change: Change, flow_ids: Mapping[str, str]) -> State[Any]:
    """Change one deployment as planned.

    A write whose answer was lost may have happened, and its repetition is refused then. So after a failure it is the
    server that says whether the deployment is as planned.

    Returns:
        A state named for what was done.
    """
    for field in change.fields if change.live else ():
        get_run_logger().info("%s: %s -> %s%s", field.path, field.old, field.new, " (drift)" if field.drift else "")
    try:
        with speaking_plainly():
            _write(api, change, flow_ids)
    except MetaFlowsError:
        if not _is_done(api, change):
            raise
    return Completed(name=DONE[change.action], message=change.reason or f"{len(change.fields)} fields")


def _write(api: Api, change: Change, flow_ids: Mapping[str, str]) -> None:
    if change.live is None:
        flow_id = flow_ids.get(change.flow_name) or writes.create_flow(api, change.flow_name)
        writes.create_deployment(api, flow_id, change.name, change.target)
    elif change.action == "delete":
        writes.delete_deployment(api, change.live)
    else:
        writes.update_deployment(api, change.live, change.target)


def _is_done(api: Api, change: Change) -> bool:
    """Whether the server has the deployment as planned; false if it does not say."""
    try:
        now = reads.read_deployment(api, change.flow_name, change.name)
    except MetaFlowsError:
        return False
    if change.action == "delete" or now is None:
        return change.action == "delete" and now is None
    now = matched(now, change.target["schedules"])
    before = change.live.spec if change.live else {}
    return not difference(now.spec, merge(change.target, before, now.spec))


def create_work_pools(api: Api, plan: Plan) -> dict[str, str]:
    """Make the work pools of a plan; why each that failed did, by name."""
    made = {pool.name: Applied.of(create_work_pool(api, pool, return_state=True)) for pool in plan.work_pools}
    return {name: applied.error for name, applied in made.items() if applied.error}


def apply_changes(
    api: Api,
    changes: Iterable[Change],
    *,
    missing_pools: Mapping[str, str] | None = None,
    stop_at_failure: bool,
    before_each: Callable[[], None] | None = None,
) -> dict[str, Applied]:
    """Carry out changes one after the other; what became of each, by key.

    Writes are not made in parallel: SQLite answers that with 503, and PostgreSQL is not faster for it.

    Args:
        api: Client of the server.
        changes: What to do.
        missing_pools: Why work pools could not be made, by name.
        stop_at_failure: Try nothing more once something has failed; otherwise only once the server does not answer.
        before_each: Called before each change that writes; what it raises ends everything.
    """
    planned = list(changes)
    new = {change.flow_name for change in planned if change.action == "create"}
    flow_ids = reads.read_flow_ids(api, new) if new else {}
    applied: dict[str, Applied] = {}
    stopped = ""
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
            pool = (missing_pools or {}).get(change.target.get("work_pool_name", ""))
            if pool:
                applied[change.key] = Applied("Failed", f"its work pool could not be created: {pool}")
            else:
                state = apply_change(api, change, flow_ids, return_state=True)
                applied[change.key] = Applied.of(state)
                if not state.is_completed() and _unreachable(state.result(raise_on_failure=False)):
                    stopped = "the server stopped answering before it"
            if applied[change.key].error and stop_at_failure:
                stopped = stopped or ANOTHER_FAILED
    return applied


def _unreachable(error: Any) -> bool:
    return isinstance(error, MetaFlowsError) and error.errors[0].code == "MF401"
