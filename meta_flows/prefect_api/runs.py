"""Trigger a deployment and follow its run to the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import FlowRunWaitTimeout
from prefect.flow_runs import wait_for_flow_run
from prefect.utilities.asyncutils import run_coro_as_sync

from meta_flows.errors import refuse
from meta_flows.models import LiveDeployment
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import has_live_worker


def start_run(api: Api, deployment: LiveDeployment, parameters: Mapping[str, Any]) -> FlowRun:
    """Trigger a deployment as a person would from the UI."""
    return api.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters))  # type: ignore[arg-type]


def follow_run(api: Api, run: FlowRun, work_pool: str, timeout: timedelta) -> FlowRun:
    """Wait until a run has ended.

    Raises:
        MetaFlowsError: MF507, it has not ended in time.
    """
    seconds = timeout.total_seconds()
    try:
        ended = run_coro_as_sync(wait_for_flow_run(run.id, timeout=int(seconds), poll_interval=1))
    except FlowRunWaitTimeout as error:
        state = api.read_flow_run(run.id).state
        reason = "" if has_live_worker(api, work_pool) else f": no worker polls work pool {work_pool}"
        name = state.name if state else "unknown"
        raise refuse("MF507", run=run.name, state=name, seconds=seconds, reason=reason) from error
    assert ended is not None  # noqa: S101  # the coroutine returns a run or raises
    return ended


def last_logs(api: Api, run: FlowRun, count: int) -> list[Log]:
    """The newest log lines of a run, oldest first."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    return list(reversed(api.read_logs(log_filter=of_run, limit=count, sort=LogSort.TIMESTAMP_DESC)))
