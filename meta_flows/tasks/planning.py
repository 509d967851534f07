"""Steps that read the server and decide: observe, render, plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger
from prefect.futures import PrefectFuture

from meta_flows import planning
from meta_flows.configuration import Configured, Environment, deployment_name
from meta_flows.desired import Desired, Images, flows_with_new_code, render_all
from meta_flows.discovery import ignored_paths
from meta_flows.errors import MetaFlowsError, outcome, problem, refuse
from meta_flows.models import Deployment, FlowMetadata, LiveDeployment, Plan, Release, ValidationError, WorkPoolChange
from meta_flows.parameter_schemas import parameter_schemas
from meta_flows.planning import history
from meta_flows.prefect_api import Api, releases
from meta_flows.prefect_api import observe as reads
from meta_flows.tasks import step
from meta_flows.tasks.validating import check_deployments
from meta_flows.validation import spoiled


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
        work_pools: The environment's work pools that exist, and those that are ours, by name.
    """

    live: Mapping[str, LiveDeployment]
    release: Release | None
    released: Mapping[str, Deployment]
    work_pools: Mapping[str, Mapping[str, Any]]

    @property
    def released_work_pools(self) -> dict[str, planning.Spec]:
        """What is stated of the work pools that are ours, by name."""
        return history.released_work_pools(self.release)


class PlannedPools(NamedTuple):
    """What is to be done to the work pools that deployments need.

    Attributes:
        changes: What is to be made or changed.
        refused: Why others stay as they are.
        ours: What is stated of those that are ours from then on, by name.
    """

    changes: tuple[WorkPoolChange, ...] = ()
    refused: tuple[ValidationError, ...] = ()
    ours: Mapping[str, planning.Spec] = {}


class Proposal(NamedTuple):
    """What could be done: a plan, what it would release, and what stands against it.

    Attributes:
        desired: What is asked for.
        pools: What it does to work pools.
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
    pools: PlannedPools = PlannedPools()
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
    def work_pools(self) -> dict[str, planning.Spec]:
        """What is released of work pools once the plan has been carried out, by name."""
        return {**self.observed.released_work_pools, **self.pools.ours}

    @property
    def worth_doing(self) -> bool:
        """Whether anything is to be done: to the server, to the record of what is released, or to an image."""
        observed = self.observed
        unfinished = observed.release is not None and observed.release.unfinished
        released = (observed.released, observed.released_work_pools)
        recorded = not unfinished and (self.deployments, self.work_pools) == released
        return not (self.stopped or self.rejected) and not (self.plan.in_sync and recorded and not self.images.missing)


def propose_deploy(
    api: Api,
    root: Path,
    environment: Environment,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    images: Images,
    wishes: Wishes,
    observed: Observed,
) -> Proposal:
    """Render and plan a deploy.

    Args:
        api: Client of the server.
        root: The repository.
        environment: Where it goes.
        flows: All flows of the repository.
        configured: The selected ones with their configuration.
        images: Their images.
        wishes: What was asked for beside them.
        observed: What the server has that is ours.

    Raises:
        MetaFlowsError: MF510, another plan was asked for; MF514, nothing may be pruned under a guessed name; and what
            the steps raise.
    """
    observed = observe_others(api, observed, configured_keys(configured, environment))
    rendered = render_deployments(root, configured, environment, images, observed.released)
    stated = stated_work_pools(environment)
    pools = plan_work_pools(api, environment, stated, observed, rendered.deployments, adopt=wishes.adopt)
    rendered = check_deployments(api, root, configured, rendered, observed.work_pools, pools.changes, environment)
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
    plan = plan_changes(api, rendered.deployments, observed, environment, policy, pools, images.names)
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
    return Proposal(observed, rendered.deployments, plan, pools, refused, notes, stopped, images, warnings)


def _ignored(root: Path, flows: Iterable[FlowMetadata], live: Iterable[LiveDeployment]) -> frozenset[str]:
    """Entrypoints whose file is in the repository, but left out of it by .prefectignore."""
    known = {flow.path for flow in flows}
    others = {str(item.spec["entrypoint"]): str(item.spec["entrypoint"]).rpartition(":")[0] for item in live}
    ignores = ignored_paths(root, set(others.values()) - known)
    return frozenset(entrypoint for entrypoint, path in others.items() if path in ignores)


@step("observe {environment.name}")
def observe(api: Api, environment: Environment) -> Observed:
    """Read what is ours and what was released, in a handful of requests however many deployments there are."""
    live = reads.read_deployments(api, tags=planning.ownership_tags(environment.project, environment.name))
    release = releases.latest_release(api, environment.project, environment.name)
    named = {pool.name for pool in environment.work_pools.values()}
    pools = reads.read_work_pools(api, named.union(history.released_work_pools(release)))
    get_run_logger().info("%d deployments, last release %s", len(live), release.id if release else "none")
    return Observed(live, release, history.released(release), pools)


@contextmanager
def observing(api: Api, environment: Environment) -> Iterator[PrefectFuture[Observed]]:
    """Observe in the background, so that the server answers while the repository is read."""
    future = observe.submit(api, environment)
    import_module("prefect.utilities.schema_tools")  # needed next; it brings SQLAlchemy along, which takes 0.4 s
    try:
        yield future
    finally:
        future.wait()  # the client is closed next


def observe_others(api: Api, observed: Observed, keys: Collection[str]) -> Observed:
    """Add the deployments that exist where ours are wanted, whatever project owns them."""
    return observed._replace(live=reads.with_others(api, observed.live, keys))


@step("observe {environment.name} again")
def is_current(api: Api, environment: Environment, proposal: Proposal) -> bool:
    """Return whether a plan still holds: no release since, and everything that it changes is as it was."""
    plan, before = proposal.plan, proposal.observed
    if releases.latest_release(api, environment.project, environment.name) != before.release:
        return False
    keys = {change.key for change in plan.pending}
    now = reads.read_deployments(api, {key.partition("/")[2] for key in keys}) if keys else {}
    if any(now.get(key) != before.live.get(key) for key in keys):
        return False
    used = {item.spec["work_pool_name"] for item in proposal.desired if item.key in keys}
    used |= {change.name for change in plan.work_pools}
    pools = {name: reads.work_pool_spec(body) for name, body in before.work_pools.items() if name in used}
    return reads.read_work_pool_specs(api, used) == pools


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


def stated_work_pools(environment: Environment) -> dict[str, planning.Spec]:
    """What the environment's file states of work pools, by name."""
    return {pool.name: pool.spec for pool in environment.work_pools.values()}


def missing_work_pools(environment: Environment, observed: Observed) -> dict[str, planning.Spec]:
    """The same of those that the server lacks."""
    return {name: spec for name, spec in stated_work_pools(environment).items() if name not in observed.work_pools}


def plan_work_pools(
    api: Api,
    environment: Environment,
    stated: Mapping[str, planning.Spec],
    observed: Observed,
    wanted: Collection[Deployment],
    *,
    adopt: bool = False,
) -> PlannedPools:
    """Compare what is stated of the work pools that deployments need with what was released and what is live.

    A template that deployments in its pool do not fit any more is refused: the server would take it, and refuse or
    fail their runs.

    Args:
        api: Client of the server.
        environment: Where it goes.
        stated: What is stated of work pools, by name.
        observed: What the server has.
        wanted: The deployments.
        adopt: Change pools that are not ours, too.
    """
    used = {deployment.spec["work_pool_name"] for deployment in wanted}
    live = {name: reads.work_pool_spec(body) for name, body in observed.work_pools.items()}
    needed = {
        name: spec
        for name, spec in sorted(stated.items())
        if name in used and live.get(name, spec)["type"] == spec["type"]
    }
    released = observed.released_work_pools
    changes, foreign = planning.work_pool_changes(needed, released, live, reads.default_job_template, adopt=adopt)
    refused = {
        change.name: problem(
            "MF417",
            environment.place_of_pool(change.name),
            pool=change.name,
            fields=", ".join(field.path for field in change.fields),
        )
        for change in foreign
    }
    for change in changes:
        if deployments := _spoiled_by(api, change, wanted):
            place = environment.place_of_pool(change.name)
            refused[change.name] = problem("MF418", place, pool=change.name, deployments=deployments)
    ours = {
        name: spec
        for name, spec in needed.items()
        if name not in refused and (name in released or name not in live or spec.keys() > {"type"})
    }
    return PlannedPools(tuple(change for change in changes if change.name in ours), tuple(refused.values()), ours)


def _spoiled_by(api: Api, change: WorkPoolChange, wanted: Iterable[Deployment]) -> str:
    """The deployments in a work pool that would not fit it any more, each with its job variables that would not."""
    before, after = (
        (spec or {}).get("base_job_template", {}).get("variables", {}) for spec in (change.live, change.target)
    )
    if change.live is None or before == after:
        return ""
    rendered = {item.key: item.spec for item in wanted}
    others = {key: item.spec for key, item in reads.read_deployments_in(api, change.name).items()}
    inside = {key: spec for key, spec in (others | rendered).items() if spec["work_pool_name"] == change.name}
    found = {key: names for key, spec in inside.items() if (names := spoiled(spec["job_variables"], before, after))}
    return "; ".join(f"{key}: {', '.join(names)}" for key, names in sorted(found.items()))


@step("plan {environment.name}")
def plan_changes(
    api: Api,
    deployments: Iterable[Deployment],
    observed: Observed,
    environment: Environment,
    policy: planning.Policy,
    pools: PlannedPools = PlannedPools(),  # noqa: B008  # a tuple
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
    used = {deployment.spec["work_pool_name"] for deployment in wanted}
    _refuse_other_types(used, observed, environment)
    changes = [change for change in pools.changes if change.name in used]
    new = {change.name for change in changes if change.live is None}
    plan = plan.model_copy(
        update={
            "work_pools": tuple(changes),
            "work_queues": _new_work_queues(api, plan, new),
            "flows": _new_flows(api, plan),
            "refused": (*pools.refused, *plan.refused),
            "digest": planning.digest(
                plan.changes, [(change.name, change.live, change.target) for change in changes], names=image_names
            ),
        }
    )
    logger = get_run_logger()
    for pending in (*plan.work_pools, *plan.pending):
        logger.info("%s %s: %s", pending.action, pending, ", ".join(field.path for field in pending.fields))
    return plan


def check_plan(
    api: Api, desired: Desired, observed: Observed, environment: Environment, pools: PlannedPools
) -> Desired:
    """The same with what planning would refuse."""
    policy = planning.Policy(adopt=False, prune=planning.Prune(wanted=False))
    plan = outcome(plan_changes, api, desired.deployments, observed, environment, policy, pools)
    refused = plan.errors if isinstance(plan, MetaFlowsError) else plan.refused
    return desired._replace(refused=(*desired.refused, *refused))


def _refuse_other_types(used: Collection[str], observed: Observed, environment: Environment) -> None:
    wrong = [
        problem(
            "MF407",
            environment.place_of_pool(pool.name),
            pool=pool.name,
            live=live["type"],
            desired=pool.type,
            environment=environment.name,
        )
        for pool in environment.work_pools.values()
        if pool.name in used and (live := observed.work_pools.get(pool.name)) and live["type"] != pool.type
    ]
    if wrong:
        raise MetaFlowsError(wrong)


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


def configured_keys(configured: Configured, environment: Environment) -> set[str]:
    """The keys of all deployments that are asked for."""
    return {
        f"{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}"
        for item in configured.flows
        for kind in item.kinds
    }
