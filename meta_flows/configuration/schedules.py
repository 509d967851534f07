"""Schedules: what a flow's file may declare, its form in the Prefect API and in words, and when it starts runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import islice
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pydantic
from dateutil.parser import isoparse
from dateutil.rrule import rrule, rrulestr
from pydantic import Field, model_validator
from typing_extensions import Self

from meta_flows.configuration.sections import Section, wrong
from meta_flows.diagnostics import did_you_mean
from meta_flows.models import Slug

ANCHOR_DATE = "2020-01-01T00:00:00Z"
"""Default start of intervals; Prefect's own default, the moment of the deploy, would differ at each deploy."""

DATES = frozenset({"BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY", "BYEASTER"})
"""The parts of a recurrence rule that restrict its dates."""

_INVALID = {
    "cron": "is no cron expression that Prefect takes",
    "interval": "must be seconds, HH:MM:SS or an ISO 8601 duration such as PT1H, and more than nothing",
    "rrule": "is no recurrence rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO",
    "anchor_date": f"is no moment such as {ANCHOR_DATE}",
}


class Schedule(Section):
    """When runs start: exactly one of `cron`, `interval` and `rrule`."""

    slug: Slug = "default"
    """Name that is unique among the flow's schedules; its runs survive a change of anything else."""
    cron: str | None = None
    """Cron expression, e.g. `0 6 * * 1-5`."""
    interval: float | str | None = None
    """Seconds, `HH:MM:SS` or an ISO 8601 duration such as `PT1H`."""
    rrule: str | None = None
    """Recurrence rule of RFC 5545, e.g. `FREQ=WEEKLY;BYDAY=MO`."""
    timezone: str = "UTC"
    """IANA time zone of the schedule, e.g. `Europe/Berlin`."""
    day_or: bool = True
    """Whether a day has to match cron's day of month or its day of week (`true`), or both (`false`)."""
    anchor_date: str = ANCHOR_DATE
    """Moment from which intervals are counted."""
    active: bool | None = None
    """Whether it runs; unless set, it is active when created, and then stays as an operator leaves it."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of its runs, on top of the deployment's."""
    max_scheduled_runs: Annotated[int, Field(gt=0)] | None = None
    """How many runs Prefect schedules ahead."""

    def timing(self) -> dict[str, Any]:
        """Return the schedule in the form in which the API returns it.

        The server adds a DTSTART to a rule that has none; adding it here makes what is read equal what is sent.
        """
        if self.cron is not None:
            timing = _in_api_form("cron", cron=self.cron, day_or=self.day_or)
        elif self.rrule is not None:
            utc = "Z" if re.search(r"UNTIL=\d{8}T\d{6}Z", self.rrule, re.IGNORECASE) else ""  # both have it, or neither
            start = "" if "DTSTART" in self.rrule.upper() else f"DTSTART:20200101T000000{utc}\n"
            timing = _in_api_form("rrule", rrule=start + self.rrule)
        else:
            timing = _in_api_form("interval", interval=self.interval, anchor_date=self.anchor_date)
        return {**timing, "timezone": self.timezone}

    def spec(self, *, active: bool | None) -> dict[str, Any]:
        """Return the schedule of a deployment's spec; what no file sets, such as `active`, stays as operators leave it.

        Args:
            active: Whether schedules of the environment are active, for a schedule that does not say so itself.
        """
        active = self.active if self.active is not None else active
        optional = {"active": active, "max_scheduled_runs": self.max_scheduled_runs}
        return {
            "slug": self.slug,
            "schedule": self.timing(),
            "parameters": dict(self.parameters),
            **{key: value for key, value in optional.items() if value is not None},
        }

    @model_validator(mode="after")
    def _is_accepted_by_prefect(self) -> Self:
        rules = [name for name in ("cron", "interval", "rrule") if getattr(self, name) is not None]
        if len(rules) != 1:
            raise wrong("MF205", schedule=self.slug, detail="needs exactly one of cron, interval and rrule")
        for option, rule in (("day_or", "cron"), ("anchor_date", "interval")):
            if option in self.model_fields_set and rules != [rule]:
                raise wrong("MF205", (option,), schedule=self.slug, detail=f"{option} belongs to {rule} only")
        if self.timezone not in _timezones():
            suggestion = did_you_mean(self.timezone, _timezones())
            raise wrong("MF206", ("timezone",), timezone=self.timezone, suggestion=suggestion)
        if self.rrule and (detail := _rrule_error(self.rrule.upper())):
            raise wrong("MF205", ("rrule",), schedule=self.slug, detail=detail)
        try:
            self.timing()
        except Exception as error:  # noqa: BLE001 - Prefect's parsers raise anything on invalid input
            key = str(error.errors()[0]["loc"][0]) if isinstance(error, pydantic.ValidationError) else rules[0]
            detail = f"{key} {_INVALID.get(key, 'is refused by Prefect')}"
            raise wrong("MF205", (key,), schedule=self.slug, detail=detail) from None
        return self


def _rrule_error(rule: str) -> str:
    if re.search("FREQ=(MINUTE|SECOND)LY", rule) and "DTSTART" not in rule:
        return "a rule by the minute or second needs a recent DTSTART, or it is counted from 2020; use interval"
    return "with INTERVAL=0 it never gets anywhere" if re.search(r"INTERVAL=0+\b", rule) else ""


# Prefect reads all time zones from disk for each schedule that has one; here they are read once, and Prefect gets none.
_timezones = cache(available_timezones)


@cache
def _in_api_form(rule: str, **fields: Any) -> dict[str, Any]:
    from meta_flows.prefect_api.compat import CronSchedule, IntervalSchedule, RRuleSchedule

    types: dict[str, type[pydantic.BaseModel]] = {
        "cron": CronSchedule,
        "interval": IntervalSchedule,
        "rrule": RRuleSchedule,
    }
    return types[rule].model_validate(fields).model_dump(mode="json")


def schedule_in_words(schedule: Mapping[str, Any]) -> str:
    """Return a short form of a spec's schedule, e.g. `0 6 * * 1-5 Europe/Berlin`."""
    timing = schedule["schedule"]
    if "interval" in timing:
        words = f"every {timedelta(seconds=timing['interval'])}"
    else:
        rule = timing.get("cron") or timing["rrule"].rpartition("\n")[2].removeprefix("RRULE:").replace(";", "; ")
        words = f"{rule} {timing.get('timezone') or 'UTC'}"
    return words if schedule.get("active", True) else f"{words} (paused)"


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


def follow(fields: Mapping[str, Any]) -> Times | str:
    """Return when Prefect's scheduler starts runs of a schedule, given as in Prefect's API; or why it cannot."""
    from meta_flows.prefect_api.compat import run_coro_as_sync, scheduler_schedules

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
