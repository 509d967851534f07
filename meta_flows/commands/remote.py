"""Meta-flows on the server: the run of a registered deployment, followed as if it ran here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.settings import get_current_settings
from rich.prompt import Confirm
from rich.text import Text

from meta_flows.commands.output import err, print_log
from meta_flows.commands.running import trigger
from meta_flows.configuration import Environment, Selection, configure
from meta_flows.discovery import discover
from meta_flows.errors import MetaFlowsError, refuse
from meta_flows.models import DeployResult, LiveResource
from meta_flows.prefect_api import runs
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api, client
from meta_flows.prefect_api.reads import read_deployment
from meta_flows.prefect_api.runs import FlowRun
from meta_flows.registration import deployment_name, owner
from meta_flows.reporting import RESULTS


def run_registered(
    meta_flow: Flow[..., Any], target: Environment, root: Path, asked: Mapping[str, Any]
) -> DeployResult:
    """Run the registered deployment of a meta-flow to its end; what it does besides is in its log.

    Args:
        meta_flow: Which one.
        target: The environment that it is registered for.
        root: The repository here, for what globs select.
        asked: Arguments; only those are passed that say something else than their defaults.

    Raises:
        MetaFlowsError: MF531, it is not registered; MF532, it was registered before a flow was there.
    """
    defaults = {name: parameter.default for name, parameter in signature(meta_flow.fn).parameters.items()}
    given = {name: value for name, value in asked.items() if value != defaults[name] and value not in ([], {})}
    with client() as api:
        deployment = _registered(api, meta_flow.name, target)
        if "flows" in given:
            given["flows"] = _slugs(root, target, given["flows"])
            _ensure_offered(deployment, given["flows"])
        ended = _followed(api, trigger(api, deployment, given))
    state = ended.state
    assert state is not None  # noqa: S101  # it has ended
    return DeployResult(
        environment=target.name,
        state=state.name if state.name in RESULTS else state.type.value.capitalize(),
        message=state.message or "",
        run_link=url_for("flow-run", obj_id=ended.id),
        ui_url=get_current_settings().ui_url,
    )


def _registered(api: Api, flow: str, target: Environment) -> LiveResource:
    """The deployment of a meta-flow for an environment, if it is this project's."""
    key = f"{flow}/{deployment_name(flow, target)}"
    found = read_deployment(api, *key.split("/"))
    if found is None or not {*owner(target).ownership.tags} <= {*found.spec["tags"]}:
        raise refuse("MF531", key=key, project=target.project, environment=target.name, url=api.api_url)
    return found


def _slugs(root: Path, target: Environment, globs: Sequence[str]) -> list[str]:
    """The slugs of the flows that globs select here, since a run form offers no globs."""
    configured = configure(root, discover(root), target, Selection(flows=tuple(globs)), parameters={})
    if configured.refused:
        raise MetaFlowsError(configured.refused)
    return sorted({item.configuration.slug for item in configured.flows})


def _ensure_offered(deployment: LiveResource, slugs: Sequence[str]) -> None:
    """Refuse flows that the registered form does not have."""
    schema = deployment.spec["parameter_openapi_schema"] or {}
    offered = schema.get("properties", {}).get("flows", {}).get("items", {}).get("enum", slugs)
    if unknown := [f"'{slug}'" for slug in slugs if slug not in offered]:
        raise refuse("MF532", key=deployment.key, flows=", ".join(unknown))


def _followed(api: Api, run: FlowRun) -> FlowRun:
    """The run when it has ended; Ctrl-C asks whether it is to be cancelled, and another one leaves it."""
    seen: dict[UUID, datetime] = {}
    try:
        try:
            return _told(api, run, seen)
        except KeyboardInterrupt:
            if not _is_to_be_cancelled():
                raise
            runs.cancel_run(api, run)
            return _told(api, run, seen)
    except KeyboardInterrupt:
        err.print(Text(f"\n{run.name} is left running:\n{url_for('flow-run', obj_id=run.id)}"))
        raise SystemExit(130) from None


def _is_to_be_cancelled() -> bool:
    """Return the answer given on the terminal."""
    if not (err.is_terminal and sys.stdin.isatty()):
        return False
    return Confirm.ask("\nCancel the run?", default=False, console=err)


def _told(api: Api, run: FlowRun, seen: dict[UUID, datetime]) -> FlowRun:
    """Print what becomes of a run until it has ended."""
    before = ""
    for now, lines in runs.follow(api, run, seen):
        for line in lines:
            print_log(err, line)
        state = now.state
        if state is not None and state.name != before:
            before = state.name or ""
            err.print(Text(f"{now.name}: {before}", style="dim"))
            if state.is_paused():
                link = url_for("flow-run", obj_id=now.id)
                err.print(Text(f"It waits for an answer: {link}, menu with three dots, Resume", style="yellow"))
        run = now
    return run
