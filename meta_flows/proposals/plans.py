"""Plan the deployments of an environment and the work pools that they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from logging import INFO
from typing import NamedTuple

from meta_flows import planning
from meta_flows.configuration import Environment
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.engine import Store
from meta_flows.models import Change, Diagnostic, Plan, Resource
from meta_flows.proposals.proposal import Context, Observed, Proposal
from meta_flows.resources import TYPES
from meta_flows.validation import newly_invalid_job_variables


class PlannedPools(NamedTuple):
    """The plan for the work pools that deployments need.

    Attributes:
        changes: Creations and updates.
        refused: Why other pools are left as they are.
        ours: The pools that are ours once the plan is applied.
    """

    changes: tuple[Change, ...]
    refused: tuple[Diagnostic, ...]
    ours: tuple[Resource, ...]


def environment_pools(environment: Environment) -> dict[str, Resource]:
    """Return the work pools that the environment's file declares, by address."""
    pools = (Resource(type="work_pool", name=pool.name, kind=pool.type, spec=pool.spec) for pool in environment.pools)
    return {item.address: item for item in pools}


def _needed_by(deployments: Iterable[Resource]) -> set[str]:
    """Return the addresses of the work pools that deployments need."""
    return {address for item in deployments for address in TYPES[item.type].needs(item.spec)}


def plan_pools(
    context: Context,
    declared: Mapping[str, Resource],
    observed: Observed,
    deployments: Collection[Resource],
    *,
    adopt: bool = False,
) -> PlannedPools:
    """Plan the declared work pools that deployments need.

    A template that deployments in its pool would no longer fit is refused: the server would accept it, and reject or
    fail their runs. Pools that are not ours are changed only with `adopt`.
    """
    environment, live = context.environment, observed.live
    addresses = sorted(declared.keys() & _needed_by(deployments))
    needed = {address: declared[address] for address in addresses if _is_to_plan(declared[address], observed)}
    locations = {at: location for at, item in needed.items() if (location := environment.place_of_pool(item.name))}
    plan = planning.make_plan(
        needed.values(),
        observed.released,
        {address: live[address] for address in needed if address in live},
        environment.ownership,
        policy=planning.Policy(adopt),
        default=context.store.default_job_template,
        locations=locations,
    )
    misfits = {
        change.address: diagnostic("MF418", locations.get(change.address), pool=change.name, deployments=found)
        for change in plan.changes
        if (found := _misfits(context.store, change, deployments))
    }
    planned = {change.address for change in plan.changes} - misfits.keys()
    return PlannedPools(
        changes=tuple(change for change in plan.pending if change.address in planned),
        refused=(*plan.refused, *misfits.values()),
        ours=tuple(item for address, item in needed.items() if address in planned),
    )


def _is_to_plan(pool: Resource, observed: Observed) -> bool:
    """Return whether a work pool is missing, or is of the declared type and ours or declared beyond its type."""
    live = observed.live.get(pool.address)
    if live is None:
        return True
    return live.spec["type"] == pool.kind and (pool.address in observed.released or pool.spec.keys() > {"type"})


def _misfits(store: Store, change: Change, deployments: Iterable[Resource]) -> str:
    """Return the deployments that would no longer fit a work pool's template, each with its invalid job variables."""
    if change.live is None:
        return ""
    before, after = (
        spec.get("base_job_template", {}).get("variables", {}) for spec in (change.live.spec, change.target)
    )
    if before == after:
        return ""
    specs = {item.key: item.spec for item in store.read_deployments_in(change.name).values()}
    specs |= {item.key: item.spec for item in deployments}
    invalid = {
        key: newly_invalid_job_variables(spec["job_variables"], before, after)
        for key, spec in sorted(specs.items())
        if spec["work_pool_name"] == change.name
    }
    return "; ".join(f"{key}: {', '.join(names)}" for key, names in invalid.items() if names)


def propose_resources(
    context: Context, observed: Observed, resources: Iterable[Resource], policy: planning.Policy
) -> Proposal:
    """Plan deployments and work pools; a missing work pool that is not among them is planned as the file declares it.

    Raises:
        MetaFlowsError: MF407, a work pool exists with another type; MF513, too much would be deleted.
    """
    declared = {item.address: item for item in resources}
    deployments = [item for item in declared.values() if item.type == "deployment"]
    in_file = environment_pools(context.environment)
    missing = {address: item for address, item in in_file.items() if address not in observed.live}
    pools = plan_pools(context, {**missing, **declared}, observed, deployments)
    return propose(context, observed, deployments, policy, pools)


def propose(
    context: Context,
    observed: Observed,
    deployments: Collection[Resource],
    policy: planning.Policy,
    pools: PlannedPools,
    image_names: Mapping[str, str] | None = None,
) -> Proposal:
    """Plan deployments, given the plan for the work pools that they need.

    Raises:
        MetaFlowsError: MF407, a work pool exists with another type; MF513, too much would be deleted.
    """
    environment, needed = context.environment, _needed_by(deployments)

    def plan_all() -> Plan:
        live = {address: item for address, item in observed.live.items() if item.type == "deployment"}
        plan = planning.make_plan(deployments, observed.released, live, environment.ownership, policy=policy)
        _refuse_other_types(needed, observed, environment)
        changes = (*(change for change in pools.changes if change.address in needed), *plan.changes)
        pending = [change for change in changes if change.action != "unchanged"]
        added = {
            "changes": changes,
            "work_queues": _new_work_queues(context.store, pending),
            "flows": _new_flows(context.store, pending),
            "refused": (*pools.refused, *plan.refused),
            "digest": planning.digest(changes, names=image_names),
        }
        for change in pending:
            fields = ", ".join(field.path for field in change.fields)
            context.shell.log(INFO, f"{change.action} {change}" + (f": {fields}" if fields else ""))
        return plan.model_copy(update=added)

    plan = context.shell.step(f"plan {environment.name}", plan_all)
    planned = {change.address for change in plan.changes}
    desired = (
        *(item for item in pools.ours if item.address in needed),
        *(item for item in deployments if item.address in planned),
    )
    return Proposal(observed, desired, plan, plan.refused)


def _refuse_other_types(needed: Collection[str], observed: Observed, environment: Environment) -> None:
    wrong = []
    for pool in environment.work_pools.values():
        live = observed.live.get(f"work_pool/{pool.name}")
        if live and live.address in needed and live.spec["type"] != pool.type:
            facts = {"live": live.spec["type"], "desired": pool.type, "environment": environment.name}
            wrong.append(diagnostic("MF407", environment.place_of_pool(pool.name), pool=pool.name, **facts))
    if wrong:
        raise MetaFlowsError(wrong)


def _new_work_queues(store: Store, pending: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    """Return the queues, as (pool, queue), that the server creates with the first deployment in them."""
    targets = [change.target for change in pending if change.type == "deployment"]
    placed = {(target.get("work_pool_name"), target.get("work_queue_name")) for target in targets}
    queues = {(pool, queue) for pool, queue in placed if pool and queue and queue != "default"}
    new_pools = {change.name for change in pending if change.type == "work_pool" and change.live is None}
    known = {pool: store.read_work_queues(pool) for pool in {pool for pool, _ in queues} - new_pools}
    return tuple(sorted((pool, queue) for pool, queue in queues if queue not in known.get(pool, ())))


def _new_flows(store: Store, pending: Iterable[Change]) -> tuple[str, ...]:
    """Return the names of the flows that the server creates with their first deployment."""
    names = {change.flow_name for change in pending if change.action == "create" and change.flow_name}
    return tuple(sorted(names - store.read_flow_ids(names).keys())) if names else ()
