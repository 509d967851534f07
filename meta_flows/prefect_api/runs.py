"""Trigger a deployment and follow its run to the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort
from prefect.states import Cancelling

from meta_flows.models import LiveResource
from meta_flows.prefect_api.connection import Api
from meta_flows.resources.resource_type import PAGE

__all__ = ["FlowRun", "Log", "cancel_run", "follow", "start_run"]

POLL_SECONDS = 0.5
LAST_LOGS_SECONDS = 10
LATE_LINES = 50
"""How many lines are read again: those of several processes arrive in another order than they were written in."""


def start_run(api: Api, deployment: LiveResource, parameters: Mapping[str, Any]) -> FlowRun:
    """Trigger a deployment, as a person does from the UI."""
    return api.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters))  # type: ignore[arg-type]


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


def _of_run(run: FlowRun) -> LogFilter:
    return LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
