"""Commands that run things: a flow, a worker, a local server, flows served without a worker."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import prefect
from cyclopts import Parameter
from prefect.deployments.runner import RunnerDeployment
from rich.text import Text

from meta_flows import local_server
from meta_flows.cli.options import Flows, OnServer, Parameters, parsed_parameters
from meta_flows.cli.output import note, out, print_json, print_log
from meta_flows.cli.runner import start_run
from meta_flows.configuration import Environment, Selection, configure, load_environment
from meta_flows.diagnostics import MetaFlowsError, diagnostic, did_you_mean, refuse
from meta_flows.discovery import discover
from meta_flows.local_server import connect
from meta_flows.models import LiveResource
from meta_flows.prefect_api import runs
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api, answers, choose_server, client
from meta_flows.prefect_api.reads import has_live_worker, read_owned_deployments
from meta_flows.prefect_api.runs import FlowRun


def run(
    flow: Annotated[str, Parameter(help="The flow's slug or name, or the deployment's name.")],
    *,
    kind: Annotated[str, Parameter(help="Which of the flow's deployments, by kind.")] = "python",
    parameter: Parameters = (),
    timeout: Annotated[float, Parameter(help="How long to wait for the run's end, in seconds.")] = 3600,
    on: OnServer = OnServer(),
) -> int:
    """Run a deployed flow and follow its log to its end; exits 0 if it completed."""
    parameters = parsed_parameters(parameter)
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target, client() as api:
        deployment = _deployment(api, target, flow, kind)
        _check_parameters(deployment, parameters)
        ended, lines = _follow(api, start_run(api, deployment, parameters), deployment, timeout, on)
    state, link = ended.state, url_for("flow-run", obj_id=ended.id)
    completed = state is not None and state.is_completed()
    if on.wants_json:
        outcome = {"run": ended.name, "id": ended.id, "state": state.name if state else None, "link": link}
        print_json({**outcome, "logs": lines})
    else:
        out.print(Text(f"{ended.name}: {state.name if state else 'no state'}", style="green" if completed else "red"))
        out.print(link or "")
    return 0 if completed else 1


def _deployment(api: Api, target: Environment, flow: str, kind: str) -> LiveResource:
    """Return the deployment of this project that a name means.

    Raises:
        MetaFlowsError: MF506, there is none.
    """
    owned = read_owned_deployments(api, target.ownership).values()
    suffix = f"-{kind}-{target.short_name}"
    for item in owned:
        if item.name in (flow, f"{flow}{suffix}") or (item.flow_name == flow and item.name.endswith(suffix)):
            return item
    known = {name for item in owned for name in (item.name, item.name.removesuffix(suffix), item.flow_name)}
    suggestion = did_you_mean(flow, known)
    raise refuse("MF506", name=f"{flow}{suffix}", url=target.prefect_api_url, suggestion=suggestion)


def _follow(
    api: Api, run: FlowRun, deployment: LiveResource, timeout: float, on: OnServer
) -> tuple[FlowRun, list[str]]:
    """Return a run when it has ended, and its log, which is printed as it comes.

    Raises:
        MetaFlowsError: MF507, it has not ended in time.
    """
    deadline, seen, messages = time.monotonic() + timeout, dict[UUID, datetime](), list[str]()
    for now, lines in runs.follow(api, run, seen):
        for line in lines:
            messages.append(line.message)
            if not on.wants_json:
                print_log(out, line)
        run = now
        if time.monotonic() > deadline and not (now.state and now.state.is_final()):
            pool = deployment.spec["work_pool_name"]
            reason = "" if not pool or has_live_worker(api, pool) else f": no worker polls work pool {pool}"
            state = now.state.name if now.state else "unknown"
            raise refuse("MF507", run=run.name, state=state, seconds=timeout, reason=reason)
    return run, messages


def _check_parameters(deployment: LiveResource, parameters: Mapping[str, Any]) -> None:
    """Refuse unknown parameters, with which the run would fail, and missing ones, which the server refuses."""
    schema = deployment.spec["parameter_openapi_schema"] or {}
    known = sorted(schema.get("properties", {}))
    name, listed = deployment.name, ", ".join(known) or "none"
    wrong = [
        diagnostic("MF509", deployment=name, parameter=given, suggestion=did_you_mean(given, known), known=listed)
        for given in parameters
        if given not in known
    ]
    missing = [key for key in schema.get("required", ()) if key not in {*parameters, *deployment.spec["parameters"]}]
    if missing and not wrong:
        needed = " ".join(f"--parameter {key}=..." for key in missing)
        wrong = [diagnostic("MF901", detail=f"{name} has required parameters without a value: add {needed}")]
    if wrong:
        raise MetaFlowsError(wrong)


def worker_start(
    *,
    kind: Annotated[tuple[str, ...], Parameter(help="Only for the pools of these kinds.")] = (),
    on: OnServer = OnServer(),
) -> int:
    """Run a worker for each of the environment's work pools, until stopped."""
    with connect(on.environment, root=on.repository, api_url=on.api_url) as target:
        server = choose_server(target.name, target.prefect_api_url, on.api_url)
        chosen = [target.work_pools[name] for name in kind if name in target.work_pools] if kind else target.pools
        pools = {pool.name: pool.type for pool in chosen}
        if not pools:
            raise refuse("MF210", kind=", ".join(kind), missing=f"a work pool in environment {target.name}")
        for name in pools:
            note(f"Starting a worker for work pool '{name}' on {server.api_url}; Ctrl-C stops it.")
        return local_server.run_workers(pools.items(), server.api_url)


def server_start(*, on: OnServer = OnServer()) -> int:
    """Start a Prefect server on this machine in the background, if none answers."""
    url = _server_url(on)
    started = local_server.start_server(url, note)
    return _print_server(on, url, "started" if started else "was up already", started=started)


def server_stop(*, on: OnServer = OnServer()) -> int:
    """Stop the Prefect server that `server start` or `deploy` started."""
    url = _server_url(on)
    stopped = local_server.stop_server(url)
    return _print_server(on, url, "stopped" if stopped else "was not started by us", stopped=stopped)


def server_status(*, on: OnServer = OnServer()) -> int:
    """Show whether the environment's server answers; exits 1 if it does not."""
    url = _server_url(on)
    up = answers(url)
    _print_server(on, url, "answers" if up else "does not answer", answers=up)
    return 0 if up else 1


def _print_server(on: OnServer, url: str, words: str, **facts: bool) -> int:
    if on.wants_json:
        print_json({"url": url, **facts})
    else:
        out.print(f"{url} {words}")
    return 0


def _server_url(on: OnServer) -> str:
    target = load_environment(on.repository, on.environment)
    return choose_server(target.name, target.prefect_api_url, on.api_url).api_url


def serve(flow: Flows = (), *, on: OnServer = OnServer()) -> int:
    """Serve flows from this process, without work pool or worker, until stopped.

    They appear as `{slug}-served-{environment}`, without schedules, so nothing runs twice beside the deployed ones.
    """
    with connect(
        on.environment, root=on.repository, api_url=on.api_url, start_local=True, on_start=note
    ) as environment:
        _serve(on.repository, environment, flow)
    return 0


def _serve(root: Path, environment: Environment, flows: tuple[str, ...]) -> None:
    """Serve the selected flows; without ownership tags, since they are no part of the desired state.

    Raises:
        MetaFlowsError: A selected flow is invalid, or none is selected.
    """
    configured = configure(root, discover(root), environment, Selection(flows=flows), parameters={})
    if configured.refused:
        raise MetaFlowsError(configured.refused)
    os.chdir(root)
    prefect.serve(
        *(
            RunnerDeployment.from_entrypoint(
                item.flow.entrypoint,
                name=f"{item.configuration.slug}-served-{environment.short_name}",
                parameters=dict(item.configuration.parameters),
                description=item.configuration.description,
                tags=[*item.configuration.tags, "served"],
            )
            for item in configured.flows
        )
    )
