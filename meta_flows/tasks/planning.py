"""Steps that read the server and decide: observe, render, plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger

from meta_flows import planning
from meta_flows.configuration import Configured, Environment, deployment_name
from meta_flows.desired import Desired, Images, flows_with_new_code, render_all
from meta_flows.discovery import ignored_paths
from meta_flows.errors import MetaFlowsError, outcome, problem, refuse
from meta_flows.models import Deployment, FlowMetadata, LiveDeployment, Plan, Release, ValidationError, WorkPoolCreation
from meta_flows.parameter_schemas import parameter_schemas
from meta_flows.planning import history
from meta_flows.prefect_api import Api, releases
from meta_flows.prefect_api import observe as reads
from meta_flows.tasks import step
from meta_flows.tasks.validating import check_deployments


class Wishes(NamedTuple):
    """What was asked for beside the flows to deploy.

    Attributes:
        adopt: Take over deployments that this project does not own.
        prune: Delete what is not asked for any more; the environment says, if None.
        prune_limit: Largest share that may be deleted; the environment says, if None.
        partial: Whether a part of the repository was selected.
        digest: Digest of the only plan that is wanted.
    """

    adopt: bool = False
    prune: bool | None = None
    prune_limit: float | None = None
    partial: bool = False
    digest: str | None = None


class Observed(NamedTuple):
    """What the server has.

    Attributes:
        live: Our deployments, and whatever else has the name of one that we want, by key.
        release: The newest release of the environment, if there is any.
        released: What is released, by key.
        work_pools: The environment's work pools that exist, by name.
    """

    live: Mapping[str, LiveDeployment]
    release: Release | None
    released: Mapping[str, Deployment]
    work_pools: Mapping[str, Mapping[str, Any]]


class Proposal(NamedTuple):
    """What could be done: a plan, what it would release, and what stands against it.

    Attributes:
        desired: What is asked for.
        refused: What is left out of the plan, and why.
        notes: What is worth knowing besides.
        stopped: Whether what is refused stops everything else too.
        images: The images that the deployments run.
        warnings: What is worth a look, and refuses nothing.
        approval: Who approved or rejected it, and why, where somebody was asked.
        rejected: Whether it was rejected.
    """

    observed: Observed
    desired: tuple[Deployment, ...]
    plan: Plan
    refused: tuple[ValidationError, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False
    images: Images = Images({})
    warnings: tuple[ValidationError, ...] = ()
    approval: str | None = None
    rejected: bool = False

    @property
    def deployments(self) -> dict[str, Deployment]:
        """Every deployment that is released once the plan has been carried out, by key."""
        planned = {change.key: change.action for change in self.plan.changes}
        kept = {key: item for key, item in self.observed.released.items() if planned.get(key) != "delete"}
        return kept | {item.key: item for item in self.desired if item.key in planned}

    @property
    def worth_doing(self) -> bool:
        """Whether anything is to be done: to the server, to the record of what is released, or to an image."""
        release = self.observed.release
        unfinished = release is not None and release.unfinished
        recorded = not unfinished and self.deployments == self.observed.released
        return not (self.stopped or self.rejected) and not (self.plan.in_sync and recorded and not self.images.missing)


def propose_deploy(
    api: Api,
    root: Path,
    environment: Environment,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    images: Images,
    wishes: Wishes,
    earlier: Proposal | None = None,
) -> Proposal:
    """Observe, render and plan a deploy.

    Args:
        api: Client of the server.
        root: The repository.
        environment: Where it goes.
        flows: All flows of the repository.
        configured: The selected ones with their configuration.
        images: Their images.
        wishes: What was asked for beside them.
        earlier: What was proposed before; it holds as long as the server is the same.

    Raises:
        MetaFlowsError: MF510, another plan was asked for; MF514, nothing may be pruned under a guessed name; and what
            the steps raise.
    """
    observed = observe(api, environment, configured_names(configured, environment))
    if earlier and (earlier.observed, earlier.images) == (observed, images):
        return earlier  # approval and all
    rendered = render_deployments(root, configured, environment, images, observed.released)
    rendered = check_deployments(api, root, configured, rendered, observed.work_pools, environment)
    refused = tuple(dict.fromkeys((*configured.refused, *rendered.refused)))  # an engine is missing once
    hindrance = "only a part of the repository is selected" if wishes.partial else images.left_out
    if refused:
        hindrance = "as long as anything is refused, it is not known what is gone"
    prune = planning.Prune(
        wanted=environment.prune if wishes.prune is None else wishes.prune,
        limit=environment.prune_limit if wishes.prune_limit is None else wishes.prune_limit,
        hindrance=hindrance,
        present=_ignored(root, flows, observed.live.values()),
    )
    if prune.wanted and not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    policy = planning.Policy(wishes.adopt, prune)
    plan = plan_changes(api, rendered.deployments, observed, environment, policy, images.names)
    if wishes.digest not in (None, plan.digest) and not plan.in_sync:
        raise refuse("MF510", planned=wishes.digest[:12], now=plan.digest[:12])
    refused = (*refused, *plan.refused)
    stopped = environment.strict and bool(refused)
    if stopped:
        refused = (*refused, problem("MF504", environment=environment.name, count=len(refused)))
    notes, warnings = (*configured.notes, *images.notes), (*configured.warnings, *rendered.warnings)
    if observed.release and observed.release.unfinished:
        notes = (
            *notes,
            f"release {observed.release.id} was left unfinished: a deploy goes on from it, a rollback undoes it",
        )
    return Proposal(observed, rendered.deployments, plan, refused, notes, stopped, images, warnings)


def _ignored(root: Path, flows: Iterable[FlowMetadata], live: Iterable[LiveDeployment]) -> frozenset[str]:
    """Entrypoints whose file is in the repository, but left out of it by .prefectignore."""
    known = {flow.path for flow in flows}
    others = {str(item.spec["entrypoint"]): str(item.spec["entrypoint"]).rpartition(":")[0] for item in live}
    ignores = ignored_paths(root, set(others.values()) - known)
    return frozenset(entrypoint for entrypoint, path in others.items() if path in ignores)


@step("observe {environment.name}")
def observe(api: Api, environment: Environment, names: Collection[str] = ()) -> Observed:
    """Read everything that planning needs, in a handful of requests however many deployments there are."""
    live = reads.read_deployments(api, names, planning.ownership_tags(environment.project, environment.name))
    pools = reads.read_work_pools(api, {pool.name for pool in environment.work_pools.values()})
    release = releases.latest_release(api, environment.project, environment.name)
    get_run_logger().info("%d deployments, last release %s", len(live), release.id if release else "none")
    return Observed(live, release, history.released(release), pools)


@step("render deployments")
def render_deployments(
    root: Path, configured: Configured, environment: Environment, images: Images, released: Mapping[str, Deployment]
) -> Desired:
    """Render every desired deployment; parameter schemas are computed for flows whose code is new only."""
    specs = {key: item.spec for key, item in released.items()}
    new = flows_with_new_code(configured, environment, specs)
    get_run_logger().info("%d of %d flows have new code", len(new), len(configured.flows))
    schemas = parameter_schemas(root, {item.flow.entrypoint: item.variables for item in new})
    return render_all(root, configured, environment, images, released=specs, schemas=schemas)


@step("plan {environment.name}")
def plan_changes(
    api: Api,
    deployments: Iterable[Deployment],
    observed: Observed,
    environment: Environment,
    policy: planning.Policy,
    image_names: Mapping[str, str] | None = None,
) -> Plan:
    """Compare desired, released and live.

    Raises:
        MetaFlowsError: MF407, a work pool that exists is of another type; MF513, too much would be deleted.
    """
    wanted = tuple(deployments)
    plan = planning.make_plan(
        wanted,
        observed.released,
        observed.live,
        project=environment.project,
        environment=environment.name,
        policy=policy,
    )
    pools = _new_work_pools(wanted, observed, environment)
    plan = plan.model_copy(
        update={
            "work_pools": pools,
            "work_queues": _new_work_queues(api, plan, {pool.name for pool in pools}),
            "flows": _new_flows(api, plan),
            "digest": planning.digest(plan.changes, [pool.model_dump() for pool in pools], names=image_names),
        }
    )
    logger = get_run_logger()
    for change in plan.pending:
        logger.info("%s %s: %s", change.action, change.name, ", ".join(field.path for field in change.fields))
    return plan


def check_plan(api: Api, desired: Desired, observed: Observed, environment: Environment) -> Desired:
    """The same with what planning would refuse."""
    policy = planning.Policy(adopt=False, prune=planning.Prune(wanted=False))
    plan = outcome(plan_changes, api, desired.deployments, observed, environment, policy)
    refused = plan.errors if isinstance(plan, MetaFlowsError) else plan.refused
    return desired._replace(refused=(*desired.refused, *refused))


def _new_work_pools(
    wanted: Iterable[Deployment], observed: Observed, environment: Environment
) -> tuple[WorkPoolCreation, ...]:
    used = {deployment.spec["work_pool_name"] for deployment in wanted}
    pools = [pool for pool in environment.work_pools.values() if pool.name in used]
    wrong = [
        problem("MF407", pool=pool.name, live=live["type"], desired=pool.type, environment=environment.name)
        for pool in pools
        if (live := observed.work_pools.get(pool.name)) and live["type"] != pool.type
    ]
    if wrong:
        raise MetaFlowsError(wrong)
    return tuple(
        WorkPoolCreation(name=pool.name, type=pool.type, base_job_template=pool.base_job_template)
        for pool in pools
        if pool.name not in observed.work_pools
    )


def _new_work_queues(api: Api, plan: Plan, new_pools: Collection[str]) -> tuple[tuple[str, str], ...]:
    placed = {
        (change.target["work_pool_name"], change.target.get("work_queue_name"))
        for change in plan.pending
        if change.target
    }
    stated = {(pool, queue) for pool, queue in placed if pool and queue and queue != "default"}
    known = {pool: reads.read_work_queues(api, pool) for pool in {pool for pool, _ in stated} - set(new_pools)}
    return tuple(sorted((pool, queue) for pool, queue in stated if queue not in known.get(pool, ())))


def _new_flows(api: Api, plan: Plan) -> tuple[str, ...]:
    names = {change.flow_name for change in plan.changes if change.action == "create"}
    return tuple(sorted(names - reads.read_flow_ids(api, names).keys())) if names else ()


def configured_names(configured: Configured, environment: Environment) -> set[str]:
    """The names of all deployments that are asked for."""
    return {
        deployment_name(item.configuration.slug, kind, environment) for item in configured.flows for kind in item.kinds
    }
