"""What to do about work pools: the same three-way comparison, of what an environment's file states of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meta_flows.models import WorkPoolChange
from meta_flows.planning.differences import difference
from meta_flows.planning.merging import Spec, merge

TEMPLATE = "base_job_template"


def work_pool_changes(
    stated: Mapping[str, Spec],
    released: Mapping[str, Spec],
    live: Mapping[str, Spec],
    default: Callable[[str], Spec],
    *,
    adopt: bool = False,
) -> tuple[list[WorkPoolChange], list[WorkPoolChange]]:
    """The changes of work pools, and those that nobody may make because the pool is not ours.

    No tag says whose a pool is. It is ours if we made it, or stated something of it, in an earlier release.

    Args:
        stated: What is stated of each pool, by name: its type, and in part or in full what else it has.
        released: The same at the last release, of pools that are ours.
        live: The pools that the server has.
        default: The base job template of a type, for what nobody states.
        adopt: Change pools that are not ours, too.
    """
    planned = [_change(name, spec, released.get(name, {}), live.get(name), default) for name, spec in stated.items()]
    changes = [change for change in planned if change.fields or change.live is None]
    foreign = [change for change in changes if change.live is not None and change.name not in released and not adopt]
    return [change for change in changes if change not in foreign], foreign


def _change(
    name: str, stated: Spec, released: Spec, live: Spec | None, default: Callable[[str], Spec]
) -> WorkPoolChange:
    start = dict(live) if live is not None else {"type": stated["type"]}
    if not start.get(TEMPLATE) and (live is None or TEMPLATE in stated):
        start[TEMPLATE] = default(stated["type"])
    template, dropped = stated.get(TEMPLATE, {}), _beyond(released.get(TEMPLATE, {}), stated.get(TEMPLATE, {}))
    if dropped:
        template = merge(template, {}, _of(default(stated["type"]), dropped), TEMPLATE)
    target = merge({**stated, TEMPLATE: template}, released, start)
    return WorkPoolChange(
        name=name,
        type=stated["type"],
        action="create" if live is None else "update",
        fields=difference(start if live is None else live, target, released),
        target=target,
        live=live,
    )


def _beyond(released: Spec, stated: Spec) -> dict[str, Any]:
    """What was released and is stated no more."""
    beyond: dict[str, Any] = {}
    for key, value in released.items():
        if key not in stated:
            beyond[key] = value
        elif isinstance(value, Mapping) and isinstance(stated[key], Mapping) and (inner := _beyond(value, stated[key])):
            beyond[key] = inner
    return beyond


def _of(default: Spec, dropped: Spec) -> dict[str, Any]:
    """What a default has of something that is dropped."""

    def value(key: str) -> Any:
        both = isinstance(default[key], Mapping) and isinstance(dropped[key], Mapping)
        return _of(default[key], dropped[key]) if both else default[key]

    return {key: value(key) for key in dropped if key in default}
