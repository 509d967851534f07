"""The three-way merge of specs: the repository's word wins, what it does not state stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Spec = Mapping[str, Any]

MERGED_BY_KEY = (
    "",
    "parameters",
    "job_variables",
    "job_variables.env",
    "job_variables.labels",
    "schedules",
    "schedules.*",
    "schedules.*.parameters",
)
"""Mappings whose keys are separate decisions, each the repository's or an operator's; all others are one value."""

MERGED_THROUGHOUT = "base_job_template"
"""A work pool's template: separate decisions all the way down."""

SETS = ("tags",)
"""Lists whose order says nothing and whose members are separate decisions."""

RESET: Mapping[str, Any] = {
    "description": None,
    "concurrency_limit": None,
    "concurrency_options": None,
    "work_queue_name": "default",
    "paused": False,
    "schedules.*.active": True,
    "schedules.*.max_scheduled_runs": None,
}
"""What a field becomes when the repository stops stating it; other keys are taken out instead."""


def is_merged(path: str) -> bool:
    """Whether the mapping at a dotted path is merged key by key."""
    return path.partition(".")[0] == MERGED_THROUGHOUT or _pattern(path, MERGED_BY_KEY) is not None


def _pattern(path: str, patterns: Iterable[str]) -> str | None:
    depth = path.count(".")
    return next((item for item in patterns if item.count(".") == depth and fnmatchcase(path, item)), None)


def join(path: str, key: str) -> str:
    """The dotted path of a key within the mapping at `path`."""
    return f"{path}.{key}" if path else key


def merge(desired: Spec, released: Spec, live: Spec, path: str = "") -> dict[str, Any]:
    """The spec to reach.

    Args:
        desired: What the repository states now.
        released: What it stated at the last release; empty for a deployment that was never released.
        live: What the server has; empty for a deployment to be created.
        path: Where in the spec these three stand; the root by default.
    """
    target: dict[str, Any] = {}
    for key in sorted({*live, *desired, *released}):
        inner = join(path, key)
        if key in desired:
            target[key] = _merged_value(desired[key], released.get(key), live.get(key), inner)
        elif key in released:
            if reset := _pattern(inner, RESET):
                target[key] = RESET[reset]
        else:
            target[key] = live[key]
    return target


def _merged_value(desired: Any, released: Any, live: Any, path: str) -> Any:
    if path in SETS:
        others = sorted(set(live or ()) - set(released or ()) - set(desired))
        return live if live is not None and set(live) == {*desired, *others} else [*desired, *others]
    if is_merged(path) and isinstance(desired, Mapping):
        return merge(desired, _mapping(released), _mapping(live), path)
    return desired


def _mapping(value: Any) -> Spec:
    return value if isinstance(value, Mapping) else {}


def either(first: Spec, second: Spec, path: str = "") -> dict[str, Any]:
    """Everything that one of two specs states, the second's value where both do.

    What a deploy that was cut short left behind is between two released specs: a field that either of them states is
    ours, not an operator's.
    """
    both = dict(first)
    for key, value in second.items():
        inner = join(path, key)
        if inner in SETS:
            both[key] = list(dict.fromkeys((*first.get(key, ()), *value)))
        elif is_merged(inner) and isinstance(value, Mapping):
            both[key] = either(_mapping(first.get(key)), value, inner)
        else:
            both[key] = value
    return both
