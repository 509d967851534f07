"""Validation without a server or a Docker engine."""

from __future__ import annotations

from pathlib import Path

from meta_flows import validation
from meta_flows.configuration import ConfiguredFlow, Environment, Selection, configure, load_environment
from meta_flows.desired.deployments import as_error, not_loaded, render_offline
from meta_flows.desired.parameter_schemas import parameter_schemas
from meta_flows.diagnostics import MetaFlowsError, refuse, result_or_error
from meta_flows.discovery import discover, find_undeployable, select
from meta_flows.models import Diagnostic, FlowMetadata, ValidationResult
from meta_flows.validation.requirements import Declarations


def validate_repository(root: Path, selection: Selection, *, import_flows: bool) -> tuple[ValidationResult, str]:
    """Check flows and what they import, for no environment; return the findings, and what was checked in words.

    Of the default environment's configuration, only ignored codes, parameters and environment variables are used.

    Raises:
        MetaFlowsError: MF109 or MF110, there is nothing to check.
    """
    discovered = discover(root)
    flows = select(discovered, selection.flows)
    if selection.flows and not flows:
        raise refuse("MF109", selection=selection)
    environment, configured = _default_environment(root, discovered)
    ignored = environment.ignore if environment else []
    declarations, errors = Declarations(root), list[Diagnostic]()
    for flow in flows:
        configuration = configured[flow.entrypoint].configuration if flow.entrypoint in configured else None
        errors += flow.validation_errors
        if flow.is_valid:
            found = validation.check_source(flow, declarations, configuration.parameters if configuration else ())
            own = configuration.ignore if configuration else ()
            errors += [error for error in found if error.code not in {*ignored, *own}]
    if import_flows:
        errors += _import_errors(root, [flow for flow in flows if flow.is_valid], configured)
    if not selection.flows:
        errors += [error for error in find_undeployable(root, discovered) if error.code not in ignored]
    return validation.result(errors), f"{len(flows)} flows checked"


def _default_environment(
    root: Path, flows: tuple[FlowMetadata, ...]
) -> tuple[Environment | None, dict[str, ConfiguredFlow]]:
    """Return the environment used where none is named, and its configured flows by entrypoint, as far as valid."""
    environment = result_or_error(load_environment, root)
    if isinstance(environment, MetaFlowsError):
        return None, {}
    configured = result_or_error(configure, root, flows, environment, Selection(), parameters={}, allow_none=True)
    found = () if isinstance(configured, MetaFlowsError) else configured.flows
    return environment, {item.flow.entrypoint: item for item in found}


def _import_errors(root: Path, flows: list[FlowMetadata], configured: dict[str, ConfiguredFlow]) -> list[Diagnostic]:
    """Import each flow; return why some cannot be imported."""
    names = [flow.entrypoint for flow in flows]
    loaded = parameter_schemas(root, {name: configured[name].variables if name in configured else {} for name in names})
    errors = (not_loaded(flow, loaded[flow.entrypoint]) for flow in flows)
    return [as_error(error) for error in errors if error]


def validate_offline(
    root: Path, environment: str | None, selection: Selection, *, import_flows: bool
) -> tuple[ValidationResult, str]:
    """Apply every rule that needs no server; return the findings, and what was checked in words.

    Without `import_flows`, types of parameters are not checked.

    Raises:
        MetaFlowsError: The environment is unknown or its files are invalid, or the selection matches nothing.
    """
    target, flows = load_environment(root, environment), discover(root)
    configured = configure(root, flows, target, selection, parameters={})
    configured = validation.check_configured(root, flows, configured, target, whole=not selection.partial)
    rendered = render_offline(root, configured, target, import_flows=import_flows)
    _, checked = validation.check_deployments(configured, rendered.deployments, target)
    before = (*configured.refused, *configured.warnings, *rendered.refused, *map(as_error, rendered.warnings))
    left_out = "the server and images" if import_flows else "the server, images, and types of parameters (--import)"
    return (
        validation.result((*before, *checked.errors, *checked.warnings)),
        f"{len(rendered.deployments)} deployments of {target.name} checked, but for {left_out}",
    )
