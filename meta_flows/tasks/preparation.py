"""Steps that need no server: discover, configure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from meta_flows import discovery, engine
from meta_flows.configuration import Configured, Environment, Selection, configure, load_environment
from meta_flows.errors import refuse
from meta_flows.models import FlowMetadata
from meta_flows.prefect_api.connection import ensure_on_server_of
from meta_flows.prefect_api.store import connected_store
from meta_flows.registration import registered_for
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
