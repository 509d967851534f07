"""Steps that write: open the release, make work pools, change deployments, close the release."""

from __future__ import annotations

import getpass
import secrets
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from meta_flows import sources
from meta_flows.errors import MetaFlowsError
from meta_flows.models import Change, Deployment, Plan, Release, ValidationError, WorkPoolCreation
from meta_flows.planning import difference, merge
from meta_flows.prefect_api import Api, plain_reason, releases, speaking_plainly
from meta_flows.prefect_api import apply as writes
from meta_flows.prefect_api import observe as reads
from meta_flows.tasks import step

DONE = {"create": "Created", "update": "Updated", "delete": "Deleted", "unchanged": "Unchanged"}
"""Name of a task run's state by what the change did; the UI shows and counts them."""


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


@step("open release")
def open_release(
    plan: Plan, deployments: Sequence[Deployment], released: Mapping[str, Mapping[str, Any]], root: Path
) -> Release:
    """Record on the server what is about to be done and what stood there before, ahead of the first write."""
    started = datetime.now(timezone.utc)
    touched = {change.key: change.live for change in plan.pending}
    checkout = sources.read_checkout(root)
    planned = {change.key for change in plan.changes}
    release = Release(
        id=f"{started:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}",
        project=plan.project,
        environment=plan.environment,
        started=started,
        author=f"{getpass.getuser()}@{socket.gethostname()}",
        commit=checkout.commit,
        dirty=checkout.dirty,
        flow_run_id=flow_run.id,
        plan=plan,
        specs={**released, **{item.key: item.spec for item in deployments if item.key in planned}},
        previous={key: dict(released[key]) if key in released else {} for key in touched},
        preimages=touched,
    )
    releases.save_release(release)
    get_run_logger().info("Release %s: %s", release.id, plan.counts())
    return release


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
            if change.live is None:
                flow_id = flow_ids.get(change.flow_name) or writes.create_flow(api, change.flow_name)
                writes.create_deployment(api, flow_id, change.name, change.target)
            else:
                writes.update_deployment(api, change.live, change.target)
    except MetaFlowsError as error:
        if error.errors[0].code != "MF404":
            raise
        now = reads.read_deployment(api, change.flow_name, change.name)
        before = change.live.spec if change.live else {}
        if now is None or difference(now.spec, merge(change.target, before, now.spec)):
            raise
    return Completed(name=DONE[change.action], message=f"{len(change.fields)} fields")


def apply_plan(api: Api, plan: Plan) -> dict[str, Applied]:
    """Carry out a plan, one task run a change and one after the other; what became of each deployment, by key.

    What is unchanged needs neither a request nor a task run: the report lists it.

    Writes are not made in parallel: SQLite answers that with 503, and PostgreSQL is not faster for it.
    """
    pools = {pool.name: Applied.of(create_work_pool(api, pool, return_state=True)) for pool in plan.work_pools}
    new = {change.flow_name for change in plan.pending if change.live is None}
    flow_ids = reads.read_flow_ids(api, new) if new else {}
    applied: dict[str, Applied] = {}
    unreachable = False
    for change in plan.changes:
        if change.action == "unchanged":
            applied[change.key] = Applied(DONE["unchanged"])
            continue
        pool = pools.get(change.target["work_pool_name"])
        if pool and pool.error:
            applied[change.key] = Applied("NotTried", f"its work pool could not be created: {pool.error}")
            continue
        if unreachable:
            applied[change.key] = Applied("NotTried", "the server stopped answering before it")
            continue
        state = apply_change(api, change, flow_ids, return_state=True)
        applied[change.key] = Applied.of(state)
        error = None if state.is_completed() else state.result(raise_on_failure=False)
        unreachable = unreachable or (isinstance(error, MetaFlowsError) and error.errors[0].code == "MF401")
    return applied


@step("close release")
def close_release(
    api: Api,
    release: Release,
    applied: Mapping[str, Applied],
    errors: Sequence[ValidationError],
) -> None:
    """Record the outcome, and forget the oldest releases.

    Args:
        api: Client of the server.
        release: The release as it was opened.
        applied: What became of each deployment, by key.
        errors: What verification found.
    """
    failures = {key: result.error for key, result in applied.items() if result.error}
    finished = release.model_copy(
        update={
            "state": "failed" if failures or errors else "succeeded",
            "finished": datetime.now(timezone.utc),
            "failures": failures,
        }
    )
    releases.save_release(finished)
    releases.forget_old_releases(api, release.project, release.environment)
