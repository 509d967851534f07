"""Rules on schedules: that they come at all, and not all the time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from prefect.server.schemas import schedules as prefect

from meta_flows.configuration import ConfiguredFlow
from meta_flows.errors import problem
from meta_flows.models import ValidationError

OFTEN_SECONDS = 60

FOLLOWED_DAYS = {"SECONDLY": 1 / 24, "MINUTELY": 1, "HOURLY": 60, "DAILY": 12 * 366, "WEEKLY": 12 * 366}
"""How far a rule is followed, by its frequency: left alone, dateutil goes on to the year 9999."""

FOLLOWED_DAYS_ELSE = 40 * 366
LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEAP_YEARS = 8 * 366
"""What every date comes in; a rule that is followed for less and has nothing may still fire one day."""


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
    for index, schedule in enumerate(item.configuration.schedules):
        rule = next(name for name in ("cron", "rrule", "interval") if getattr(schedule, name) is not None)
        place = item.configuration.document.place(("schedules", index, rule)) or item.flow.place
        facts = {"schedule": schedule.slug, "rule": getattr(schedule, rule)}
        times = _times(tuple(schedule.timing().items()))
        if isinstance(times, str):
            yield problem("MF205", place, **facts, detail=f"Prefect's scheduler cannot follow it: {times}")
            continue
        gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times.next)]
        if gaps and min(gaps) < OFTEN_SECONDS:
            yield problem("MF223", place, **facts, seconds=min(gaps))
        elif not times.next and times.followed:
            yield problem("MF224" if times.past else "MF222", place, **facts)


@cache
def _times(timing: tuple[tuple[str, Any], ...]) -> Times | str:
    """When a schedule starts runs, as Prefect's scheduler finds it; or why that fails."""
    fields = dict(timing)
    if "interval" in fields:
        now = datetime.now(timezone.utc)
        return Times((now, now + timedelta(seconds=fields["interval"])))
    try:
        return _times_of_rule(fields) if "rrule" in fields else Times(_dates(prefect.CronSchedule, fields))
    except ValueError as error:  # what its cron library raises where no day fits is one as well
        return Times(()) if "cron" in fields else str(error)


def _times_of_rule(fields: dict[str, Any]) -> Times:
    rule, frequency = fields["rrule"], re.search(r"FREQ=(\w+)", fields["rrule"])
    days = FOLLOWED_DAYS.get(frequency[1] if frequency else "", FOLLOWED_DAYS_ELSE)
    if re.search("UNTIL=|COUNT=|^(RDATE|EXRULE|EXDATE)", rule, re.MULTILINE):
        found = _dates(prefect.RRuleSchedule, fields)
        return Times(found, past=not found and bool(_dates(prefect.RRuleSchedule, fields, LONG_AGO)))
    end = datetime.now(timezone.utc) + timedelta(days=days)
    utc = "Z" if re.search(r"^DTSTART[^\n]*Z$", rule, re.MULTILINE) else ""
    fields = {**fields, "rrule": f"{rule};UNTIL={end:%Y%m%dT%H%M%S}{utc}"}
    return Times(_dates(prefect.RRuleSchedule, fields), followed=days >= LEAP_YEARS)


def _dates(kind: Any, fields: dict[str, Any], start: datetime | None = None) -> tuple[datetime, ...]:
    """The next times of a schedule that is known to be valid: checking it again reads all time zones from disk."""
    return tuple(asyncio.run(kind.model_construct(**fields).get_dates(3, start)))
