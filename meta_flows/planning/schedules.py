"""Which live schedule a desired one is, where their slugs do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meta_flows.models import LiveDeployment
from meta_flows.planning.merging import Spec


def matched(live: LiveDeployment, desired: Mapping[str, Spec]) -> LiveDeployment:
    """Live, with each schedule that nobody asks for by its slug under the slug of a new one with the same timing.

    A deployment made by hand has schedules without slugs, and a slug may be renamed. Left apart, the desired schedule
    would be created beside the live one and every run scheduled twice, or it would lose the pause of the old one.
    """
    schedules: dict[str, Any] = dict(live.spec["schedules"])
    ids = dict(live.schedule_ids)
    for slug, schedule in desired.items():
        unclaimed = (key for key in schedules if key not in desired)
        twin = next((key for key in unclaimed if _timing(schedules[key]) == _timing(schedule)), None)
        if slug not in schedules and twin is not None:
            schedules[slug], ids[slug] = schedules.pop(twin), ids.pop(twin)
    return live.model_copy(update={"spec": {**live.spec, "schedules": schedules}, "schedule_ids": ids})


def unmatched(live: LiveDeployment, ids: Mapping[str, str]) -> LiveDeployment:
    """Live, with each schedule under the key that it had when the ids were read."""
    earlier = {schedule_id: key for key, schedule_id in ids.items()}
    keys = {key: earlier.get(schedule_id, key) for key, schedule_id in live.schedule_ids.items()}
    schedules = {keys[key]: schedule for key, schedule in live.spec["schedules"].items()}
    schedule_ids = {keys[key]: schedule_id for key, schedule_id in live.schedule_ids.items()}
    return live.model_copy(update={"spec": {**live.spec, "schedules": schedules}, "schedule_ids": schedule_ids})


def _timing(schedule: Spec) -> dict[str, Any]:
    timing = {key: value for key, value in schedule["schedule"].items() if key != "anchor_date"}
    return {**timing, "timezone": timing.get("timezone") or "UTC"}
