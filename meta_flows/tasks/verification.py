"""Steps that look whether it is so: read again, compare again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prefect import get_run_logger

from meta_flows import planning
from meta_flows.errors import problem
from meta_flows.models import Deployment, LiveDeployment, Release, ValidationError
from meta_flows.prefect_api import Api
from meta_flows.prefect_api import observe as reads
from meta_flows.tasks import step
from meta_flows.tasks.applying import Applied


class Verified(NamedTuple):
    """What is live after applying, and what of it is not as planned."""

    live: Mapping[str, LiveDeployment]
    errors: tuple[ValidationError, ...]


@step("verify {release.environment}")
def verify(
    api: Api,
    deployments: tuple[Deployment, ...],
    release: Release,
    applied: Mapping[str, Applied],
) -> Verified:
    """Read everything again and plan again: a deploy is done when that plan is empty."""
    planned = {change.key for change in release.plan.changes if not applied[change.key].error}
    wanted = [deployment for deployment in deployments if deployment.key in planned]
    tags = planning.ownership_tags(release.project, release.environment)
    live = reads.read_deployments(api, tags, {deployment.name for deployment in deployments})
    plan = planning.make_plan(wanted, release.specs, live, project=release.project, environment=release.environment)
    errors = tuple(
        problem("MF502", key=change.key, detail=", ".join(field.path for field in change.fields) or "it is missing")
        for change in plan.pending
    )
    get_run_logger().info("%d of %d deployments are as planned", len(plan.changes) - len(errors), len(plan.changes))
    return Verified(live, (*errors, *plan.refused))
