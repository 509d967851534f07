"""Reading what is ours on a server, and whether that has changed since."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from logging import INFO

from meta_flows.planning import history
from meta_flows.proposals.plans import declared_pools, environment_pools
from meta_flows.proposals.proposal import Context, Observed, Proposal


def observe(context: Context) -> Observed:
    """Read what is ours and what was released, in a handful of requests however many resources there are."""
    return context.shell.step(f"observe {context.environment.name}", partial(read_server, context))


def read_server(context: Context) -> Observed:
    """The same, not as a step."""
    store, environment = context.store, context.environment
    live = store.read_owned(environment.ownership)
    release = store.latest_release(environment.ownership)
    released = history.released(release)
    pools = {*environment_pools(environment), *declared_pools(released)}
    context.shell.log(INFO, f"{len(live)} deployments, last release {release.id if release else 'none'}")
    return Observed(live | store.read(pools), release, released)


def observe_others(context: Context, observed: Observed, addresses: Collection[str]) -> Observed:
    """Add the resources that exist where ours are wanted, whatever project owns them; no request if all are ours."""
    missing = {address for address in addresses if address not in observed.live}
    return observed._replace(live={**observed.live, **context.store.read(missing)}) if missing else observed


def is_current(context: Context, proposal: Proposal) -> bool:
    """Return whether a plan still holds: no release since, and everything that it changes is as it was."""
    check = partial(_is_current, context, proposal)
    return context.shell.step(f"observe {context.environment.name} again", check)


def _is_current(context: Context, proposal: Proposal) -> bool:
    before = proposal.observed
    if context.store.latest_release(context.environment.ownership) != before.release:
        return False
    addresses = {change.address for change in proposal.plan.pending}
    addresses |= {f"work_pool/{item.spec['work_pool_name']}" for item in proposal.desired if item.address in addresses}
    now = context.store.read(addresses) if addresses else {}
    return all(now.get(address) == before.live.get(address) for address in addresses)
