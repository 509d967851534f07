"""What could be done: a plan, what it would release, and what stands against it.

Each `propose_...` reads the server and decides; nothing is written. What a deploy wants comes from the repository, and
is rendered elsewhere; what a rollback, a repair and a clean want comes from the record of releases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from functools import partial
from logging import INFO
from typing import NamedTuple

from meta_flows import engine, planning
from meta_flows.configuration import Environment
from meta_flows.desired import Images
from meta_flows.engine import ApplyResult, Session, Shell, Store
from meta_flows.errors import MetaFlowsError, did_you_mean, problem, refuse
from meta_flows.models import Change, LiveResource, Plan, Release, Resource, ValidationError
from meta_flows.planning import history
from meta_flows.sources import GIT_CLONE
from meta_flows.validation import spoiled

NO_OLD_CODE = "a release of a local folder brings back how flows are deployed, not their code"

Pools = Mapping[str, Resource]
"""Work pools by address, as a file or a release declares them."""


class Context(NamedTuple):
    """Where something is proposed: the server, how steps are shown there, and what is known of the environment."""

    store: Store
    shell: Shell
    environment: Environment


class Wishes(NamedTuple):
    """What was asked for beside the flows to deploy.

    Attributes:
        adopt: Take over resources that this project does not own.
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
        live: Our resources, and whatever else has the name of one that we want, by address.
        release: The newest release of the environment, if there is any.
        released: What is released, by address.
    """

    live: Mapping[str, LiveResource]
    release: Release | None
    released: Mapping[str, Resource]


class PlannedPools(NamedTuple):
    """What is to be done to the work pools that deployments need.

    Attributes:
        changes: What is to be created or changed.
        refused: Why others stay as they are.
        ours: Those that are ours from then on, by address.
    """

    changes: tuple[Change, ...] = ()
    refused: tuple[ValidationError, ...] = ()
    ours: Mapping[str, Resource] = {}


class Proposal(NamedTuple):
    """What could be done.

    Attributes:
        observed: What it starts from.
        desired: What is asked for.
        plan: What is done.
        pools: What it does to work pools.
        refused: What is left out of the plan, and why.
        notes: What is worth knowing besides.
        stopped: Whether what is refused stops everything else too.
        busy: Whether another run is writing, so that nothing can be said.
        images: The images that the deployments run.
        warnings: What is worth a look, and refuses nothing.
        approval: Who approved or rejected it, and why, where that was asked.
        rejected: Whether it was rejected.
        undoes: The unfinished release that it undoes.
        restores: The earlier release that it makes the current one.
        all_or_nothing: Whether a failure undoes all of it, if the environment says nothing else.
        keep_record: Whether it is a release of its own, and not the current one once more.
        outdated: Whether images were built since, whose digests are in what it deploys.
    """

    observed: Observed
    desired: tuple[Resource, ...]
    plan: Plan
    pools: PlannedPools = PlannedPools()
    refused: tuple[ValidationError, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False
    images: Images = Images({})
    warnings: tuple[ValidationError, ...] = ()
    approval: str | None = None
    rejected: bool = False
    busy: bool = False
    undoes: Release | None = None
    restores: Release | None = None
    all_or_nothing: bool = True
    keep_record: bool = True
    outdated: bool = False

    @property
    def resources(self) -> dict[str, Resource]:
        """Every resource that is released once the plan has been carried out, by address."""
        planned = {change.address: change.action for change in self.plan.changes}
        kept = {at: item for at, item in self.observed.released.items() if planned.get(at) != "delete"}
        return {**kept, **{item.address: item for item in self.desired if item.address in planned}, **self.pools.ours}

    @property
    def worth_doing(self) -> bool:
        """Whether anything is to be done: to the server, to the record of what is released, or to an image."""
        observed = self.observed
        unfinished = observed.release is not None and observed.release.unfinished
        recorded = not unfinished and self.resources == observed.released
        return not (self.stopped or self.rejected or self.busy) and not (
            self.plan.in_sync and recorded and not self.images.missing
        )


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


def environment_pools(environment: Environment) -> Pools:
    """What the environment's file declares of work pools, by address."""
    pools = (
        Resource(type="work_pool", name=pool.name, kind=pool.type, spec=pool.spec)
        for pool in environment.work_pools.values()
    )
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
        change.address: problem("MF418", places.get(change.address), pool=change.name, deployments=deployments)
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
    found = {key: names for key, spec in inside.items() if (names := spoiled(spec["job_variables"], before, after))}
    return "; ".join(f"{key}: {', '.join(names)}" for key, names in sorted(found.items()))


def plan_changes(
    context: Context,
    deployments: Iterable[Resource],
    observed: Observed,
    policy: planning.Policy,
    pools: PlannedPools = PlannedPools(),  # noqa: B008  # a tuple
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
        problem(
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


Revise = Callable[[Proposal], Proposal]
"""Returns a proposal as it is after something was done about it."""


def carry_out(
    proposal: Proposal,
    approve: Revise,
    propose: Revise,
    writing: Callable[[], AbstractContextManager[Session]],
    record: Callable[[Proposal], Release],
    *,
    prepare: Revise = lambda proposal: proposal,
) -> tuple[Proposal, ApplyResult | None]:
    """Carry out a proposal, if it is worth it, as the only writer of the environment.

    While it waits for the lock things may change. So it is proposed again then, and another plan is approved again.

    Args:
        proposal: What is to be done.
        approve: Has a proposal approved, where the environment wants that; a rejected one is not worth doing.
        propose: Proposes again, given what was proposed before.
        writing: Takes the lock.
        record: Begins the record of a release.
        prepare: Does what takes long and needs no lock, once it is approved.

    Returns:
        What was proposed last, and how it ended; None where nothing was done.

    Raises:
        MetaFlowsError: Nothing was done: it may not be, or another run held the lock all the time.
    """
    proposal = approve(proposal)
    if not proposal.worth_doing:
        return proposal, None
    proposal = prepare(proposal)
    with writing() as session:
        proposal = approve(propose(proposal))
        if not proposal.worth_doing:
            return proposal, None
        if proposal.undoes:
            return proposal, engine.undo(session, proposal.undoes)
        observed = proposal.observed
        opened = history.opened(record(proposal), proposal.plan, proposal.resources, observed.released)
        ended = engine.apply_release(
            session,
            history.inherit_preimages(opened, observed.release),
            (*proposal.pools.ours.values(), *proposal.desired),
            released=observed.released,
            live=observed.live,
            abandoned=observed.release if observed.release and observed.release.unfinished else None,
            keep_record=proposal.keep_record,
        )
        return proposal, ended
