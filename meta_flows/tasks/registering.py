"""Steps of `register`: the meta-flows as deployments of their own."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint

from meta_flows.configuration import Environment, Selection, configure
from meta_flows.configuration.templates import template_kinds
from meta_flows.discovery import discover
from meta_flows.models import Resource
from meta_flows.registration import META_FLOWS, Loaded, render_meta_flow
from meta_flows.tasks import step


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
