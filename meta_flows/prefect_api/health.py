"""Read the facts by which the health of deployments is judged: their runs, schedules, pools and queues."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pydantic
from prefect.exceptions import PrefectHTTPStatusError

from meta_flows.configuration.schedules import follow
from meta_flows.health import RUNS, Facts, ScheduleFacts
from meta_flows.models import FinishedRun, LiveResource, Resource
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.reads import read_paused_queues, read_work_pools
from meta_flows.resources.resource_type import PAGE

HORIZON = timedelta(days=100)
"""How far ahead Prefect schedules runs, unless the server's settings say otherwise."""

AT_A_TIME = PAGE
"""Largest number of deployments that one request names."""

Run = Mapping[str, Any]


def read_facts(api: Api, live: Mapping[str, LiveResource], released: Mapping[str, Resource]) -> dict[str, Facts]:
    """Return the facts of live deployments, by address.

    What is released shows whether a deployment or a schedule is paused by the repository or by an operator.
    """
    if not live:
        return {}
    now = datetime.now(timezone.utc)
    names = {item.spec["work_pool_name"] for item in live.values() if item.spec["work_pool_name"]}
    pools = read_work_pools(api, names)
    paused_queues = read_paused_queues(api, pools)
    late, finished = read_late_runs(api, live.values()), read_finished_runs(api, live.values())
    next_runs = read_next_runs(api, live.values(), now)
    complete = all(ids <= next_runs.keys() for ids in _active_schedules(live.values()).values())
    horizon = now + (HORIZON if complete else read_horizon(api))
    return {
        address: Facts(
            changed=item.updated or now,
            version=item.spec["version"],
            ready=item.ready,
            paused=item.spec["paused"],
            declared_paused=address in released and released[address].spec.get("paused") is True,
            pool=item.spec["work_pool_name"],
            pool_status=pools.get(item.spec["work_pool_name"], {}).get("status"),
            queue=item.spec["work_queue_name"] or "default",
            queue_paused=(item.spec["work_pool_name"], item.spec["work_queue_name"]) in paused_queues,
            schedules=tuple(_schedules(item, released.get(address), next_runs, horizon)),
            late_since=late.get(item.id),
            finished=finished.get(item.id, ()),
        )
        for address, item in live.items()
    }


def _active_schedules(deployments: Iterable[LiveResource]) -> dict[str, set[str]]:
    """Return the ids of the active schedules of each deployment that is not paused, by the deployment's id."""
    return {
        item.id: {item.part_ids[slug] for slug, schedule in item.spec["schedules"].items() if schedule["active"]}
        for item in deployments
        if not item.spec["paused"]
    }


def _schedules(
    live: LiveResource, released: Resource | None, next_runs: Mapping[str, datetime], horizon: datetime
) -> Iterator[ScheduleFacts]:
    declared = released.spec["schedules"] if released else {}
    for slug, schedule in live.spec["schedules"].items():
        next_run = next_runs.get(live.part_ids[slug])
        yield ScheduleFacts(
            slug=slug,
            active=schedule["active"],
            declared_active=slug in declared and declared[slug].get("active") is not False,
            due=_due(schedule["schedule"], horizon) if next_run is None else None,
            next_run=next_run,
        )


def _due(timing: Mapping[str, Any], horizon: datetime) -> datetime | None:
    """Return when a schedule starts its next run; None if that is beyond the horizon, or unknown."""
    times = follow(timing)
    return None if isinstance(times, str) else next((time for time in times.next if time < horizon), None)


def read_horizon(api: Api) -> timedelta:
    """Return how far ahead the server schedules runs; Prefect's default where the server does not show its settings."""
    try:
        settings = api.request("GET", "/admin/settings").json()
        seconds = settings["server"]["services"]["scheduler"]["max_scheduled_time"]
        return pydantic.TypeAdapter(timedelta).validate_python(seconds)
    except (PrefectHTTPStatusError, KeyError, TypeError, ValueError):
        return HORIZON


def read_next_runs(api: Api, deployments: Collection[LiveResource], now: datetime) -> dict[str, datetime]:
    """Return when the next run of each active schedule starts, by the schedule's id, where one is scheduled."""
    schedules = _active_schedules(deployments)
    runs = _first_runs(
        api,
        {key for key, ids in schedules.items() if ids},
        enough=lambda key, runs: schedules[key] <= {_schedule_of(run) for run in runs},
        sort="NEXT_SCHEDULED_START_TIME_ASC",
        state={"type": {"any_": ["SCHEDULED"]}},
        next_scheduled_start_time={"after_": now.isoformat()},
    )
    latest_first = [run for found in runs.values() for run in reversed(found)]
    return {_schedule_of(run): _time(run["next_scheduled_start_time"]) for run in latest_first}


def _schedule_of(run: Run) -> str:
    """Return the id of the schedule that made a run; `None` for a run that was scheduled by hand."""
    return str((run["created_by"] or {}).get("id"))


def read_late_runs(api: Api, deployments: Iterable[LiveResource]) -> dict[str, datetime]:
    """Return since when the oldest late run of each deployment waits, by the deployment's id."""
    runs = _first_runs(
        api,
        {item.id for item in deployments},
        enough=lambda _, runs: bool(runs),
        sort="NEXT_SCHEDULED_START_TIME_ASC",
        state={"name": {"any_": ["Late"]}},
    )
    return {key: _time(found[0]["next_scheduled_start_time"]) for key, found in runs.items()}


def read_finished_runs(api: Api, deployments: Iterable[LiveResource]) -> dict[str, tuple[FinishedRun, ...]]:
    """Return the newest runs of each deployment that completed, failed or crashed, by the deployment's id."""
    runs = _first_runs(
        api,
        {item.id for item in deployments},
        enough=lambda _, runs: len(runs) >= RUNS,
        sort="END_TIME_DESC",
        state={"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}},
        end_time={"is_null_": False},
    )
    return {
        key: tuple(
            FinishedRun(
                state=run["state_name"],
                succeeded=run["state_type"] == "COMPLETED",
                ended=run["end_time"],
                version=run["deployment_version"],
            )
            for run in found[:RUNS]
        )
        for key, found in runs.items()
    }


def _first_runs(
    api: Api, deployments: Collection[str], enough: Callable[[str, list[Run]], bool], sort: str, **found: Any
) -> dict[str, list[Run]]:
    """Return the first runs of each deployment by its id, in a request or two for every 200 deployments.

    A deployment that has enough runs is left out of the next request: one that runs every minute would fill page after
    page otherwise. No request names more than 200 deployments, so that the cost of all requests grows with their number
    and not with its square.
    """
    runs: dict[str, list[Run]] = {}
    ids = sorted(deployments)
    for start in range(0, len(ids), AT_A_TIME):
        pending, offset = set(ids[start : start + AT_A_TIME]), 0
        while pending:
            flow_runs = {**found, "deployment_id": {"any_": sorted(pending)}}
            body = {"sort": sort, "limit": PAGE, "offset": offset, "flow_runs": flow_runs}
            page = api.request("POST", "/flow_runs/filter", json=body).json()
            for run in page:
                runs.setdefault(run["deployment_id"], []).append(run)
            if len(page) < PAGE:
                break
            done = {key for key in pending & runs.keys() if enough(key, runs[key])}
            pending -= done
            offset = 0 if done else offset + PAGE
            for key in pending if done else ():
                runs.pop(key, None)
    return runs


def _time(text: str) -> datetime:
    return pydantic.TypeAdapter(datetime).validate_python(text)
