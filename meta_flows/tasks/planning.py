"""Steps that read the server and decide: observe, render, plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prefect import get_run_logger
from prefect.futures import PrefectFuture

from meta_flows import planning, proposals
from meta_flows.configuration import Configured, Environment, deployment_name
from meta_flows.desired import Desired, Images, flows_with_new_code, render_all
from meta_flows.discovery import ignored_paths
from meta_flows.errors import MetaFlowsError, outcome, problem, refuse
from meta_flows.models import FlowMetadata, LiveResource, Resource
from meta_flows.parameter_schemas import parameter_schemas
from meta_flows.prefect_api.compat import load_schema_tools
from meta_flows.prefect_api.connection import Api
from meta_flows.proposals import Context, Observed, PlannedPools, Proposal, Wishes
from meta_flows.tasks import step
from meta_flows.tasks.shell import run_step
from meta_flows.tasks.validating import check_deployments


def propose_deploy(
    context: Context,
    api: Api,
    root: Path,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    wishes: Wishes,
    images: Images,
    observed: Observed,
) -> Proposal:
    """Render and plan a deploy.

    Args:
        context: Where it goes.
        api: Client of the server.
        root: The repository.
        flows: All flows of the repository.
        configured: The selected ones with their configuration.
        wishes: What was asked for beside them.
        images: Their images.
        observed: What the server has that is ours.

    Raises:
        MetaFlowsError: MF510, another plan was asked for; MF514, nothing may be pruned under a guessed name; and what
            the steps raise.
    """
    environment = context.environment
    observed = proposals.observe_others(context, observed, configured_addresses(configured, environment))
    rendered = render_deployments(root, configured, environment, images, observed.released)
    declared = proposals.environment_pools(environment)
    pools = proposals.plan_pools(context, declared, observed, rendered.deployments, adopt=wishes.adopt)
    rendered = check_deployments(api, root, configured, rendered, observed.live, pools.changes, environment)
    refused = tuple(dict.fromkeys((*configured.refused, *rendered.refused)))  # an engine is missing once
    hindrance = "only a part of the repository is selected" if wishes.partial else images.left_out
    if refused:
        hindrance = "as long as anything is refused, it is not known what is gone"
    prune = planning.Prune(
        wanted=environment.prune if wishes.prune is None else wishes.prune,
        limit=environment.prune_limit if wishes.prune_limit is None else wishes.prune_limit,
        hindrance=hindrance,
        present=_ignored(root, flows, observed.live.values()),
    )
    if prune.wanted and not environment.project_stated:
        raise refuse("MF514", project=environment.project)
    policy = planning.Policy(wishes.adopt, prune)
    plan = proposals.plan_changes(context, rendered.deployments, observed, policy, pools, images.names)
    if wishes.digest not in (None, plan.digest) and not plan.in_sync:
        raise refuse("MF510", planned=wishes.digest[:12], now=plan.digest[:12])
    refused = (*refused, *plan.refused)
    stopped = environment.strict and bool(refused)
    if stopped:
        refused = (*refused, problem("MF504", environment=environment.name, count=len(refused)))
    notes, warnings = (*configured.notes, *images.notes), (*configured.warnings, *rendered.warnings)
    if observed.release and observed.release.unfinished:
        notes = (
            *notes,
            f"release {observed.release.id} was left unfinished: a deploy goes on from it, a rollback undoes it",
        )
    return Proposal(observed, rendered.deployments, plan, pools, refused, notes, stopped, images, warnings)


def _ignored(root: Path, flows: Iterable[FlowMetadata], live: Iterable[LiveResource]) -> frozenset[str]:
    """Entrypoints whose file is in the repository, but left out of it by .prefectignore."""
    known = {flow.path for flow in flows}
    entrypoints = (str(item.spec["entrypoint"]) for item in live if item.type == "deployment")
    others = {entrypoint: entrypoint.rpartition(":")[0] for entrypoint in entrypoints}
    ignores = ignored_paths(root, set(others.values()) - known)
    return frozenset(entrypoint for entrypoint, path in others.items() if path in ignores)


@contextmanager
def observing(context: Context) -> Iterator[PrefectFuture[Observed]]:
    """Observe in the background, so that the server answers while the repository is read."""
    future = run_step.submit(f"observe {context.environment.name}", partial(proposals.read_server, context))
    load_schema_tools()  # needed next
    try:
        yield future
    finally:
        future.wait()  # the client is closed next


def propose_again(context: Context, propose: Callable[[Images, Observed], Proposal], proposal: Proposal) -> Proposal:
    """Propose a deploy anew, unless nothing has changed since it was proposed."""
    if not proposal.outdated and proposals.is_current(context, proposal):
        return proposal
    return propose(proposal.images, proposals.observe(context))


@step("render deployments")
def render_deployments(
    root: Path, configured: Configured, environment: Environment, images: Images, released: Mapping[str, Resource]
) -> Desired:
    """Render every desired deployment; parameter schemas are computed for flows whose code is new only."""
    specs = {item.key: item.spec for item in released.values() if item.type == "deployment"}
    new = flows_with_new_code(configured, environment, specs)
    get_run_logger().info("%d of %d flows have new code", len(new), len(configured.flows))
    schemas = parameter_schemas(root, {item.flow.entrypoint: item.variables for item in new})
    return render_all(root, configured, environment, images, released=specs, schemas=schemas)


def check_plan(context: Context, desired: Desired, observed: Observed, pools: PlannedPools) -> Desired:
    """The same with what planning would refuse."""
    policy = planning.Policy(adopt=False, prune=planning.Prune(wanted=False))
    plan = outcome(proposals.plan_changes, context, desired.deployments, observed, policy, pools)
    refused = plan.errors if isinstance(plan, MetaFlowsError) else plan.refused
    return desired._replace(refused=(*desired.refused, *refused))


def configured_addresses(configured: Configured, environment: Environment) -> set[str]:
    """The addresses of all deployments that are asked for."""
    return {
        f"deployment/{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}"
        for item in configured.flows
        for kind in item.kinds
    }
