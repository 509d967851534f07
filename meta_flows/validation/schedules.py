"""Rules on schedules: they fire, and no more than once a minute."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from dateutil.parser import isoparse
from dateutil.rrule import rrule, rrulestr

from meta_flows.configuration import ConfiguredFlow
from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic
from meta_flows.prefect_api.compat import run_coro_as_sync, scheduler_schedules
from meta_flows.validation.deployments import place_of

OFTEN_SECONDS = 60
DATES = frozenset({"BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY", "BYEASTER"})
"""The parts of a recurrence rule that restrict its dates."""


class Times(NamedTuple):
    """When a schedule starts runs.

    Attributes:
        next: The next few times.
        past: Whether it has ever fired.
        followed: Whether it was followed far enough for an empty `next` to mean that it never fires again.
    """

    next: tuple[datetime, ...]
    past: bool = False
    followed: bool = True


def check_schedules(item: ConfiguredFlow) -> Iterator[Diagnostic]:
    """Report schedules that never fire, have fired for the last time, or fire more than once a minute."""
    scheduled = any(item.configuration.kinds[kind].scheduled for kind in item.kinds)
    for index, schedule in enumerate(item.configuration.schedules if scheduled else ()):
        rule = next(name for name in ("cron", "rrule", "interval") if getattr(schedule, name) is not None)
        place = place_of(item, "schedules", index, rule)
        facts = {"schedule": schedule.slug, "rule": " ".join(str(getattr(schedule, rule)).split())}
        active = schedule.active is not False
        times = follow(schedule.timing())
        if isinstance(times, str):
            yield diagnostic("MF205", place, **facts, detail=f"Prefect's scheduler cannot follow it: {times}")
            continue
        gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times.next)]
        if gaps and min(gaps) < OFTEN_SECONDS and active:
            yield diagnostic("MF223", place, **facts, seconds=min(gaps))
        elif not times.next and times.followed and (active or not times.past):
            yield diagnostic("MF224" if times.past else "MF222", place, **facts)


def follow(fields: Mapping[str, Any]) -> Times | str:
    """Return when Prefect's scheduler starts runs of a schedule, given as in Prefect's API; or why it cannot."""
    now = datetime.now(timezone.utc)
    try:
        if "interval" in fields:
            anchor, interval = isoparse(fields["anchor_date"]), timedelta(seconds=fields["interval"])
            first = anchor - (anchor - now) // interval * interval
            return Times((first, first + interval))
        if "cron" in fields:  # not validated again: that reads all time zones from disk
            schedule: Any = scheduler_schedules().CronSchedule.model_construct(**fields)
            return Times(tuple(run_coro_as_sync(schedule.get_dates(3)) or ()))
        return _times_of_rule(scheduler_schedules().RRuleSchedule.model_construct(**fields).to_rrule(), fields, now)
    except Exception as error:  # noqa: BLE001 - whatever fails in Prefect's libraries fails in its scheduler too
        no_such_day = "cron" in fields and isinstance(error, ValueError)
        return Times(()) if no_such_day else f"{type(error).__name__}: {error}"


def _times_of_rule(rule: Any, fields: Mapping[str, Any], now: datetime) -> Times:
    """Return the times of a recurrence rule, as far as dateutil finds them quickly.

    For a rule that never fires, dateutil searches up to the year 9999: quickly by years, but not by days or seconds.
    """
    parts = dict(re.findall(r"(\w+)=([^;\s]+)", fields["rrule"].upper()))
    if not isinstance(rule, rrule) or "BYSETPOS" in parts:
        return Times((), followed=False)
    if _has_no_date(parts, now):
        return Times(())
    within_a_day = parts["FREQ"] in ("SECONDLY", "MINUTELY", "HOURLY")
    if within_a_day and parts.get("INTERVAL", "1") != "1":
        return Times((), followed=False)
    zone = ZoneInfo(fields["timezone"])
    if within_a_day:
        here = now.astimezone(zone).replace(microsecond=0)
        ended = "UNTIL" in parts and parts["UNTIL"] < f"{now:%Y%m%d}"
        return Times(() if ended else tuple(islice(rule.replace(dtstart=here, count=None), 3)), past=ended)
    start = re.search(r"DTSTART[^:]*:(\d{8}T\d{6})", fields["rrule"].upper())
    if start and parts["FREQ"] in ("DAILY", "WEEKLY") and parts.keys().isdisjoint({"UNTIL", "COUNT", "INTERVAL"}):
        begun = datetime.strptime(start[1], "%Y%m%dT%H%M%S").replace(tzinfo=zone)
        weeks = max((now - begun) // timedelta(weeks=1), 0)  # an equivalent start, without the years since then
        rule = rule.replace(dtstart=begun + timedelta(weeks=weeks))
    found = tuple(islice(rule.xafter(now, inc=True), 3))
    return Times(found, past=not found and next(iter(rule), None) is not None)


def _has_no_date(parts: Mapping[str, str], now: datetime) -> bool:
    """Return whether no date fits a rule, such as 30 February; its dates are the same whatever its frequency."""
    dates = ";".join(f"{name}={value}" for name, value in parts.items() if name in DATES)
    by_month = parts["FREQ"] == "MONTHLY" and any(map(str.isdigit, parts.get("BYDAY", "")))  # e.g. the last Friday
    frequency = "MONTHLY" if by_month else "YEARLY"
    return bool(dates) and next(iter(rrulestr(f"FREQ={frequency};{dates}", dtstart=now)), None) is None
