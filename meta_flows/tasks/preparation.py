"""Steps before the plan, in their order: connect, discover, resolve the configuration, validate.

Then the report of `validate`, which ends there, and the meta-flows' own deployments, which `register` plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from meta_flows import discovery, engine, validation
from meta_flows.configuration import Configured, Environment, Selection, configure, load_environment
from meta_flows.configuration.templates import template_kinds
from meta_flows.desired.deployments import Desired, as_error
from meta_flows.desired.registration import META_FLOWS, registered_for, render_meta_flow
from meta_flows.diagnostics import refuse
from meta_flows.models import DeployResult, FlowMetadata, Resource
from meta_flows.prefect_api.connection import ensure_on_server_of
from meta_flows.prefect_api.store import connected_store
from meta_flows.tasks import publish, step


def run_name(verb: str) -> Callable[[], str]:
    """Return what names runs by what they do, where, and to what, e.g. `deploy staging: rpa1, rpa2 (dry run)`."""

    def name() -> str:
        given: Mapping[str, Any] = flow_run.parameters
        chosen = [*(given.get("flows") or ()), *(given.get("kinds") or ()), given.get("pattern"), given.get("to")]
        what = ", ".join(part for part in chosen if part)
        return f"{verb} {given['environment']}{what and f': {what}'}" + (" (dry run)" if given.get("dry_run") else "")

    return name


@step("connect to {environment}")
def connect_to(root: Path, environment: str) -> Environment:
    """Load the environment, and make sure that this run is on its server.

    Raises:
        MetaFlowsError: MF204, no such environment; MF403 or MF405, the run is on another server or on none; MF401,
            MF402 or MF408, its server cannot be used; MF522, its deployment is for another environment, and the form's
            own check was switched off.
    """
    target = load_environment(root, environment)
    registered = registered_for(flow_run.tags)
    if registered not in (None, target.name):
        raise refuse("MF522", fixed=registered, environment=target.name)
    server = ensure_on_server_of(target.name, target.prefect_api_url)
    with connected_store() as store:
        engine.clear_stale_writer_tag(store, target.ownership, str(flow_run.id), list(flow_run.tags))
    get_run_logger().info("Environment %s on %s", target.name, server)
    return target


@step("discover flows")
def discover_flows(root: Path) -> tuple[FlowMetadata, ...]:
    """Read every flow of the repository from its source."""
    flows = discovery.discover(root)
    valid = sum(flow.is_valid for flow in flows)
    get_run_logger().info("Found %d valid flows, %d invalid", valid, len(flows) - valid)
    return flows


@step("resolve configuration for {environment.name}")
def resolve_configuration(
    root: Path,
    flows: tuple[FlowMetadata, ...],
    environment: Environment,
    selection: Selection,
    parameters: Mapping[str, Any],
    *,
    allow_none: bool = False,
) -> Configured:
    """Resolve the configuration of every selected flow; an error refuses only the flow that it is about."""
    configured = configure(root, flows, environment, selection, parameters=parameters, allow_none=allow_none)
    for error in configured.refused:
        get_run_logger().error("%s", error)
    return configured


@step("validate flows")
def validate_flows(
    root: Path, flows: tuple[FlowMetadata, ...], configured: Configured, environment: Environment, selection: Selection
) -> Configured:
    """Apply every rule that needs no server, and leave out what one refuses, with its code."""
    checked = validation.check_configured(root, flows, configured, environment, whole=not selection.partial)
    for error in checked.refused:
        if error not in configured.refused:
            get_run_logger().error("%s", error)
    for warning in checked.warnings:
        get_run_logger().warning("%s", warning)
    return checked


@step("report")
def report_validation(
    environment: Environment, configured: Configured, checked: Desired, *, import_flows: bool
) -> DeployResult:
    """Sum up what the rules found, as an artifact too; with `import_flows` a failed import is an error."""
    warnings = (*configured.warnings, *checked.warnings)
    if import_flows:
        warnings = tuple(map(as_error, warnings))
    found = validation.result((*configured.refused, *checked.refused, *warnings))
    counts = f"{len(found.errors)} errors, {len(found.warnings)} warnings"
    result = DeployResult(
        environment=environment.name,
        state="Valid" if found.is_valid else "Invalid",
        message=f"{counts}; {len(checked.deployments)} deployments can be deployed",
        refused=found.errors,
        warnings=found.warnings,
        notes=configured.notes,
    )
    return publish(result, "validation", environment.ownership)


@step("resolve meta-flows for {environment.name}")
def resolve_meta_flows(root: Path, environment: Environment) -> tuple[Resource, ...]:
    """Render the deployments of all meta-flows, whose forms offer the flows and kinds that the repository has now."""
    configured = configure(root, discovery.discover(root), environment, Selection(), parameters={}, allow_none=True)
    choices = {
        "flows": sorted(item.configuration.slug for item in configured.flows),
        "kinds": sorted(template_kinds(root)),
    }
    return tuple(render_meta_flow(name, environment, root, choices) for name in META_FLOWS)
