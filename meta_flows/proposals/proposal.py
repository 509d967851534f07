"""What could be done: a plan, what it would release, and what stands against it; and how it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from meta_flows import engine
from meta_flows.configuration import Environment
from meta_flows.desired.deployments import Images
from meta_flows.engine import ApplyResult, Session, Shell, Store
from meta_flows.models import Change, Diagnostic, LiveResource, Plan, Release, Resource
from meta_flows.planning import history


class Context(NamedTuple):
    """Where something is proposed.

    Attributes:
        store: The server.
        shell: How steps are shown there.
        environment: What is known of the environment.
        root: The repository.
    """

    store: Store
    shell: Shell
    environment: Environment
    root: Path


class DeployOptions(NamedTuple):
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
    refused: tuple[Diagnostic, ...] = ()
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
    refused: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False
    images: Images = Images({})
    warnings: tuple[Diagnostic, ...] = ()
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
    def has_changes(self) -> bool:
        """Whether anything is to be done: to the server, to the record of what is released, or to an image."""
        observed = self.observed
        unfinished = observed.release is not None and observed.release.unfinished
        recorded = not unfinished and self.resources == observed.released
        return not (self.stopped or self.rejected or self.busy) and not (
            self.plan.in_sync and recorded and not self.images.missing
        )


Revise = Callable[[Proposal], Proposal]
"""Returns a proposal as it is after something was done about it."""


def carry_out(
    context: Context,
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
        context: Where it goes.
        proposal: What is to be done.
        approve: Has a proposal approved, where the environment wants that. A rejected one is recorded, and not done.
        propose: Proposes again, given what was proposed before.
        writing: Takes the lock.
        record: Begins the record of a release.
        prepare: Does what takes long and needs no lock, once it is approved.

    Returns:
        What was proposed last, and how it ended; None where nothing was done.

    Raises:
        MetaFlowsError: Nothing was done: it may not be, or another run held the lock all the time.
    """

    def approved(proposal: Proposal) -> Proposal:
        proposal = approve(proposal)
        if proposal.rejected:
            keep = partial(engine.record_rejection, context.store, record(proposal), proposal.approval or "")
            context.shell.step("record rejection", keep)
        return proposal

    proposal = approved(proposal)
    if not proposal.has_changes:
        return proposal, None
    proposal = prepare(proposal)
    with writing() as session:
        proposal = approved(propose(proposal))
        if not proposal.has_changes:
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
