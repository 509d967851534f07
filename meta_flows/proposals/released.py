"""Propose what the record of releases holds: a rollback, an undo or a repair; and propose a clean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial

from meta_flows import engine, planning
from meta_flows.configuration import Environment
from meta_flows.desired.sources import GIT_CLONE
from meta_flows.diagnostics import did_you_mean, refuse
from meta_flows.models import Plan, Release, Resource
from meta_flows.planning import history
from meta_flows.proposals.observing import observe, observe_others
from meta_flows.proposals.plans import propose_resources
from meta_flows.proposals.proposal import Context, Observed, Proposal

NO_OLD_CODE = "a release of a local folder brings back how flows are deployed, not their code"


def read_history(context: Context) -> list[Release]:
    """Return the readable releases of an environment that were not rejected, newest first.

    Raises:
        MetaFlowsError: MF517, there is none; MF518, the newest cannot be read.
    """
    ownership = context.environment.ownership

    def read() -> list[Release]:
        if context.store.latest_release(ownership) is None:
            raise refuse("MF517", environment=ownership.environment, missing="release")
        found = context.store.read_releases(ownership)
        return [release for _, release in found if release and release.state != "rejected"]

    return context.shell.step(f"read releases of {ownership.environment}", read)


def choose_release(found: Sequence[Release], release_id: str | None, environment: Environment) -> Release:
    """Return the release of an id; without one, the release before the current, or the current if a newer one failed.

    Raises:
        MetaFlowsError: MF516, no release of that id succeeded; MF517, there is none before the current.
    """
    succeeded = {release.id: release for release in found if release.state == "succeeded"}
    if release_id is None:
        current_is_newest = not (found and (found[0].unfinished or found[0].state == "failed"))
        candidates = list(succeeded.values())
        chosen = history.predecessor(candidates) if current_is_newest else next(iter(candidates), None)
        if chosen is None:
            raise refuse("MF517", environment=environment.name, missing="release before the current one")
        return chosen
    if release_id not in succeeded:
        suggestion = did_you_mean(release_id, succeeded)
        raise refuse("MF516", release=release_id, environment=environment.name, suggestion=suggestion)
    return succeeded[release_id]


def propose_rollback(context: Context, to: str | None) -> Proposal:
    """Propose to undo an unfinished release, or else to restore an earlier one.

    Raises:
        MetaFlowsError: MF516 or MF517, there is no release to restore.
    """
    found = read_history(context)
    if found[0].to_undo and to is None:
        return _propose_undo(context, found[0])
    return _propose_release(context, choose_release(found, to, context.environment))


def _propose_release(context: Context, chosen: Release) -> Proposal:
    """Propose to restore a release; deployments released since are deleted, or replaced by those they replaced."""
    observed = observe_others(context, observe(context), chosen.resources)
    successors = {item.replaces: item.name for item in observed.released.values() if item.replaces}
    desired = [
        item.model_copy(update={"replaces": successors.get(item.name, item.replaces)})
        if item.type == "deployment"
        else item
        for item in chosen.resources.values()
    ]
    prune = planning.Prune(enabled=True, only=frozenset(observed.released))
    proposal = propose_resources(context, observed, desired, planning.Policy(prune=prune))
    where = f": it was that of commit {chosen.commit[:12]}" if chosen.commit else ""
    notes = () if _brings_its_code(desired) else (NO_OLD_CODE + where,)
    return proposal._replace(notes=notes, restores=chosen)


def _brings_its_code(resources: Iterable[Resource]) -> bool:
    """Return whether all deployments clone the commit that they were released with."""
    pulls = (item.spec["pull_steps"] or () for item in resources if item.type == "deployment")
    return all(any(GIT_CLONE in step for step in steps) for steps in pulls)


def _propose_undo(context: Context, unfinished: Release) -> Proposal:
    """Propose to undo an unfinished release."""
    read = partial(context.store.read, unfinished.preimages.keys())
    live = context.shell.step(f"observe what release {unfinished.id} touched", read)
    observed = Observed(live, unfinished, history.before(unfinished))
    plan, notes = history.undo_plan(unfinished, live)
    notes = (f"release {unfinished.id} was left unfinished, and is undone", *notes)
    return Proposal(observed, (), plan, notes=notes, undoes=unfinished)


def propose_repair(context: Context, *, locked: bool = False) -> Proposal:
    """Propose to bring live back to what is released, or to undo an unfinished release.

    Args:
        context: The environment and its server.
        locked: Whether we hold the lock, so that no other run can still finish an unfinished release.
    """
    environment = context.environment
    observed = observe(context)
    release = observed.release
    if release and release.unfinished and not locked:
        taken, writers = engine.read_lock(context.store, environment.ownership)
        if taken:
            idle = Plan(project=environment.project, environment=environment.name)
            by = f" by {engine.described_writers(writers)}" if writers else ""
            return Proposal(observed, (), idle, notes=(f"a deploy is under way{by}",), blocked="Busy")
    if release and release.to_undo:
        return _propose_undo(context, release)
    confirmed = history.confirmed(release)
    observed = observe_others(context, observed, confirmed)
    policy = planning.Policy(prune=planning.Prune(only=frozenset()))
    proposal = propose_resources(context, observed, confirmed.values(), policy)
    return proposal._replace(notes=() if release else ("nothing was released yet",), keep_record=False)


def propose_clean(context: Context, pattern: str | None) -> Proposal:
    """Propose to delete owned deployments, whatever the repository declares.

    Raises:
        MetaFlowsError: MF514, the project's name is a guess.
    """
    environment = context.environment
    if not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    observed = observe(context)
    matching = {
        address: item
        for address, item in observed.live.items()
        if item.type == "deployment"
        and (pattern is None or fnmatchcase(item.name, pattern) or fnmatchcase(item.key, pattern))
    }
    changes = tuple(planning.clean(matching))
    plan = Plan(
        project=environment.project, environment=environment.name, changes=changes, digest=planning.digest(changes)
    )
    return Proposal(observed, (), plan, all_or_nothing=False)
