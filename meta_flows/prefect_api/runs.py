"""Trigger a deployment and follow its run to the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort

from meta_flows.errors import refuse
from meta_flows.models import LiveDeployment
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import has_live_worker

POLL_SECONDS = 0.5
LAST_LOGS_SECONDS = 10


def start_run(api: Api, deployment: LiveDeployment, parameters: Mapping[str, Any]) -> FlowRun:
    """Trigger a deployment as a person would from the UI."""
    return api.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters))  # type: ignore[arg-type]


def follow_run(api: Api, run: FlowRun, work_pool: str, timeout: timedelta) -> FlowRun:
    """Wait until a run has ended.

    Raises:
        MetaFlowsError: MF507, it has not ended in time.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        now = api.read_flow_run(run.id)
        if now.state is not None and now.state.is_final():
            return now
        if time.monotonic() > deadline:
            reason = "" if has_live_worker(api, work_pool) else f": no worker polls work pool {work_pool}"
            name = now.state.name if now.state else "unknown"
            raise refuse("MF507", run=run.name, state=name, seconds=timeout.total_seconds(), reason=reason)
        time.sleep(POLL_SECONDS)


def last_logs(api: Api, run: FlowRun, count: int) -> list[Log]:
    """The newest log lines of an ended run, oldest first; a run sends its last ones after it has ended."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    deadline = time.monotonic() + LAST_LOGS_SECONDS
    while True:
        newest = api.read_logs(log_filter=of_run, limit=count, sort=LogSort.TIMESTAMP_DESC)
        complete = newest and run.end_time is not None and newest[0].timestamp >= run.end_time
        if complete or time.monotonic() > deadline:
            return list(reversed(newest))
        time.sleep(POLL_SECONDS)
