"""Steps that apply the rules of validation, and the report of what they say."""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows import validation
from meta_flows.configuration import Configured, Environment, Selection
from meta_flows.desired import Desired, as_error
from meta_flows.engine import joined
from meta_flows.models import DeployResult, FlowMetadata
from meta_flows.prefect_api.compat import url_for
from meta_flows.reporting import markdown
from meta_flows.tasks import step


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
