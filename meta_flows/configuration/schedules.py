"""Schedules: what a flow's file may declare, and its form in the Prefect API."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

import pydantic
from pydantic import Field, model_validator
from typing_extensions import Self

from meta_flows.configuration.sections import Section, wrong
from meta_flows.diagnostics import did_you_mean
from meta_flows.models import Slug

ANCHOR_DATE = "2020-01-01T00:00:00Z"
"""Default start of intervals; Prefect's own default, the moment of the deploy, would differ at each deploy."""

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
