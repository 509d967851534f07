"""Commands that run things: a flow, a worker, a local server, flows served without a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import prefect
from cyclopts import Parameter
from prefect.deployments.runner import RunnerDeployment
from rich.text import Text

from meta_flows import local_server
from meta_flows.cli.options import ApiUrl, Common, EnvironmentName, Flows, Parameters, parsed_parameters
from meta_flows.cli.output import err, note, out, print_json, print_log
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
    environment: EnvironmentName = None,
    kind: Annotated[str, Parameter(help="Which of the flow's deployments, by kind.")] = "python",
    parameter: Parameters = (),
    timeout: Annotated[float, Parameter(help="How long to wait for the run's end, in seconds.")] = 3600,
    logs: Annotated[int, Parameter(help="How many log lines to print at the end.")] = 20,
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Trigger a deployment of this project, follow its run to the end, and print the end of its log."""
    parameters = parsed_parameters(parameter)
    with connect(environment, root=common.root, api_url=api_url) as target, client() as api:
        owned = read_owned_deployments(api, target.ownership)
        wanted = (flow, f"{flow}-{kind}-{target.short_name}")
        found = [
            item
            for item in owned.values()
            if item.name in wanted or (item.flow_name == flow and item.name.endswith(f"-{kind}-{target.short_name}"))
        ]
        if not found:
            raise refuse("MF506", name=wanted[1], url=target.prefect_api_url)
        deployment, pool = found[0], found[0].spec["work_pool_name"]
        _check_parameters(deployment, parameters)
        started = trigger(api, deployment, parameters)
        ended = runs.follow_run(api, started, pool, timedelta(seconds=timeout))
        lines = runs.last_logs(api, ended, logs)
    state, link = ended.state, url_for("flow-run", obj_id=ended.id)
    completed = state is not None and state.is_completed()
    if common.json:
        outcome = {"run": ended.name, "id": ended.id, "state": state.name if state else None, "link": link}
        print_json({**outcome, "logs": [line.message for line in lines]})
    else:
        for line in lines:
            print_log(out, line)
        out.print(Text(f"{ended.name}: {state.name if state else 'no state'}", style="green" if completed else "red"))
        out.print(link or "")
    return 0 if completed else 1


def trigger(api: Api, deployment: LiveResource, parameters: Mapping[str, Any]) -> FlowRun:
    """Start a run, and say where it is and whether anybody is there to take it."""
    started, pool = runs.start_run(api, deployment, parameters), deployment.spec["work_pool_name"]
    err.print(f"{deployment.name}: run {started.name}\n{url_for('flow-run', obj_id=started.id)}")
    if pool and not has_live_worker(api, pool):
        err.print(Text(f"waiting: no worker polls work pool {pool} yet; `make worker` starts one", style="yellow"))
    return started


def _check_parameters(deployment: LiveResource, parameters: Mapping[str, Any]) -> None:
    """Refuse what the server would accept and the run would fail on."""
    known = sorted((deployment.spec["parameter_openapi_schema"] or {}).get("properties", {}))
    name, listed = deployment.name, ", ".join(known) or "none"
    wrong = [
        diagnostic("MF509", deployment=name, parameter=given, suggestion=did_you_mean(given, known), known=listed)
        for given in parameters
        if given not in known
    ]
    if wrong:
        raise MetaFlowsError(wrong)


def worker_start(
    *,
    environment: EnvironmentName = None,
    kind: Annotated[tuple[str, ...], Parameter(help="Only for the pools of these kinds.")] = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Run a worker for each of the environment's work pools, until stopped."""
    with connect(environment, root=common.root, api_url=api_url) as target:
        server = choose_server(target.name, target.prefect_api_url, api_url)
        chosen = [target.work_pools[name] for name in kind if name in target.work_pools] if kind else target.pools
        pools = {pool.name: pool.type for pool in chosen}
        if not pools:
            raise refuse("MF210", kind=", ".join(kind), missing=f"a work pool in environment {target.name}")
        return local_server.run_workers(pools.items(), server.api_url)


def server_start(*, environment: EnvironmentName = None, api_url: ApiUrl = None, common: Common = Common()) -> int:
    """Start a local Prefect server in the background, if none answers."""
    url = _server_url(environment, api_url, common)
    out.print(f"{url} {'started' if local_server.start_server(url, note) else 'was up already'}")
    return 0


def server_stop(*, environment: EnvironmentName = None, api_url: ApiUrl = None, common: Common = Common()) -> int:
    """Stop the local Prefect server that `server start` or `deploy` started."""
    url = _server_url(environment, api_url, common)
    out.print(f"{url} {'stopped' if local_server.stop_server(url) else 'was not started by us'}")
    return 0


def server_status(*, environment: EnvironmentName = None, api_url: ApiUrl = None, common: Common = Common()) -> int:
    """Say whether the environment's server answers."""
    url = _server_url(environment, api_url, common)
    up = answers(url)
    out.print(f"{url} {'answers' if up else 'does not answer'}")
    return 0 if up else 1


def _server_url(environment: str | None, api_url: str | None, common: Common) -> str:
    target = load_environment(common.root.resolve(), environment)
    return choose_server(target.name, target.prefect_api_url, api_url).api_url


def serve(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Serve flows from this process, without work pool or worker, until stopped.

    They appear as `{slug}-served-{environment}`, without schedules: nothing runs twice beside the deployed ones.
    """
    with connect(environment, root=common.root, api_url=api_url, start_local=True, on_start=note) as target:
        serve_flows(common.root.resolve(), target, flow)
    return 0


def serve_flows(root: Path, environment: Environment, flows: tuple[str, ...]) -> None:
    """Serve the selected flows until stopped.

    They carry no ownership tags: they live as long as this process, and are no part of the desired state.

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
