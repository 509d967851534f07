"""Deployments.

Any PATCH of a deployment or a schedule, an empty one included, deletes all its scheduled runs, and POST on an existing
deployment recreates its schedules. So: POST only creates, PATCH only sends what differs, schedules go one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from meta_flows.models import Change, LiveResource, Ownership
from meta_flows.resources.resource_type import ResourceType, Send, Spec, read_all

STATED_FIELDS = (
    "version",
    "description",
    "entrypoint",
    "path",
    "parameters",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
    "pull_steps",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
    "paused",
)
"""Fields of a spec that have the same shape in the API's JSON."""

SCHEDULE_FIELDS = ("slug", "schedule", "active", "parameters", "max_scheduled_runs")

PLACEMENT = ("work_pool_name", "work_queue_name")
PLACED_TOGETHER = frozenset((*PLACEMENT, "job_variables"))
"""Sent together: a pool alone means its default queue to the server, a queue alone another pool's, and job variables
alone are not checked against the pool's template."""


def read(send: Send, keys: Collection[str]) -> Iterator[LiveResource]:
    """Yield the deployments of these keys, with any owner.

    Makes two paged reads: one of deployments, one of their flows, since a deployment has only the id of its flow.
    """
    names = {key.partition("/")[2] for key in keys}
    return (item for item in find(send, deployments=_named(names)) if item.key in keys)


def read_owned(send: Send, ownership: Ownership) -> Iterator[LiveResource]:
    """Yield the deployments that carry the ownership tags, in two paged reads."""
    return find(send, deployments={"tags": {"all_": sorted(ownership.tags)}})


def find(send: Send, **found: Any) -> Iterator[LiveResource]:
    """Yield the deployments that a filter of the API finds."""
    bodies = list(read_all(send, "deployments", sort="NAME_ASC", **found))
    flow_ids = sorted({body["flow_id"] for body in bodies})
    flows = read_all(send, "flows", flows={"id": {"any_": flow_ids}}) if bodies else ()
    names = {flow["id"]: flow["name"] for flow in flows}
    return (live_deployment(body, names[body["flow_id"]]) for body in bodies if body["flow_id"] in names)


def read_flow_ids(send: Send, names: Collection[str]) -> dict[str, str]:
    """Return the ids of the flows of these names that exist, by name."""
    return {flow["name"]: flow["id"] for flow in read_all(send, "flows", flows=_named(names))} if names else {}


def _named(names: Collection[str]) -> dict[str, Any]:
    return {"name": {"any_": sorted(names)}}


def live_deployment(body: dict[str, Any], flow_name: str) -> LiveResource:
    """Return a deployment in the shape that planning compares, from the API's JSON."""
    schedules = {schedule["slug"] or f"~{schedule['id']}": schedule for schedule in body["schedules"]}
    limit = body["global_concurrency_limit"]  # `concurrency_limit` itself is always null in answers
    options = {key: value for key, value in (body["concurrency_options"] or {}).items() if value is not None}
    return LiveResource(
        id=body["id"],
        flow_name=flow_name,
        name=body["name"],
        updated=max(item["updated"] for item in (body, *body["schedules"])),
        ready=body["status"] == "READY",
        spec={
            **{field: body[field] for field in STATED_FIELDS},
            "labels": {key: value for key, value in body["labels"].items() if not key.startswith("prefect.")},
            "tags": body["tags"],
            "concurrency_limit": limit["limit"] if limit else None,
            "concurrency_options": options or None,
            "schedules": {
                slug: {field: schedule[field] for field in SCHEDULE_FIELDS} for slug, schedule in schedules.items()
            },
        },
        part_ids={slug: schedule["id"] for slug, schedule in schedules.items()},
    )


def create(send: Send, change: Change, flow_ids: dict[str, str]) -> None:
    """Create a deployment, and its flow if that does not exist yet."""
    if change.flow_name not in flow_ids:
        flow_ids[change.flow_name] = send("POST", "/flows/", {"name": change.flow_name})["id"]
    declared = {key: value for key, value in change.target.items() if value is not None}
    schedules = list(change.target["schedules"].values())
    apart = any("max_scheduled_runs" in schedule for schedule in schedules)  # dropped when sent along
    placed = {"flow_id": flow_ids[change.flow_name], "name": change.name, "schedules": [] if apart else schedules}
    created = send("POST", "/deployments/", {**declared, **placed})["id"]
    if apart:
        send("POST", f"/deployments/{created}/schedules", schedules)


def update(send: Send, live: LiveResource, target: Spec) -> None:
    """Send the fields in which a deployment differs from its target in one request, and each schedule in its own."""
    fields = {key: value for key, value in target.items() if key != "schedules" and value != live.spec.get(key)}
    if not PLACED_TOGETHER.isdisjoint(fields):
        fields |= {key: target[key] for key in PLACEMENT if target.get(key) is not None}
    path = f"/deployments/{live.id}"
    if fields:
        send("PATCH", path, fields)
    if fields.get("job_variables") == {} and send("GET", path)["job_variables"]:
        send("PATCH", path, {**fields, "job_variables": {"env": {}}})  # Prefect 3.4 takes {} for no change
    _update_schedules(send, live, target["schedules"])


def _update_schedules(send: Send, live: LiveResource, target: Mapping[str, Spec]) -> None:
    path = f"/deployments/{live.id}/schedules"
    added = [schedule for slug, schedule in target.items() if slug not in live.spec["schedules"]]
    for slug, schedule in live.spec["schedules"].items():
        desired = target.get(slug, {})
        changed = {key: value for key, value in desired.items() if value != schedule.get(key)}
        if desired and None not in changed.values():
            if changed:  # a PATCH without parameters removes them all
                send("PATCH", f"{path}/{live.part_ids[slug]}", {"parameters": desired["parameters"], **changed})
            continue
        send("DELETE", f"{path}/{live.part_ids[slug]}")
        added += [desired] if desired else []  # a PATCH cannot set a field to null
    if added:
        send("POST", path, added)


def aligned(live: LiveResource, spec: Spec) -> LiveResource:
    """Return live with each undeclared schedule under the slug of a declared new one with the same timing.

    A deployment made by hand has schedules without slugs, and a slug may be renamed. Otherwise the declared schedule
    would be created beside the live one and every run scheduled twice, or it would lose the pause of the old one.
    """
    desired: Mapping[str, Spec] = spec["schedules"]
    schedules: dict[str, Any] = dict(live.spec["schedules"])
    ids = dict(live.part_ids)
    for slug, schedule in desired.items():
        undeclared = (key for key in schedules if key not in desired)
        twin = next((key for key in undeclared if _timing(schedules[key]) == _timing(schedule)), None)
        if slug not in schedules and twin is not None:
            schedules[slug], ids[slug] = schedules.pop(twin), ids.pop(twin)
    return live.model_copy(update={"spec": {**live.spec, "schedules": schedules}, "part_ids": ids})


def original(live: LiveResource, earlier: LiveResource) -> LiveResource:
    """Return live with each schedule under the key that it had in an earlier state of the same deployment."""
    by_id = {schedule_id: key for key, schedule_id in earlier.part_ids.items()}
    keys = {key: by_id.get(schedule_id, key) for key, schedule_id in live.part_ids.items()}
    schedules = {keys[key]: schedule for key, schedule in live.spec["schedules"].items()}
    part_ids = {keys[key]: schedule_id for key, schedule_id in live.part_ids.items()}
    renamed = live.model_copy(update={"spec": {**live.spec, "schedules": schedules}, "part_ids": part_ids})
    return aligned(renamed, earlier.spec)


def _timing(schedule: Spec) -> dict[str, Any]:
    timing = {key: value for key, value in schedule["schedule"].items() if key != "anchor_date"}
    return {**timing, "timezone": timing.get("timezone") or "UTC"}


def resumed(start: Spec, taken_over: Spec) -> Spec:
    """Return the start of a merge, with the predecessor's schedules if the deployment was created without them."""
    return start if start["schedules"] else {**start, "schedules": taken_over["schedules"]}


DEPLOYMENT = ResourceType(
    name="deployment",
    title="deployment",
    tagged=True,
    unowned="MF501",
    merged=(
        "",
        "parameters",
        "job_variables",
        "job_variables.env",
        "job_variables.labels",
        "schedules",
        "schedules.*",
        "schedules.*.parameters",
    ),
    sets=("tags",),
    resets={
        "description": None,
        "concurrency_limit": None,
        "concurrency_options": None,
        "work_queue_name": "default",
        "paused": False,
        "schedules.*.active": True,
        "schedules.*.max_scheduled_runs": None,
    },
    read=read,
    read_owned=read_owned,
    create=create,
    update=update,
    path=lambda live: f"/deployments/{live.id}",
    coupled=PLACEMENT,
    replaced=("schedules.*",),
    needs=lambda spec: (f"work_pool/{spec.get('work_pool_name')}",),
    aligned=aligned,
    original=original,
    resumed=resumed,
)
