"""A proposal: a plan, what it would release, and what blocks it; and how it is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from meta_flows import engine
from meta_flows.configuration import Environment
from meta_flows.desired.deployments import Images
from meta_flows.engine import ApplyResult, Session, Shell, Store
from meta_flows.models import Diagnostic, LiveResource, Plan, Release, Resource
from meta_flows.planning import history


class Context(NamedTuple):
    """The repository's folder, its environment, the environment's server, and the shell that shows steps there."""

    store: Store
    shell: Shell
    environment: Environment
    root: Path


class DeployOptions(NamedTuple):
    """Options of a deploy.

    Attributes:
        adopt: Take over resources that this project does not own.
        prune: Delete undeclared deployments; None for the environment's setting.
        prune_limit: Largest share of deployments to delete; None for the environment's setting.
        partial: Whether only a part of the repository is selected.
        digest: Digest of the only plan to apply; None for any plan.
    """

    adopt: bool = False
    prune: bool | None = None
    prune_limit: float | None = None
    partial: bool = False
    digest: str | None = None


class Observed(NamedTuple):
    """The state of a server.

    Attributes:
        live: Our resources, and others at the addresses of desired ones, by address.
        release: The newest release of the environment, if there is any.
        released: The released resources, by address.
    """

    live: Mapping[str, LiveResource]
    release: Release | None
    released: Mapping[str, Resource]


class Proposal(NamedTuple):
    """A plan that may be applied.

    Attributes:
        observed: The state that the plan starts from.
        desired: The resources that the plan reaches.
        refused: Resources that are left out of the plan, and why.
        blocked: Ending of the run if the plan may not be applied: because resources are refused in a strict
            environment, because it was rejected, or because another run is writing.
        images: The images that the deployments run.
        approval: Who approved or rejected it, and why, if that was asked.
        undoes: The unfinished release that it undoes.
        restores: The earlier release that it makes the current one.
        all_or_nothing: Whether a failure undoes all of it, unless the environment says otherwise.
        keep_record: Whether to keep its record of success; false where it repeats the current release.
        outdated: Whether images were built after it was planned; their digests are part of what it deploys.
    """

    observed: Observed
    desired: tuple[Resource, ...]
    plan: Plan
    refused: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    blocked: Literal["", "Incomplete", "Rejected", "Busy"] = ""
    images: Images = Images({})
    approval: str | None = None
    undoes: Release | None = None
    restores: Release | None = None
    all_or_nothing: bool = True
    keep_record: bool = True
    outdated: bool = False

    @property
    def resources(self) -> dict[str, Resource]:
        """Return every resource that is released once the plan is applied, by address."""
        deleted = {change.address for change in self.plan.changes if change.action == "delete"}
        kept = {address: item for address, item in self.observed.released.items() if address not in deleted}
        return kept | {item.address: item for item in self.desired}

    @property
    def has_changes(self) -> bool:
        """Return whether it may be applied and changes the server, the record of what is released, or an image."""
        release = self.observed.release
        recorded = not (release and release.unfinished) and self.resources == self.observed.released
        return not self.blocked and not (self.plan.in_sync and recorded and not self.images.missing)


Revise = Callable[[Proposal], Proposal]
"""Returns a new version of a proposal."""


def apply_proposal(
    context: Context,
    proposal: Proposal,
    approve: Revise,
    propose: Revise,
    writing: Callable[[], AbstractContextManager[Session]],
    record: Callable[[Proposal], Release],
    *,
    prepare: Revise = lambda proposal: proposal,
) -> tuple[Proposal, ApplyResult | None]:
    """Apply a proposal that has changes, as the only writer of the environment.

    While it waits for the lock the server may change. So once it holds the lock it proposes again, and has another
    plan approved again. `prepare` does the slow work that needs no lock. A rejected proposal is recorded.

    Returns:
        The last proposal, and how it ended; None if nothing was done.

    Raises:
        MetaFlowsError: Nothing was done: it is not allowed, or another run held the lock all the time.
    """
    proposal = _approved(context, proposal, approve, record)
    if not proposal.has_changes:
        return proposal, None
    proposal = prepare(proposal)
    with writing() as session:
        proposal = _approved(context, propose(proposal), approve, record)
        if not proposal.has_changes:
            return proposal, None
        if proposal.undoes:
            return proposal, engine.undo(session, proposal.undoes)
        observed = proposal.observed
        release = history.complete_record(record(proposal), proposal.resources, observed.released)
        ended = engine.apply_release(
            session,
            history.inherit_preimages(release, observed.release),
            released=observed.released,
            live=observed.live,
            abandoned=observed.release if observed.release and observed.release.unfinished else None,
            keep_record=proposal.keep_record,
        )
        return proposal, ended


def _approved(context: Context, proposal: Proposal, approve: Revise, record: Callable[[Proposal], Release]) -> Proposal:
    """Ask for approval, and record a rejection; it changes nothing about what is released."""
    proposal = approve(proposal)
    if proposal.blocked == "Rejected":
        release = record(proposal)
        rejected = release.model_copy(update={"state": "rejected", "finished": release.started})
        context.shell.step("record rejection", partial(context.store.save_release, rejected))
    return proposal
