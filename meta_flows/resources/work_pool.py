"""Work pools: their type, description, concurrency limit, base job template, and whether they are paused.

A pool has no tags. It is ours if an earlier release created it or declared fields of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from meta_flows.models import Change, LiveResource
from meta_flows.resources.resource_type import ResourceType, Send, Spec, read_all

FIELDS = ("type", "description", "concurrency_limit", "base_job_template", "is_paused")
TEMPLATE = "base_job_template"


def read_bodies(send: Send, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the API's JSON of the work pools of these names; make no request for no names."""
    yield from read_all(send, "work_pools", work_pools={"name": {"any_": sorted(names)}}) if names else ()


def read(send: Send, keys: Collection[str]) -> Iterator[LiveResource]:
    """Yield the work pools of these names."""
    return map(live_work_pool, read_bodies(send, keys))


def live_work_pool(body: Mapping[str, Any]) -> LiveResource:
    """Return a work pool in the shape that planning compares, from the API's JSON."""
    spec = {field: body[field] for field in FIELDS}
    polled = body["status"] != "NOT_READY"
    return LiveResource(type="work_pool", id=body["id"], name=body["name"], spec=spec, ready=polled)


def create(send: Send, change: Change, _: dict[str, str]) -> None:
    """Create a work pool."""
    send("POST", "/work_pools/", {"name": change.name, **change.target})


def update(send: Send, live: LiveResource, target: Spec) -> None:
    """Send the fields that differ; scheduled runs stay, and workers read the template at each run."""
    fields = {key: value for key, value in target.items() if value != live.spec.get(key)}
    send("PATCH", f"/work_pools/{live.name}", fields)


def prepared(desired: Spec, released: Spec, live: Spec | None, default: Callable[[str], Spec]) -> tuple[Spec, Spec]:
    """Complete the template from the type's default, where the pool has none and where a part is no longer declared.

    `default` is called only if needed, since a template may have to be fetched.
    """
    start = dict(live) if live is not None else {"type": desired["type"]}
    if not start.get(TEMPLATE) and (live is None or TEMPLATE in desired):
        start[TEMPLATE] = default(desired["type"])
    template, before = desired.get(TEMPLATE, {}), released.get(TEMPLATE, {})
    if _drops(template, before):
        template = _completed(template, before, default(desired["type"]))
    return {**desired, TEMPLATE: template}, start


def _drops(declared: Spec, released: Spec) -> bool:
    """Return whether any key that was released, at any depth, is no longer declared."""
    return any(
        key not in declared
        or (isinstance(value, Mapping) and isinstance(declared[key], Mapping) and _drops(declared[key], value))
        for key, value in released.items()
    )


def _completed(declared: Spec, released: Spec, default: Spec) -> dict[str, Any]:
    """Return a declared mapping with the defaults of the keys that were released and are no longer declared."""
    completed = dict(declared)
    for key in (key for key in released if key in default):
        inner = declared.get(key, {})
        if all(isinstance(value, Mapping) for value in (inner, released[key], default[key])):
            completed[key] = _completed(inner, released[key], default[key])
        elif key not in declared:
            completed[key] = default[key]
    return completed


WORK_POOL = ResourceType(
    name="work_pool",
    title="work pool",
    tagged=False,
    unowned="MF417",
    merged=("", f"{TEMPLATE}.**"),
    read=read,
    create=create,
    update=update,
    path=lambda live: f"/work_pools/{live.name}",
    prunable=False,
    prepared=prepared,
    resets={"description": None, "concurrency_limit": None},
)
