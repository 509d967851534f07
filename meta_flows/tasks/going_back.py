"""Steps of the meta-flows that take what is desired from the record of releases, or want less than there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from meta_flows import planning
from meta_flows.configuration import Environment
from meta_flows.errors import did_you_mean, refuse
from meta_flows.models import Deployment, LiveDeployment, Plan, Release
from meta_flows.planning import history
from meta_flows.prefect_api import Api, lock, releases
from meta_flows.sources import GIT_CLONE
from meta_flows.tasks import step
from meta_flows.tasks.planning import (
    Observed,
    PlannedPools,
    Proposal,
    missing_work_pools,
    observe,
    observe_others,
    plan_changes,
    plan_work_pools,
)
from meta_flows.tasks.releasing import read_touched

NO_OLD_CODE = "a release of a local folder brings back how flows are deployed, not their code"


@step("read releases of {environment.name}")
def read_history(api: Api, environment: Environment) -> list[Release]:
    """The releases of an environment, newest first, as far as they can be read.

    Raises:
        MetaFlowsError: MF517, there is none; MF518, the newest cannot be read.
    """
    if releases.latest_release(api, environment.project, environment.name) is None:
        raise refuse("MF517", environment=environment.name)
    found = releases.read_releases(api, environment.project, environment.name)
    return [release for _, release in found if release and release.state != "rejected"]


def choose_release(found: Sequence[Release], wanted: str | None, environment: Environment) -> Release:
    """The release of that id, or the one before the current.

    Raises:
        MetaFlowsError: MF516, there is no such release that succeeded; MF517, there is none before the current.
    """
    succeeded = {release.id: release for release in found if release.state == "succeeded"}
    if wanted is None:
        chosen = history.predecessor(list(succeeded.values()))
        if chosen is None:
            raise refuse("MF517", environment=environment.name)
        return chosen
    if wanted not in succeeded:
        suggestion = did_you_mean(wanted, succeeded)
        raise refuse("MF516", release=wanted, environment=environment.name, suggestion=suggestion)
    return succeeded[wanted]


def propose_rollback(api: Api, environment: Environment, to: str | None) -> tuple[Release, Proposal]:
    """The release to undo, since it was left unfinished, or else the one to go back to; and the plan for it.

    Raises:
        MetaFlowsError: MF516 and MF517, there is no release to go back to.
    """
    found = read_history(api, environment)
    if found[0].unfinished and to is None:
        return found[0], propose_undoing(api, found[0])
    chosen = choose_release(found, to, environment)
    return chosen, propose_release(api, environment, chosen)


def propose_release(api: Api, environment: Environment, chosen: Release) -> Proposal:
    """Plan to make a release the current one; what was released since goes, what took a place gives it back."""
    observed = observe_others(api, observe(api, environment), chosen.deployments)
    successors = {item.replaces: item.name for item in observed.released.values() if item.replaces}
    desired = tuple(
        item.model_copy(update={"replaces": successors.get(item.name, item.replaces)})
        for item in chosen.deployments.values()
    )
    prune = planning.Prune(wanted=True, only=frozenset(observed.released))
    pools = _pools_of(api, environment, chosen.work_pools, observed, desired)
    plan = plan_changes(api, desired, observed, environment, planning.Policy(prune=prune), pools)
    where = f": it was that of commit {chosen.commit[:12]}" if chosen.commit else ""
    notes = () if all(map(_brings_its_code, desired)) else (NO_OLD_CODE + where,)
    return Proposal(observed, desired, plan, pools, plan.refused, notes)


def _pools_of(
    api: Api,
    environment: Environment,
    released: Mapping[str, planning.Spec],
    observed: Observed,
    desired: Sequence[Deployment],
) -> PlannedPools:
    """Plan work pools as a release states them; of one that it says nothing of, and that is gone, the file is asked."""
    stated = {**missing_work_pools(environment, observed), **released}
    return plan_work_pools(api, environment, stated, observed, desired)


def _brings_its_code(deployment: Deployment) -> bool:
    return any(GIT_CLONE in pull for pull in deployment.spec["pull_steps"] or ())


def propose_undoing(api: Api, unfinished: Release) -> Proposal:
    """Plan to undo a release that was left unfinished."""
    live, pools = read_touched(api, unfinished)
    observed = Observed(live, unfinished, history.before(unfinished), {})
    notes = (f"release {unfinished.id} was left unfinished, and is undone",)
    return Proposal(observed, (), history.undoing(unfinished, live, pools), notes=notes)


def propose_repair(api: Api, environment: Environment) -> Proposal:
    """Plan to bring live back to what is released; where a release was left unfinished, to what was before it."""
    observed = observe(api, environment)
    if observed.release and observed.release.unfinished:
        if lock.read_lock(api, environment.project, environment.name)[0] is None:
            return propose_undoing(api, observed.release)
        idle = Plan(project=environment.project, environment=environment.name)
        return Proposal(observed, (), idle, notes=("a deploy is under way",), stopped=True)
    desired = tuple(history.settled(observed.release).values())
    prune = planning.Prune(only=frozenset())
    settled = history.settled_work_pools(observed.release)
    pools = _pools_of(api, environment, settled, observed, desired)
    plan = plan_changes(api, desired, observed, environment, planning.Policy(prune=prune), pools)
    notes = () if observed.release else ("nothing was released yet",)
    return Proposal(observed, desired, plan, pools, plan.refused, notes)


def propose_clean(api: Api, environment: Environment, pattern: str | None) -> Proposal:
    """Plan to delete owned deployments, whatever the repository says.

    Raises:
        MetaFlowsError: MF514, nothing is deleted under a guessed name.
    """
    if not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    observed = observe(api, environment)
    matching = {key: item for key, item in observed.live.items() if pattern is None or _matches(item, pattern)}
    changes = planning.clean(matching)
    plan = Plan(
        project=environment.project,
        environment=environment.name,
        changes=tuple(changes),
        digest=planning.digest(changes),
    )
    return Proposal(observed, (), plan)


def _matches(deployment: LiveDeployment, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (deployment.name, deployment.key))
