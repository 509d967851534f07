"""Steps that read the server and decide: observe, render, plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger

from meta_flows import planning
from meta_flows.configuration import Configured, Environment, deployment_name
from meta_flows.desired import Desired, Released, new_entrypoints, render_all
from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Deployment, LiveDeployment, Plan, Release, WorkPoolCreation
from meta_flows.parameter_schemas import parameter_schemas
from meta_flows.prefect_api import Api, releases
from meta_flows.prefect_api import observe as reads
from meta_flows.tasks import step


class Observed(NamedTuple):
    """What the server has.

    Attributes:
        live: Our deployments, and whatever else has the name of one that we want, by key.
        release: The newest release of the environment, if there is any.
        work_pools: The environment's work pools that exist, by name.
    """

    live: Mapping[str, LiveDeployment]
    release: Release | None
    work_pools: Mapping[str, Mapping[str, Any]]


@step("observe {environment.name}")
def observe(api: Api, environment: Environment, configured: Configured) -> Observed:
    """Read everything that planning needs, in a handful of requests however many deployments there are."""
    names = {
        deployment_name(item.configuration.slug, kind, environment) for item in configured.flows for kind in item.kinds
    }
    live = reads.read_deployments(api, planning.ownership_tags(environment.project, environment.name), names)
    pools = reads.read_work_pools(api, {pool.name for pool in environment.work_pools.values()})
    release = releases.latest_release(api, environment.project, environment.name)
    get_run_logger().info("%d deployments, last release %s", len(live), release.id if release else "none")
    return Observed(live, release, pools)


def released_specs(release: Release | None) -> dict[str, dict[str, Any]]:
    """What is released: the newest release's specs; where it was cut short, with what stood before it."""
    if release is None:
        return {}
    specs = dict(release.specs)
    unfinished = release.previous if release.state == "applying" else release.failures
    for key in unfinished:
        specs[key] = planning.either(release.previous.get(key, {}), specs.get(key, {}))
    return specs


def is_released(plan: Plan, deployments: Iterable[Deployment], observed: Observed) -> bool:
    """Whether the newest release is finished and holds exactly what is planned, so that there is nothing to record."""
    if observed.release is None or observed.release.state == "applying":
        return False
    planned = {change.key for change in plan.changes}
    specs = released_specs(observed.release)
    return all(specs.get(item.key) == item.spec for item in deployments if item.key in planned)


@step("render deployments")
def render_deployments(
    root: Path,
    configured: Configured,
    environment: Environment,
    released: Released,
) -> Desired:
    """Render every desired deployment; parameter schemas are computed for flows whose code is new only."""
    new = new_entrypoints(configured, environment, released)
    get_run_logger().info("%d of %d flows have new code", len(new), len(configured.flows))
    schemas = parameter_schemas(root, new)
    return render_all(root, configured, environment, released=released, schemas=schemas)


@step("plan {environment.name}")
def plan_changes(
    deployments: tuple[Deployment, ...],
    observed: Observed,
    environment: Environment,
    adopt: bool,
) -> Plan:
    """Compare desired, released and live.

    Raises:
        MetaFlowsError: MF407, a work pool that exists is of another type.
    """
    plan = planning.make_plan(
        deployments,
        released_specs(observed.release),
        observed.live,
        project=environment.project,
        environment=environment.name,
        adopt=adopt,
    )
    used = {deployment.spec["work_pool_name"] for deployment in deployments}
    pools = [pool for pool in environment.work_pools.values() if pool.name in used]
    wrong = [
        problem("MF407", pool=pool.name, live=live["type"], desired=pool.type, environment=environment.name)
        for pool in pools
        if (live := observed.work_pools.get(pool.name)) and live["type"] != pool.type
    ]
    if wrong:
        raise MetaFlowsError(wrong)
    new = tuple(
        WorkPoolCreation(name=pool.name, type=pool.type, base_job_template=pool.base_job_template)
        for pool in pools
        if pool.name not in observed.work_pools
    )
    logger = get_run_logger()
    for change in plan.pending:
        logger.info("%s %s: %s", change.action, change.name, ", ".join(field.path for field in change.fields))
    return plan.model_copy(update={"work_pools": new})
