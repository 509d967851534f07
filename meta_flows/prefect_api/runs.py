"""Trigger a deployment and follow its run to the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort
from prefect.states import Cancelling

from meta_flows.diagnostics import refuse
from meta_flows.models import LiveResource
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.reads import has_live_worker
from meta_flows.resources.resource_type import PAGE

__all__ = ["FlowRun", "Log", "cancel_run", "follow", "follow_run", "last_logs", "start_run"]

POLL_SECONDS = 0.5
LAST_LOGS_SECONDS = 10
LATE_LINES = 50
"""How many lines are read again: those of several processes arrive in another order than they were written in."""


def start_run(api: Api, deployment: LiveResource, parameters: Mapping[str, Any]) -> FlowRun:
    """Trigger a deployment, as a person does from the UI."""
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


def follow(api: Api, run: FlowRun, seen: dict[UUID, datetime]) -> Iterator[tuple[FlowRun, list[Log]]]:
    """Yield a run as it is now and its new log lines, every 0.5 s, until it has ended and its last lines have arrived.

    It adds each line to `seen`, by its id and with its time: with the same mapping a caller can follow the run again.
    """
    deadline = None
    while True:
        now = api.read_flow_run(run.id)
        offset = max(0, len(seen) - LATE_LINES)
        found = api.read_logs(_of_run(run), limit=PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC)
        lines = [line for line in found if line.id not in seen]
        seen |= {line.id: line.timestamp for line in lines}
        yield now, lines
        if now.state is not None and now.state.is_final():
            deadline = deadline or time.monotonic() + LAST_LOGS_SECONDS
            started, ended = now.start_time is not None, now.end_time
            complete = not started or (ended is not None and any(at >= ended for at in seen.values()))
            if complete or time.monotonic() > deadline:
                return
        time.sleep(POLL_SECONDS)


def cancel_run(api: Api, run: FlowRun) -> None:
    """Request the cancellation of a run; its worker cancels it, or the server where no worker has it."""
    api.set_flow_run_state(run.id, Cancelling())


def last_logs(api: Api, run: FlowRun, count: int) -> list[Log]:
    """Return the newest log lines of an ended run, oldest first; wait up to 10 s for those sent after its end."""
    deadline = time.monotonic() + LAST_LOGS_SECONDS
    while True:
        newest = api.read_logs(_of_run(run), limit=count, sort=LogSort.TIMESTAMP_DESC)
        complete = newest and run.end_time is not None and newest[0].timestamp >= run.end_time
        if complete or time.monotonic() > deadline:
            return list(reversed(newest))
        time.sleep(POLL_SECONDS)


def _of_run(run: FlowRun) -> LogFilter:
    return LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
