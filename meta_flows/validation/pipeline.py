"""Validation without a server or a Docker engine."""

from __future__ import annotations

from pathlib import Path

from meta_flows import validation
from meta_flows.configuration import ConfiguredFlow, Environment, Selection, configure, load_environment
from meta_flows.desired.deployments import Images, as_error, describe_images, not_loaded, render_all
from meta_flows.desired.parameter_schemas import Loaded, parameter_schemas
from meta_flows.diagnostics import MetaFlowsError, outcome, refuse
from meta_flows.discovery import discover, find_undeployable, select
from meta_flows.models import FlowMetadata, ValidationResult


def validate_flows(root: Path, selection: Selection, *, import_flows: bool) -> tuple[ValidationResult, str]:
    """Apply the rules on flows and what they import; what is configured counts for what it says to ignore only.

    Args:
        root: The repository.
        selection: Which flows.
        import_flows: Whether to import each of them, too, with the environment variables of the usual environment.

    Returns:
        What was found, and what was looked at, in words.

    Raises:
        MetaFlowsError: MF109 or MF110, there is nothing to look at.
    """
    everything = discover(root)
    flows = select(everything, selection.flows)
    if selection.flows and not flows:
        raise refuse("MF109", selection=selection)
    environment, configured = _usual_environment(root, everything)
    everywhere = environment.ignore if environment else []
    known = {entrypoint: item.configuration for entrypoint, item in configured.items()}
    errors = [*validation.check_sources(root, flows, known, everywhere)]
    if import_flows:
        variables = {
            flow.entrypoint: item.variables if (item := configured.get(flow.entrypoint)) else {}
            for flow in flows
            if flow.is_valid
        }
        loaded = parameter_schemas(root, variables)
        found_out = (not_loaded(flow, loaded[flow.entrypoint]) for flow in flows if flow.entrypoint in loaded)
        errors += [as_error(error) for error in found_out if error]
    if not selection.flows:
        errors += [error for error in find_undeployable(root, everything) if error.code not in everywhere]
    return validation.result(errors), f"{len(flows)} flows checked"


def _usual_environment(
    root: Path, flows: tuple[FlowMetadata, ...]
) -> tuple[Environment | None, dict[str, ConfiguredFlow]]:
    """The environment that is meant where none is named, and what its flows are configured to, as far as they are."""
    environment = outcome(load_environment, root)
    if isinstance(environment, MetaFlowsError):
        return None, {}
    found = outcome(configure, root, flows, environment, Selection(), parameters={}, allow_none=True)
    return environment, {} if isinstance(found, MetaFlowsError) else {
        item.flow.entrypoint: item for item in found.flows
    }


def validate_deployments(
    root: Path, environment: str | None, selection: Selection, *, import_flows: bool
) -> tuple[ValidationResult, str]:
    """Apply all rules that need no server.

    Args:
        root: The repository.
        environment: The environment's long or short name.
        selection: Which deployments.
        import_flows: Whether to import each flow: only then its parameters are known exactly.

    Returns:
        What was found, and what was looked at, in words.

    Raises:
        MetaFlowsError: The environment is unknown, or its files are wrong; or the selection matches nothing.
    """
    target, flows = load_environment(root, environment), discover(root)
    configured = configure(root, flows, target, selection, parameters={})
    configured = validation.check_configured(root, flows, configured, target, whole=not selection.partial)
    variables = {item.flow.entrypoint: item.variables for item in configured.flows}
    unknown = {entrypoint: Loaded({}) for entrypoint in variables}
    schemas = parameter_schemas(root, variables) if import_flows else unknown
    images = Images(describe_images(root, configured, target))
    rendered = render_all(root, configured, target, images, released={}, schemas=schemas)
    _, found = validation.check_deployments(configured, rendered.deployments, target)
    imported = map(as_error, rendered.warnings)
    said = (*configured.refused, *configured.warnings, *rendered.refused, *imported, *found.errors, *found.warnings)
    left_out = "the server and images" if import_flows else "the server, images, and types of parameters (--import)"
    return (
        validation.result(said),
        f"{len(rendered.deployments)} deployments of {target.name} checked, but for {left_out}",
    )
