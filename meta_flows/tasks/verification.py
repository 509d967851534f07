"""Steps that look whether it is so: read again, compare again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prefect import get_run_logger

from meta_flows import planning
from meta_flows.errors import problem
from meta_flows.models import Deployment, LiveDeployment, Release, ValidationError, WorkPoolChange
from meta_flows.prefect_api import Api
from meta_flows.prefect_api import observe as reads
from meta_flows.reporting import DONE, called
from meta_flows.tasks import step
from meta_flows.tasks.applying import Applied, work_pool_difference


class Verified(NamedTuple):
    """What is live after applying, and what of it is not as planned."""

    live: Mapping[str, LiveDeployment]
    errors: tuple[ValidationError, ...]


@step("verify {release.environment}")
def verify(
    api: Api,
    desired: Iterable[Deployment],
    before: Mapping[str, LiveDeployment],
    release: Release,
    applied: Mapping[str, Applied],
    work_pools: Iterable[WorkPoolChange],
) -> Verified:
    """Read everything that was written to again, and plan again: a deploy is done when that plan is empty."""
    wanted = [item.model_copy(update={"replaces": None}) for item in desired if item.key in applied]
    written = {item.key: item.name for item in wanted if applied[item.key] != Applied(DONE["unchanged"])}
    now = reads.read_deployments(api, {*written.values()})
    live = {key: item for key, item in before.items() if key not in written} | now
    as_planned = [item for item in wanted if not applied[item.key].error]
    plan = planning.make_plan(
        as_planned, release.deployments, live, project=release.project, environment=release.environment
    )
    left = {
        change.key: fields
        for change in work_pools
        if not applied[change.key].error and (fields := work_pool_difference(api, change))
    }
    errors = tuple(
        problem("MF502", what=called(key), detail=", ".join(field.path for field in fields) or "it is missing")
        for key, fields in (*left.items(), *((change.key, change.fields) for change in plan.pending))
    )
    get_run_logger().info("%d of %d deployments are as planned", len(as_planned) - len(plan.pending), len(wanted))
    return Verified(live, (*errors, *plan.refused))
