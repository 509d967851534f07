"""Steps that need no server: discover, configure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from meta_flows import discovery
from meta_flows.configuration import Configured, Environment, Selection, configure, load_environment
from meta_flows.errors import refuse
from meta_flows.models import FlowMetadata
from meta_flows.prefect_api.connection import ensure_on_server_of
from meta_flows.tasks import step


@step("enter {environment}")
def enter_environment(root: Path, environment: str) -> Environment:
    """Load the environment, and make sure that this run is on its server.

    Raises:
        MetaFlowsError: MF204, no such environment; MF403 or MF405, the run is on another server or on none.
    """
    target = load_environment(root, environment)
    server = ensure_on_server_of(target.name, target.prefect_api_url)
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


def refuse_unapproved(environment: Environment) -> None:
    """Write nothing to an environment that wants every plan approved.

    Raises:
        MetaFlowsError: MF508, it does.
    """
    if environment.require_approval:
        raise refuse("MF508", environment=environment.name)
