"""What the repository asks for: a deploy of its flows, and the meta-flows themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from meta_flows import planning
from meta_flows.configuration import Configured
from meta_flows.desired.deployments import Desired, Images
from meta_flows.diagnostics import MetaFlowsError, diagnostic, outcome, refuse
from meta_flows.discovery import ignored_paths
from meta_flows.models import FlowMetadata, LiveResource, Resource
from meta_flows.proposals.observing import observe, observe_others
from meta_flows.proposals.plans import missing_pools, plan_changes, plan_pools
from meta_flows.proposals.proposal import Context, DeployOptions, Observed, PlannedPools, Proposal


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
    """Plan a deploy.

    Args:
        context: Where it goes.
        flows: All flows of the repository.
        configured: The selected ones with their configuration.
        desired: Their deployments.
        observed: What the server has that is ours, or has the name of what is ours.
        pools: What is planned for work pools.
        images: The images of the deployments.
        options: What was asked for beside the flows.

    Raises:
        MetaFlowsError: MF510, another plan was asked for; MF514, nothing may be pruned under a guessed name; and what
            planning refuses as a whole.
    """
    environment = context.environment
    refused = tuple(dict.fromkeys((*configured.refused, *desired.refused)))  # an engine is missing once
    skip_reason = "only a part of the repository is selected" if options.partial else images.left_out
    if refused:
        skip_reason = "as long as anything is refused, it is not known what is gone"
    prune = planning.Prune(
        wanted=environment.prune if options.prune is None else options.prune,
        limit=environment.prune_limit if options.prune_limit is None else options.prune_limit,
        skip_reason=skip_reason,
        present=_ignored(context.root, flows, observed.live.values()),
    )
    if prune.wanted and not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    policy = planning.Policy(options.adopt, prune)
    plan = plan_changes(context, desired.deployments, observed, policy, pools, images.names)
    if options.digest not in (None, plan.digest) and not plan.in_sync:
        raise refuse("MF510", planned=options.digest[:12], now=plan.digest[:12])
    refused = (*refused, *plan.refused)
    stopped = environment.strict and bool(refused)
    if stopped:
        refused = (*refused, diagnostic("MF504", environment=environment.name, count=len(refused)))
    notes, warnings = (*configured.notes, *images.notes), (*configured.warnings, *desired.warnings)
    if observed.release and observed.release.unfinished:
        notes = (
            *notes,
            f"release {observed.release.id} was left unfinished: a deploy goes on from it, a rollback undoes it",
        )
    return Proposal(observed, desired.deployments, plan, pools, refused, notes, stopped, images, warnings)


def _ignored(root: Path, flows: Iterable[FlowMetadata], live: Iterable[LiveResource]) -> frozenset[str]:
    """Entrypoints whose file is in the repository, but left out of it by .prefectignore."""
    known = {flow.path for flow in flows}
    entrypoints = (str(item.spec["entrypoint"]) for item in live if item.type == "deployment")
    others = {entrypoint: entrypoint.rpartition(":")[0] for entrypoint in entrypoints}
    ignores = ignored_paths(root, set(others.values()) - known)
    return frozenset(entrypoint for entrypoint, path in others.items() if path in ignores)


def check_plan(context: Context, desired: Desired, observed: Observed, pools: PlannedPools) -> Desired:
    """Add to what is refused what planning would refuse."""
    policy = planning.Policy(adopt=False, prune=planning.Prune(wanted=False))
    plan = outcome(plan_changes, context, desired.deployments, observed, policy, pools)
    refused = plan.errors if isinstance(plan, MetaFlowsError) else plan.refused
    return desired._replace(refused=(*desired.refused, *refused))


def propose_registration(context: Context, wanted: tuple[Resource, ...]) -> Proposal:
    """Plan to register the meta-flows; one that this version no longer has goes.

    Raises:
        MetaFlowsError: MF523, other deployments have their names.
    """
    registry = context.environment
    observed = observe_others(context, observe(context), {item.address for item in wanted})
    policy = planning.Policy(prune=planning.Prune(wanted=registry.project_stated, limit=1.0))
    made = plan_pools(context, missing_pools(registry, observed), observed, wanted)
    plan = plan_changes(context, wanted, observed, policy, made)
    if plan.refused:
        planned = {change.key for change in plan.changes}
        raise refuse("MF523", names=", ".join(item.name for item in wanted if item.key not in planned))
    return Proposal(observed, wanted, plan, pools=made)
