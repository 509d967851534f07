"""Steps before the plan: connect, discover, configure, validate; and render the meta-flows themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows import discovery, engine, validation
from meta_flows.configuration import Configured, Environment, Selection, configure, load_environment
from meta_flows.configuration.templates import template_kinds
from meta_flows.desired.deployments import Desired, as_error
from meta_flows.desired.registration import META_FLOWS, registered_for, render_meta_flow
from meta_flows.diagnostics import refuse
from meta_flows.discovery import discover
from meta_flows.engine import joined
from meta_flows.models import DeployResult, FlowMetadata, Resource
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import ensure_on_server_of
from meta_flows.prefect_api.store import connected_store
from meta_flows.reporting import markdown
from meta_flows.tasks import step


def run_name(verb: str) -> Callable[[], str]:
    """Names runs by what they do, where, and to what, e.g. `deploy staging: rpa1, rpa2 (dry run)`."""

    def name() -> str:
        given: Mapping[str, Any] = flow_run.parameters
        chosen = [*(given.get("flows") or ()), *(given.get("kinds") or ()), given.get("pattern"), given.get("to")]
        what = ", ".join(part for part in chosen if part)
        return f"{verb} {given['environment']}{what and f': {what}'}" + (" (dry run)" if given.get("dry_run") else "")

    return name


@step("enter {environment}")
def enter_environment(root: Path, environment: str) -> Environment:
    """Load the environment, and make sure that this run is on its server.

    Raises:
        MetaFlowsError: MF204, no such environment; MF403 or MF405, the run is on another server or on none; MF401,
            MF402 or MF408, its server cannot be used; MF522, its deployment is for another environment, and the form's
            own check was switched off.
    """
    target = load_environment(root, environment)
    fixed = registered_for(flow_run.tags)
    if fixed not in (None, target.name):
        raise refuse("MF522", fixed=fixed, environment=target.name)
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


@step("configure for {environment.name}")
def configure_flows(
    root: Path,
    flows: tuple[FlowMetadata, ...],
    environment: Environment,
    selection: Selection,
    parameters: Mapping[str, Any],
    allow_none: bool,
) -> Configured:
    """Resolve what the files say about every selected flow; whatever is wrong refuses that flow only."""
    configured = configure(root, flows, environment, selection, parameters=parameters, allow_none=allow_none)
    for error in configured.refused:
        get_run_logger().error("%s", error)
    return configured


@step("render meta-flows for {environment.name}")
def render_meta_flows(root: Path, environment: Environment) -> tuple[Resource, ...]:
    """The deployments of all meta-flows, with what the repository has now to choose from in their forms."""
    configured = configure(root, discover(root), environment, Selection(), parameters={}, allow_none=True)
    choices = {
        "flows": sorted(item.configuration.slug for item in configured.flows),
        "kinds": sorted(template_kinds(root)),
    }
    return tuple(render_meta_flow(name, environment, root, choices) for name in META_FLOWS)


@step("validate flows")
def validate_flows(
    root: Path,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    environment: Environment,
    selection: Selection,
) -> Configured:
    """Apply every rule that needs no server; what one refuses is left out, with its code."""
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
    """Sum up what the rules say, as an artifact too.

    Args:
        environment: What was checked.
        configured: Its flows.
        checked: Their deployments.
        import_flows: Whether a flow that cannot be imported here is an error.
    """
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
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = joined("validation", *environment.ownership)
    create_markdown_artifact(markdown(result), key=key, description=result.message)
    return result
