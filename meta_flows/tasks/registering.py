"""Steps of `register`: the meta-flows as deployments of their own."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint

from meta_flows import planning
from meta_flows.configuration import Environment, Selection, configure
from meta_flows.configuration.templates import template_kinds
from meta_flows.discovery import discover
from meta_flows.errors import refuse
from meta_flows.models import Resource
from meta_flows.prefect_api import reads
from meta_flows.prefect_api.connection import Api
from meta_flows.proposals import Context, Proposal, missing_pools, observe, observe_others, plan_changes, plan_pools
from meta_flows.registration import META_FLOWS, Loaded, render_meta_flow
from meta_flows.tasks import step


def propose_registration(context: Context, api: Api, wanted: tuple[Resource, ...]) -> Proposal:
    """Plan to register the meta-flows; one that this version no longer has goes.

    Raises:
        MetaFlowsError: MF410, they are to run in a work pool that neither is there nor belongs to the environment;
            MF523, somebody else has their names.
    """
    registry = context.environment
    observed = observe_others(context, observe(context), {item.address for item in wanted})
    pools = {item.spec["work_pool_name"] for item in wanted} - {pool.name for pool in registry.work_pools.values()}
    for pool in pools - reads.read_work_pools(api, pools).keys():
        raise refuse("MF410", pool=pool, suggestion="")
    policy = planning.Policy(prune=planning.Prune(wanted=registry.project_stated, limit=1.0))
    made = plan_pools(context, missing_pools(registry, observed), observed, wanted)
    plan = plan_changes(context, wanted, observed, policy, made)
    if plan.refused:
        planned = {change.key for change in plan.changes}
        raise refuse("MF523", names=", ".join(item.name for item in wanted if item.key not in planned))
    return Proposal(observed, wanted, plan, pools=made)


@step("render meta-flows for {environment.name}")
def render_meta_flows(root: Path, environment: Environment) -> tuple[Resource, ...]:
    """The deployments of all meta-flows, with what the repository has now to choose from in their forms."""
    configured = configure(root, discover(root), environment, Selection(), parameters={}, allow_none=True)
    choices = {
        "flows": sorted(item.configuration.slug for item in configured.flows),
        "kinds": sorted(template_kinds(root)),
    }
    return tuple(
        render_meta_flow(name, _load(name), environment, root, version=version("meta_flows"), choices=choices)
        for name in META_FLOWS
    )


def _load(function: str) -> Loaded:
    """A meta-flow as a run will load it."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(f"meta_flows.flows.{function}", use_placeholder_flow=False)
    description = (flow.description or "").partition("\nArgs:")[0].strip()
    return Loaded(flow.name, description, flow.parameters.model_dump_for_openapi())
