"""Comparing what is desired with what was released and what is live."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from logging import INFO

from meta_flows import planning
from meta_flows.configuration import Environment
from meta_flows.engine import Store
from meta_flows.errors import MetaFlowsError, diagnostic
from meta_flows.models import Change, Plan, Resource
from meta_flows.proposals.proposal import Context, Observed, PlannedPools


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
