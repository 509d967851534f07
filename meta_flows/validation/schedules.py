"""Rules on schedules: that they come at all, and not all the time."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import islice, pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule
from prefect.server.schemas import schedules as prefect

from meta_flows.configuration import ConfiguredFlow
from meta_flows.errors import problem
from meta_flows.models import ValidationError

OFTEN_SECONDS = 60
LONGEST = timedelta(days=40 * 366)
"""How far a rule by the month or year is followed: left alone, dateutil goes on to the year 9999."""

LEAP_YEARS = timedelta(days=12 * 366)
"""The same by the day or week: every date comes within it."""


WINDOWS = {"SECONDLY": timedelta(hours=1), "MINUTELY": timedelta(days=1), "HOURLY": timedelta(days=10)}
"""The same by the hour or less, from now on: too little to say that it never fires."""


class Times(NamedTuple):
    """When a schedule starts runs.

    Attributes:
        next: The next few times.
        past: Whether there has been any.
        followed: Whether it was followed far enough to say that there is none.
    """

    next: tuple[datetime, ...]
    past: bool = False
    followed: bool = True


def check_schedules(item: ConfiguredFlow) -> Iterator[ValidationError]:
    """Schedules that never fire, have fired for the last time, or fire more than once a minute."""
    scheduled = any(item.configuration.kinds[kind].scheduled for kind in item.kinds)
    for index, schedule in enumerate(item.configuration.schedules if scheduled else ()):
        rule = next(name for name in ("cron", "rrule", "interval") if getattr(schedule, name) is not None)
        place = item.configuration.document.place(("schedules", index, rule)) or item.flow.place
        facts = {"schedule": schedule.slug, "rule": " ".join(str(getattr(schedule, rule)).split())}
        runs = schedule.active is not False
        times = _times(tuple(schedule.timing().items()))
        if isinstance(times, str):
            yield problem("MF205", place, **facts, detail=f"Prefect's scheduler cannot follow it: {times}")
            continue
        gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times.next)]
        if gaps and min(gaps) < OFTEN_SECONDS and runs:
            yield problem("MF223", place, **facts, seconds=min(gaps))
        elif not times.next and times.followed and (runs or not times.past):
            yield problem("MF224" if times.past else "MF222", place, **facts)


@cache
def _times(timing: tuple[tuple[str, Any], ...]) -> Times | str:
    """When a schedule starts runs, as Prefect's scheduler finds it; or why that fails."""
    fields, now = dict(timing), datetime.now(timezone.utc)
    try:
        if "interval" in fields:
            return Times((now, now + timedelta(seconds=fields["interval"])))
        if "rrule" in fields:
            return _times_of_rule(fields, now)
        schedule: Any = prefect.CronSchedule.model_construct(**fields)  # to validate it reads all time zones from disk
        return Times(tuple(asyncio.run(schedule.get_dates(3))))
    except Exception as error:  # noqa: BLE001 - whatever Prefect's libraries stumble over, its scheduler does
        no_such_day = "cron" in fields and isinstance(error, ValueError)
        return Times(()) if no_such_day else f"{type(error).__name__}: {error}"


def _times_of_rule(fields: dict[str, Any], now: datetime) -> Times:
    """The times of a rule, followed for some years, or for some days if it is one by the hour or less."""
    rule: Any = prefect.RRuleSchedule.model_construct(**fields).to_rrule()
    text = fields["rrule"].upper()
    by = "".join(re.findall(r"FREQ=(\w+)", text))
    if not isinstance(rule, rrule):
        return Times((), followed=False)  # a set of rules and dates
    stated = re.search(r"UNTIL=(\d{4})", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dateutil does not like an end beside a count
        if by in WINDOWS:
            if stated and int(stated[1]) < now.year:
                return Times((), past=True)
            here = now.astimezone(ZoneInfo(fields["timezone"])).replace(microsecond=0)
            rule = rule.replace(dtstart=here, until=now + WINDOWS[by], count=None)
            return Times(tuple(islice(rule, 3)), followed=False)
        end = now + (LEAP_YEARS if by in ("DAILY", "WEEKLY") else LONGEST)
        if not stated or int(stated[1]) > end.year:
            rule = rule.replace(until=end)
    found = tuple(islice(rule.xafter(now, inc=True), 3))
    return Times(found, past=not found and next(iter(rule), None) is not None)
