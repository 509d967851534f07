"""Planning the work pools that deployments need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from meta_flows import planning
from meta_flows.configuration import Environment
from meta_flows.engine import Store
from meta_flows.errors import diagnostic
from meta_flows.models import Change, Resource
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
