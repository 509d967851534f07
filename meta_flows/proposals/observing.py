"""Read the live resources that are ours, and check whether they have changed since."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from logging import INFO

from meta_flows.planning import history
from meta_flows.proposals.plans import environment_pools
from meta_flows.proposals.proposal import Context, Observed, Proposal
from meta_flows.resources import TYPES


def observe(context: Context) -> Observed:
    """Read the server as a step, in a handful of requests however many resources there are."""
    return context.shell.step(f"observe {context.environment.name}", partial(read_server, context))


def read_server(context: Context) -> Observed:
    """Read our live resources, the work pools of the environment's file, and the newest release."""
    store, environment = context.store, context.environment
    live = store.read_owned(environment.ownership)
    release = store.latest_release(environment.ownership)
    released = history.released(release)
    untagged = {address for address, item in released.items() if not TYPES[item.type].tagged}
    context.shell.log(INFO, f"{len(live)} deployments, last release {release.id if release else 'none'}")
    return Observed(live | store.read(untagged | environment_pools(environment).keys()), release, released)


def observe_others(context: Context, observed: Observed, addresses: Collection[str]) -> Observed:
    """Add the live resources at these addresses, with any owner; make no request if all are known."""
    missing = {address for address in addresses if address not in observed.live}
    return observed._replace(live={**observed.live, **context.store.read(missing)})


def is_current(context: Context, proposal: Proposal) -> bool:
    """Return whether a plan still holds: no newer release, and all that it changes or needs is as it was observed."""
    before = proposal.observed

    def check() -> bool:
        if context.store.latest_release(context.environment.ownership) != before.release:
            return False
        addresses = {change.address for change in proposal.plan.pending}
        pending = [item for item in proposal.desired if item.address in addresses]
        addresses |= {address for item in pending for address in TYPES[item.type].needs(item.spec)}
        now = context.store.read(addresses)
        return all(now.get(address) == before.live.get(address) for address in addresses)

    return context.shell.step(f"observe {context.environment.name} again", check)
