"""From desired, released and live deployments to a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from meta_flows.errors import problem
from meta_flows.models import Change, Deployment, LiveDeployment, Plan, ValidationError
from meta_flows.planning.differences import difference
from meta_flows.planning.merging import Spec, merge


def ownership_tags(project: str, environment: str) -> tuple[str, str]:
    """The tags that make a deployment ours to change; the server can filter by tags, not by labels."""
    return f"project:{project}", f"environment:{environment}"


def make_plan(
    desired: Iterable[Deployment],
    released: Mapping[str, Spec],
    live: Mapping[str, LiveDeployment],
    *,
    project: str,
    environment: str,
    adopt: bool = False,
) -> Plan:
    """Decide what to do about each desired deployment; nothing else is looked at.

    Args:
        desired: What the repository asks for.
        released: Rendered specs of the last release, by deployment key.
        live: What the server has, by deployment key.
        project: Name in the ownership tag.
        environment: Long name of the environment.
        adopt: Whether to take over a deployment of the same flow and name that is not ours.
    """
    owned = set(ownership_tags(project, environment))
    changes: list[Change] = []
    refused: list[ValidationError] = []
    for deployment in sorted(desired, key=lambda item: item.name):
        existing = live.get(deployment.key)
        foreign = existing is not None and not owned <= set(existing.spec["tags"])
        if foreign and not adopt:
            refused.append(problem("MF501", key=deployment.key, project=project))
        else:
            changes.append(_change(deployment, released.get(deployment.key, {}), existing, foreign))
    plan = Plan(project=project, environment=environment, changes=tuple(changes), refused=tuple(refused))
    return plan.model_copy(update={"digest": _digest(changes)})


def _change(deployment: Deployment, released: Spec, existing: LiveDeployment | None, foreign: bool) -> Change:
    live = _with_slugs(existing, deployment) if existing else None
    target = merge(deployment.spec, released if existing else {}, live.spec if live else {})
    fields = difference(live.spec if live else {}, target, released)
    return Change(
        action="create" if live is None else "update" if fields else "unchanged",
        flow_name=deployment.flow_name,
        name=deployment.name,
        kind=deployment.kind,
        slug=deployment.slug,
        fields=fields,
        adopt=foreign,
        target=target,
        live=live,
    )


def _with_slugs(live: LiveDeployment, deployment: Deployment) -> LiveDeployment:
    """Live, with each schedule that has no slug under the slug of the desired schedule it equals.

    A deployment made by hand has schedules without slugs. Left apart, the desired one would be created beside it and
    every run would be scheduled twice.
    """
    schedules: dict[str, Any] = dict(live.spec["schedules"])
    ids = dict(live.schedule_ids)
    for slug, desired in deployment.spec["schedules"].items():
        nameless = (key for key, schedule in schedules.items() if schedule["slug"] is None)
        twin = next((key for key in nameless if _same_timing(schedules[key], desired)), None)
        if slug not in schedules and twin is not None:
            schedules[slug], ids[slug] = schedules.pop(twin), ids.pop(twin)
    return live.model_copy(update={"spec": {**live.spec, "schedules": schedules}, "schedule_ids": ids})


def _same_timing(one: Spec, other: Spec) -> bool:
    def timing(schedule: Spec) -> dict[str, Any]:
        timing = {key: value for key, value in schedule["schedule"].items() if key != "anchor_date"}
        return {**timing, "timezone": timing.get("timezone") or "UTC"}

    return timing(one) == timing(other)


def _digest(changes: Iterable[Change]) -> str:
    content = [
        (change.key, change.live.id if change.live else None, change.live.spec if change.live else None, change.target)
        for change in changes
        if change.action != "unchanged"
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
