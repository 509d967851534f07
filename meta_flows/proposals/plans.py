"""Plan the work pools and deployments of an environment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from logging import INFO

from meta_flows import planning
from meta_flows.configuration import Environment
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.engine import Store
from meta_flows.models import Change, Plan, Resource
from meta_flows.proposals.proposal import Context, Observed, PlannedPools
from meta_flows.validation import newly_invalid_job_variables

Pools = Mapping[str, Resource]
"""Work pools by address, as a file or a release declares them."""


def environment_pools(environment: Environment) -> Pools:
    """What the environment's file declares of work pools, by address."""
    pools = (Resource(type="work_pool", name=pool.name, kind=pool.type, spec=pool.spec) for pool in environment.pools)
    return {item.address: item for item in pools}


def missing_pools(environment: Environment, observed: Observed) -> Pools:
    """The same of those that the server lacks."""
    return {at: item for at, item in environment_pools(environment).items() if at not in observed.live}


def declared_pools(resources: Mapping[str, Resource]) -> Pools:
    """The work pools among some resources."""
    return {at: item for at, item in resources.items() if item.type == "work_pool"}


def plan_pools(
    context: Context,
    declared: Pools,
    observed: Observed,
    wanted: Collection[Resource],
    *,
    adopt: bool = False,
) -> PlannedPools:
    """Compare what is declared of the work pools that deployments need with what was released and what is live.

    A template that deployments in its pool do not fit any more is refused: the server would take it, and refuse or
    fail their runs.

    Args:
        context: Where it goes.
        declared: Work pools, by address.
        observed: What the server has.
        wanted: The deployments.
        adopt: Change pools that are not ours, too.
    """
    store, environment = context.store, context.environment
    used = {deployment.spec["work_pool_name"] for deployment in wanted}
    live, released = observed.live, observed.released
    needed = {
        at: item
        for at, item in sorted(declared.items())
        if item.name in used and (at not in live or live[at].spec["type"] == item.kind)
    }
    places = {at: place for at, item in needed.items() if (place := environment.place_of_pool(item.name))}
    plan = planning.make_plan(
        needed.values(),
        declared_pools(released),
        {at: live[at] for at in needed if at in live},
        environment.ownership,
        policy=planning.Policy(adopt),
        default=store.default_job_template,
        places=places,
    )
    spoils = {
        change.address: diagnostic("MF418", places.get(change.address), pool=change.name, deployments=deployments)
        for change in plan.changes
        if (deployments := _spoiled_by(store, change, wanted))
    }
    planned = {change.address for change in plan.changes} - spoils.keys()
    ours = {
        at: item
        for at, item in needed.items()
        if at in planned and (at in released or at not in live or item.spec.keys() > {"type"})
    }
    changes = tuple(change for change in plan.pending if change.address in ours)
    return PlannedPools(changes, (*plan.refused, *spoils.values()), ours)


def _spoiled_by(store: Store, change: Change, wanted: Iterable[Resource]) -> str:
    """The deployments in a work pool that would not fit it any more, each with its job variables that would not."""
    live_spec = change.live.spec if change.live else None
    before, after = (
        (spec or {}).get("base_job_template", {}).get("variables", {}) for spec in (live_spec, change.target)
    )
    if change.live is None or before == after:
        return ""
    rendered = {item.key: item.spec for item in wanted}
    others = {item.key: item.spec for item in store.read_deployments_in(change.name).values()}
    inside = {key: spec for key, spec in (others | rendered).items() if spec["work_pool_name"] == change.name}
    found = {
        key: names
        for key, spec in inside.items()
        if (names := newly_invalid_job_variables(spec["job_variables"], before, after))
    }
    return "; ".join(f"{key}: {', '.join(names)}" for key, names in sorted(found.items()))


def plan_changes(
    context: Context,
    deployments: Iterable[Resource],
    observed: Observed,
    policy: planning.Policy,
    pools: PlannedPools = PlannedPools(),
    image_names: Mapping[str, str] | None = None,
) -> Plan:
    """Compare desired, released and live.

    Raises:
        MetaFlowsError: MF407, a work pool that exists is of another type; MF513, too much would be deleted.
    """
    plan = partial(_plan_changes, context, tuple(deployments), observed, policy, pools, image_names or {})
    return context.shell.step(f"plan {context.environment.name}", plan)


def _plan_changes(
    context: Context,
    wanted: Collection[Resource],
    observed: Observed,
    policy: planning.Policy,
    pools: PlannedPools,
    image_names: Mapping[str, str],
) -> Plan:
    environment = context.environment
    live = {at: item for at, item in observed.live.items() if item.type == "deployment"}
    plan = planning.make_plan(wanted, observed.released, live, environment.ownership, policy=policy)
    used = {deployment.spec["work_pool_name"] for deployment in wanted}
    _refuse_other_types(used, observed, environment)
    changes = (*(change for change in pools.changes if change.name in used), *plan.changes)
    plan = plan.model_copy(
        update={
            "changes": changes,
            "work_queues": _new_work_queues(context.store, changes),
            "flows": _new_flows(context.store, changes),
            "refused": (*pools.refused, *plan.refused),
            "digest": planning.digest(changes, names=image_names),
        }
    )
    for pending in plan.pending:
        fields = ", ".join(field.path for field in pending.fields)
        context.shell.log(INFO, f"{pending.action} {pending}: {fields}")
    return plan


def _refuse_other_types(used: Collection[str], observed: Observed, environment: Environment) -> None:
    wrong = [
        diagnostic(
            "MF407",
            environment.place_of_pool(pool.name),
            pool=pool.name,
            live=live.spec["type"],
            desired=pool.type,
            environment=environment.name,
        )
        for pool in environment.work_pools.values()
        if pool.name in used
        and (live := observed.live.get(f"work_pool/{pool.name}"))
        and live.spec["type"] != pool.type
    ]
    if wrong:
        raise MetaFlowsError(wrong)


def _new_work_queues(store: Store, changes: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    pending = [change for change in changes if change.action != "unchanged"]
    placed = {
        (change.target["work_pool_name"], change.target.get("work_queue_name"))
        for change in pending
        if change.type == "deployment" and change.target
    }
    new_pools = {change.name for change in pending if change.type == "work_pool" and change.live is None}
    stated = {(pool, queue) for pool, queue in placed if pool and queue and queue != "default"}
    known = {pool: store.read_work_queues(pool) for pool in {pool for pool, _ in stated} - new_pools}
    return tuple(sorted((pool, queue) for pool, queue in stated if queue not in known.get(pool, ())))


def _new_flows(store: Store, changes: Iterable[Change]) -> tuple[str, ...]:
    names = {change.flow_name for change in changes if change.action == "create" and change.flow_name}
    return tuple(sorted(names - store.read_flow_ids(names).keys())) if names else ()
