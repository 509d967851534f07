"""Propose what the repository declares: a deploy of its flows, and the registration of the meta-flows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from meta_flows import planning
from meta_flows.configuration import Configured, Environment
from meta_flows.desired.deployments import Desired, Images
from meta_flows.diagnostics import MetaFlowsError, diagnostic, refuse, result_or_error
from meta_flows.discovery import ignored_paths
from meta_flows.models import FlowMetadata, LiveResource, Resource
from meta_flows.proposals.observing import observe, observe_others
from meta_flows.proposals.plans import PlannedPools, propose, propose_resources
from meta_flows.proposals.proposal import Context, DeployOptions, Observed, Proposal


def propose_deploy(
    context: Context,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    desired: Desired,
    observed: Observed,
    pools: PlannedPools,
    images: Images,
    options: DeployOptions,
) -> Proposal:
    """Propose a deploy of the configured ones among all flows of the repository, given their desired deployments.

    Raises:
        MetaFlowsError: MF407, a work pool exists with another type; MF510, the plan has another digest than the options
            allow; MF513, too much would be deleted; MF514, the project's name is a guess, and nothing may be pruned.
    """
    environment = context.environment
    refused = tuple(dict.fromkeys((*configured.refused, *desired.refused)))  # an engine is missing once
    skip_reason = "only a part of the repository is selected" if options.partial else images.left_out
    if refused:
        skip_reason = "as long as anything is refused, it is not known what is gone"
    present = _ignored(context.root, flows, observed.live.values())
    policy = planning.Policy(options.adopt, _prune(environment, options, skip_reason, present))
    proposal = propose(context, observed, desired.deployments, policy, pools, images.names)
    plan = proposal.plan
    if options.digest not in (None, plan.digest) and not plan.in_sync:
        raise refuse("MF510", planned=options.digest[:12], now=plan.digest[:12])
    refused = (*refused, *plan.refused)
    blocked = environment.strict and bool(refused)
    if blocked:
        refused = (*refused, diagnostic("MF504", environment=environment.name, count=len(refused)))
    notes = (*configured.notes, *images.notes)
    if observed.release and observed.release.unfinished:
        left = f"release {observed.release.id} was left unfinished: a deploy goes on from it, a rollback undoes it"
        notes = (*notes, left)
    return proposal._replace(
        refused=refused,
        notes=notes,
        warnings=(*configured.warnings, *desired.warnings),
        blocked="Incomplete" if blocked else "",
        images=images,
    )


def _prune(
    environment: Environment, options: DeployOptions, skip_reason: str, present: frozenset[str]
) -> planning.Prune:
    """Return which undeclared deployments to delete, by the options or else by the environment's file.

    Raises:
        MetaFlowsError: MF514, the project's name is a guess.
    """
    enabled = environment.prune if options.prune is None else options.prune
    if enabled and not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    limit = environment.prune_limit if options.prune_limit is None else options.prune_limit
    return planning.Prune(enabled, limit, skip_reason=skip_reason, present=present)


def _ignored(root: Path, flows: Iterable[FlowMetadata], live: Iterable[LiveResource]) -> frozenset[str]:
    """Return the live entrypoints whose file is in the repository, but excluded by .prefectignore."""
    known = {flow.path for flow in flows}
    entrypoints = (str(item.spec["entrypoint"]) for item in live if item.type == "deployment")
    paths = {entrypoint: entrypoint.rpartition(":")[0] for entrypoint in entrypoints}
    ignored = ignored_paths(root, set(paths.values()) - known)
    return frozenset(entrypoint for entrypoint, path in paths.items() if path in ignored)


def check_plan(context: Context, desired: Desired, observed: Observed, pools: PlannedPools) -> Desired:
    """Return the desired deployments with the diagnostics of planning them added."""
    policy = planning.Policy()
    proposal = result_or_error(propose, context, observed, desired.deployments, policy, pools)
    refused = proposal.errors if isinstance(proposal, MetaFlowsError) else proposal.refused
    return desired._replace(refused=(*desired.refused, *refused))


def propose_registration(context: Context, desired: tuple[Resource, ...]) -> Proposal:
    """Propose to register the meta-flows; those that this version no longer has are deleted.

    Raises:
        MetaFlowsError: MF523, other deployments have their names.
    """
    observed = observe_others(context, observe(context), {item.address for item in desired})
    prune = planning.Prune(enabled=context.environment.project_stated, limit=1.0)
    proposal = propose_resources(context, observed, desired, planning.Policy(prune=prune))
    if proposal.refused:
        planned = {change.key for change in proposal.plan.changes}
        raise refuse("MF523", names=", ".join(item.name for item in desired if item.key not in planned))
    return proposal
