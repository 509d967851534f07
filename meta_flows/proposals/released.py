"""What the record of releases asks for: going back, undoing, repairing; and cleaning up, which asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial

from meta_flows import engine, planning
from meta_flows.configuration import Environment
from meta_flows.desired.sources import GIT_CLONE
from meta_flows.diagnostics import did_you_mean, refuse
from meta_flows.models import LiveResource, Plan, Release, Resource
from meta_flows.planning import history
from meta_flows.proposals.observing import observe, observe_others
from meta_flows.proposals.plans import declared_pools, missing_pools, plan_changes, plan_pools
from meta_flows.proposals.proposal import Context, Observed, PlannedPools, Proposal

NO_OLD_CODE = "a release of a local folder brings back how flows are deployed, not their code"


def read_history(context: Context) -> list[Release]:
    """The releases of an environment, newest first, as far as they can be read.

    Raises:
        MetaFlowsError: MF517, there is none; MF518, the newest cannot be read.
    """
    return context.shell.step(f"read releases of {context.environment.name}", partial(_read_history, context))


def _read_history(context: Context) -> list[Release]:
    ownership = context.environment.ownership
    if context.store.latest_release(ownership) is None:
        raise refuse("MF517", environment=ownership.environment)
    found = context.store.read_releases(ownership)
    return [release for _, release in found if release and release.state != "rejected"]


def choose_release(found: Sequence[Release], wanted: str | None, environment: Environment) -> Release:
    """The release of that id, or the one before the current; where a newer one failed, the current.

    Raises:
        MetaFlowsError: MF516, there is no such release that succeeded; MF517, there is none before the current.
    """
    succeeded = {release.id: release for release in found if release.state == "succeeded"}
    if wanted is None:
        chosen = history.predecessor(list(succeeded.values()))
        if found and (found[0].unfinished or found[0].state == "failed"):
            chosen = next(iter(succeeded.values()), None)
        if chosen is None:
            raise refuse("MF517", environment=environment.name)
        return chosen
    if wanted not in succeeded:
        suggestion = did_you_mean(wanted, succeeded)
        raise refuse("MF516", release=wanted, environment=environment.name, suggestion=suggestion)
    return succeeded[wanted]


def propose_rollback(context: Context, to: str | None) -> Proposal:
    """Plan to undo a release that was left unfinished, or else to go back to an earlier one.

    Raises:
        MetaFlowsError: MF516 and MF517, there is no release to go back to.
    """
    found = read_history(context)
    if found[0].to_undo and to is None:
        return propose_undo(context, found[0])
    return propose_release(context, choose_release(found, to, context.environment))


def propose_release(context: Context, chosen: Release) -> Proposal:
    """Plan to make a release the current one; what was released since goes, what took a place gives it back."""
    observed = observe_others(context, observe(context), chosen.resources)
    successors = {item.replaces: item.name for item in observed.released.values() if item.replaces}
    desired = tuple(
        item.model_copy(update={"replaces": successors.get(item.name, item.replaces)})
        for item in chosen.resources.values()
        if item.type != "work_pool"
    )
    prune = planning.Prune(wanted=True, only=frozenset(observed.released))
    pools = _pools_of(context, chosen.resources, observed, desired)
    plan = plan_changes(context, desired, observed, planning.Policy(prune=prune), pools)
    where = f": it was that of commit {chosen.commit[:12]}" if chosen.commit else ""
    notes = () if all(map(_brings_its_code, desired)) else (NO_OLD_CODE + where,)
    return Proposal(observed, desired, plan, pools, plan.refused, notes, restores=chosen)


def _pools_of(
    context: Context,
    released: Mapping[str, Resource],
    observed: Observed,
    desired: Sequence[Resource],
) -> PlannedPools:
    """Plan work pools as a release declares them; of one that it does not, and that is gone, the file is asked."""
    declared = {**missing_pools(context.environment, observed), **declared_pools(released)}
    return plan_pools(context, declared, observed, desired)


def _brings_its_code(deployment: Resource) -> bool:
    return any(GIT_CLONE in pull for pull in deployment.spec["pull_steps"] or ())


def propose_undo(context: Context, unfinished: Release) -> Proposal:
    """Plan to undo a release that was left unfinished."""
    read = partial(engine.read_touched, context.store, unfinished)
    live = context.shell.step(f"observe what release {unfinished.id} touched", read)
    observed = Observed(live, unfinished, history.before(unfinished))
    plan, kept = history.undo_plan(unfinished, live)
    notes = (f"release {unfinished.id} was left unfinished, and is undone", *kept)
    return Proposal(observed, (), plan, notes=notes, undoes=unfinished)


def propose_repair(context: Context, *, locked: bool = False) -> Proposal:
    """Plan to bring live back to what is released; where a release was left unfinished, to what was before it.

    Args:
        context: Where it goes.
        locked: Whether we hold the lock, so that a release that is not finished never will be.
    """
    environment = context.environment
    observed = observe(context)
    release = observed.release
    if release and release.unfinished and not locked:
        taken, writers = engine.read_lock(context.store, environment.ownership)
        if taken:
            idle = Plan(project=environment.project, environment=environment.name)
            by = f" by {engine.described_writers(writers)}" if writers else ""
            return Proposal(observed, (), idle, notes=(f"a deploy is under way{by}",), busy=True)
    if release and release.to_undo:
        return propose_undo(context, release)
    confirmed = history.confirmed(release)
    observed = observe_others(context, observed, confirmed)
    desired = tuple(item for item in confirmed.values() if item.type != "work_pool")
    pools = _pools_of(context, confirmed, observed, desired)
    policy = planning.Policy(prune=planning.Prune(only=frozenset()))
    plan = plan_changes(context, desired, observed, policy, pools)
    notes = () if release else ("nothing was released yet",)
    return Proposal(observed, desired, plan, pools, plan.refused, notes, keep_record=False)


def propose_clean(context: Context, pattern: str | None) -> Proposal:
    """Plan to delete owned deployments, whatever the repository says.

    Raises:
        MetaFlowsError: MF514, nothing is deleted under a guessed name.
    """
    environment = context.environment
    if not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    observed = observe(context)
    owned = {at: item for at, item in observed.live.items() if item.type == "deployment"}
    matching = {at: item for at, item in owned.items() if pattern is None or _matches(item, pattern)}
    changes = planning.clean(matching)
    plan = Plan(
        project=environment.project,
        environment=environment.name,
        changes=tuple(changes),
        digest=planning.digest(changes),
    )
    return Proposal(observed, (), plan, all_or_nothing=False)


def _matches(deployment: LiveResource, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (deployment.name, deployment.key))
