"""Read what the health of deployments and of a server is judged by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pydantic
from prefect.exceptions import PrefectHTTPStatusError

from meta_flows.health import RUNS, Facts, ScheduleFacts
from meta_flows.models import FinishedRun, LiveResource, Resource
from meta_flows.prefect_api.connection import Api, certificates
from meta_flows.prefect_api.reads import read_paused_queues, read_work_pools
from meta_flows.resources.resource_type import PAGE
from meta_flows.validation.schedules import follow

HORIZON = timedelta(days=100)
"""How far ahead Prefect schedules runs, unless the server's settings say otherwise."""

AT_A_TIME = PAGE
"""How many deployments one request names at most."""

Run = Mapping[str, Any]


def read_facts(api: Api, live: Mapping[str, LiveResource], released: Mapping[str, Resource]) -> dict[str, Facts]:
    """What is to be known of some deployments, by key.

    Args:
        api: Client of the server.
        live: The deployments.
        released: What is released; by it the will of an operator is told from that of the repository.
    """
    if not live:
        return {}
    now = datetime.now(timezone.utc)
    names = {item.spec["work_pool_name"] for item in live.values() if item.spec["work_pool_name"]}
    pools = read_work_pools(api, names)
    paused_queues = read_paused_queues(api, pools)
    late, finished = read_late_runs(api, live.values()), read_finished_runs(api, live.values())
    next_runs = read_next_runs(api, live.values(), now)
    complete = all(
        item.part_ids[slug] in next_runs
        for item in live.values()
        for slug, schedule in item.spec["schedules"].items()
        if schedule["active"] and not item.spec["paused"]
    )
    end = now + (HORIZON if complete else read_horizon(api))
    return {
        key: Facts(
            changed=item.updated or now,
            version=item.spec["version"],
            ready=item.ready,
            paused=item.spec["paused"],
            declared_paused=key in released and released[key].spec.get("paused") is True,
            pool=item.spec["work_pool_name"],
            pool_status=pools.get(item.spec["work_pool_name"], {}).get("status"),
            queue=item.spec["work_queue_name"] or "default",
            queue_paused=(item.spec["work_pool_name"], item.spec["work_queue_name"]) in paused_queues,
            schedules=tuple(_schedules(item, released.get(key), next_runs, end)),
            late_since=late.get(item.id),
            finished=finished.get(item.id, ()),
        )
        for key, item in live.items()
    }


def _schedules(
    live: LiveResource, released: Resource | None, next_runs: Mapping[str, datetime], end: datetime
) -> Iterable[ScheduleFacts]:
    stated = released.spec["schedules"] if released else {}
    for slug, schedule in live.spec["schedules"].items():
        next_run = next_runs.get(live.part_ids[slug])
        yield ScheduleFacts(
            slug=slug,
            active=schedule["active"],
            declared_active=slug in stated and stated[slug].get("active") is not False,
            due=_due(schedule["schedule"], end) if next_run is None else None,
            next_run=next_run,
        )


def _due(timing: Mapping[str, Any], end: datetime) -> datetime | None:
    """When a schedule starts its next run; None if that is not before the end, or cannot be said."""
    times = follow(timing)
    return None if isinstance(times, str) else next((time for time in times.next if time < end), None)


def read_horizon(api: Api) -> timedelta:
    """How far ahead the server schedules runs."""
    try:
        settings = api.request("GET", "/admin/settings").json()
        stated = settings["server"]["services"]["scheduler"]["max_scheduled_time"]
        return pydantic.TypeAdapter(timedelta).validate_python(stated)
    except (PrefectHTTPStatusError, KeyError, TypeError, ValueError):  # not everybody may see a server's settings
        return HORIZON


def read_next_runs(api: Api, deployments: Collection[LiveResource], now: datetime) -> dict[str, datetime]:
    """When the next run of each active schedule starts, by the schedule's id, as far as one is scheduled."""
    wanted = {
        item.id: {item.part_ids[slug] for slug, schedule in item.spec["schedules"].items() if schedule["active"]}
        for item in deployments
        if not item.spec["paused"]
    }
    runs = _first_runs(
        api,
        {key for key, schedules in wanted.items() if schedules},
        enough=lambda key, runs: wanted[key] <= {_schedule_of(run) for run in runs},
        sort="NEXT_SCHEDULED_START_TIME_ASC",
        state={"type": {"any_": ["SCHEDULED"]}},
        next_scheduled_start_time={"after_": now.isoformat()},
    )
    every = [run for found in runs.values() for run in reversed(found)]
    return {_schedule_of(run): _moment(run["next_scheduled_start_time"]) for run in every}


def _schedule_of(run: Run) -> str:
    """Id of the schedule that a run is of; nothing for one that was scheduled by hand."""
    return str((run["created_by"] or {}).get("id"))


def read_late_runs(api: Api, deployments: Iterable[LiveResource]) -> dict[str, datetime]:
    """Since when the oldest late run of each deployment waits, by the deployment's id."""
    runs = _first_runs(
        api,
        {item.id for item in deployments},
        enough=lambda _, runs: bool(runs),
        sort="NEXT_SCHEDULED_START_TIME_ASC",
        state={"name": {"any_": ["Late"]}},
    )
    return {key: _moment(found[0]["next_scheduled_start_time"]) for key, found in runs.items()}


def read_finished_runs(api: Api, deployments: Iterable[LiveResource]) -> dict[str, tuple[FinishedRun, ...]]:
    """The newest runs of each deployment that ended by themselves, by the deployment's id."""
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

    A deployment that has enough is not asked for again: one that runs every minute would else fill page after page
    before another one is heard of. No request names more than 200, so that the cost of all requests grows with the
    number of deployments and not with its square.
    """
    runs: dict[str, list[Run]] = {}
    ids = sorted(deployments)
    for start in range(0, len(ids), AT_A_TIME):
        pending, offset = set(ids[start : start + AT_A_TIME]), 0
        while pending:
            of = {"any_": sorted(pending)}
            body = {"sort": sort, "limit": PAGE, "offset": offset, "flow_runs": {**found, "deployment_id": of}}
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


def _moment(text: str) -> datetime:
    return pydantic.TypeAdapter(datetime).validate_python(text)


ACCEPTED_SECONDS = 5


def clock_ahead(api: Api) -> float:
    """By how many seconds this machine's clock is ahead of the server's, to about half a second."""
    asked = datetime.now(timezone.utc)
    answer = api.request("GET", "/admin/version")
    meanwhile = (datetime.now(timezone.utc) - asked) / 2
    said = parsedate_to_datetime(answer.headers["date"])
    return (asked + meanwhile - said).total_seconds() - 0.5  # it says whole seconds, cut off


def is_on_sqlite(api: Api) -> bool:
    r"""Whether the server's database is SQLite; its settings mask that together with the password.

    For PostgreSQL a backslash in a pattern is an escape, `\t` is `t`; for SQLite it is a character like any other.
    """
    found = (
        len(api.request("POST", "/block_types/filter", json={"block_types": {"name": {"like_": pattern}}}).json())
        for pattern in ("secret", "secre\\t")
    )
    return next(found) > next(found)


def is_api(url: str, *, through_proxy: bool = False) -> bool:
    """Whether a Prefect API answers at an address, without credentials.

    Args:
        url: Where it should be.
        through_proxy: Ask as the shell's proxy variables say, and not directly.
    """
    try:
        with httpx.Client(verify=certificates(), trust_env=through_proxy, timeout=ACCEPTED_SECONDS) as browser:
            answer = browser.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code in (401, 403) or (answer.is_success and "json" in answer.headers["content-type"])
