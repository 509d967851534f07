"""Work pools: their type, description, concurrency limit, base job template, and whether they are paused.

No tag says whose a pool is. It is ours if we created it, or declared something of it, in an earlier release.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from meta_flows.models import Change, LiveResource
from meta_flows.resources.resource_type import Declared, ResourceType, Send, Spec, read_all

FIELDS = ("type", "description", "concurrency_limit", "base_job_template", "is_paused")
TEMPLATE = "base_job_template"


def read_bodies(send: Send, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the work pools of these names as the API returns them; no request for none."""
    yield from read_all(send, "work_pools", work_pools={"name": {"any_": sorted(names)}}) if names else ()


def read(send: Send, keys: Collection[str]) -> Iterator[LiveResource]:
    """Yield the work pools of these names."""
    return map(live_work_pool, read_bodies(send, keys))


def live_work_pool(body: Mapping[str, Any]) -> LiveResource:
    """Return a work pool in the shape that planning compares, from the API's."""
    spec = {field: body[field] for field in FIELDS}
    polled = body["status"] != "NOT_READY"
    return LiveResource(type="work_pool", id=body["id"], name=body["name"], spec=spec, ready=polled)


def create(send: Send, change: Change, _: dict[str, str]) -> None:
    """Create a work pool."""
    send("POST", "/work_pools/", {"name": change.name, **change.target})


def update(send: Send, live: LiveResource, target: Spec) -> None:
    """Change what differs; scheduled runs stay, and workers take the template that they find at each run."""
    fields = {key: value for key, value in target.items() if value != live.spec.get(key)}
    send("PATCH", f"/work_pools/{live.name}", fields)


def prepared(desired: Spec, released: Spec, live: Spec | None, default: Callable[[str], Spec]) -> Declared:
    """Complete the template: from the type's default where there is none, and where a part is no longer declared.

    Args:
        desired: What is declared of the pool: its type, and in part or in full what else it has.
        released: The same at the last release; empty for a pool that is not ours.
        live: What the server has; None for a pool to be created.
        default: The base job template of a type; asked for only where it is needed, since it may have to be fetched.
    """
    start = dict(live) if live is not None else {"type": desired["type"]}
    if not start.get(TEMPLATE) and (live is None or TEMPLATE in desired):
        start[TEMPLATE] = default(desired["type"])
    template = desired.get(TEMPLATE, {})
    if dropped := _beyond(released.get(TEMPLATE, {}), template):
        template = _laid_over(_of(default(desired["type"]), dropped), template)
    return Declared({**desired, TEMPLATE: template}, start)


def _beyond(released: Spec, desired: Spec) -> dict[str, Any]:
    """Return what was released and is no longer declared."""
    beyond: dict[str, Any] = {}
    for key, value in released.items():
        if key not in desired:
            beyond[key] = value
        elif (
            isinstance(value, Mapping) and isinstance(desired[key], Mapping) and (inner := _beyond(value, desired[key]))
        ):
            beyond[key] = inner
    return beyond


def _of(default: Spec, dropped: Spec) -> dict[str, Any]:
    """Return what a default has of something that is dropped."""

    def value(key: str) -> Any:
        both = isinstance(default[key], Mapping) and isinstance(dropped[key], Mapping)
        return _of(default[key], dropped[key]) if both else default[key]

    return {key: value(key) for key in dropped if key in default}


def _laid_over(lower: Spec, upper: Spec) -> dict[str, Any]:
    """Return both mappings as one, at any depth; the upper one wins."""
    both = {**lower, **upper}
    for key in lower.keys() & upper.keys():
        if isinstance(lower[key], Mapping) and isinstance(upper[key], Mapping):
            both[key] = _laid_over(lower[key], upper[key])
    return both


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
