"""Undoing a write field by field: what another client has changed since stays."""

from __future__ import annotations

from typing import Any

import pytest

from meta_flows.planning.three_way import reverted
from meta_flows.resources import DEPLOYMENT

DAILY = {"slug": "daily", "schedule": {"cron": "0 6 * * *"}, "active": True}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    # written, before, live -> target, changed by others
    "what was written goes back": (
        {"description": "new"},
        {"description": "old"},
        {"description": "new"},
        {"description": "old"},
        [],
    ),
    "what was not written yet stays": (
        {"description": "new"},
        {"description": "old"},
        {"description": "old"},
        {"description": "old"},
        [],
    ),
    "what another client wrote stays": (
        {"description": "new"},
        {"description": "old"},
        {"description": "hers"},
        {"description": "hers"},
        ["description"],
    ),
    "a pause that was not written stays": (
        {"paused": False},
        {"paused": False},
        {"paused": True},
        {"paused": True},
        ["paused"],
    ),
    "each key of a mapping by itself": (
        {"parameters": {"a": 2, "b": 1}},
        {"parameters": {"a": 1, "b": 1}},
        {"parameters": {"a": 2, "b": 9, "c": 3}},
        {"parameters": {"a": 1, "b": 9, "c": 3}},
        ["parameters.b", "parameters.c"],
    ),
    "a key that was added goes": (
        {"parameters": {"a": 1}},
        {"parameters": {}},
        {"parameters": {"a": 1}},
        {"parameters": {}},
        [],
    ),
    "a key that was taken out comes back": (
        {"parameters": {}},
        {"parameters": {"a": 1}},
        {"parameters": {}},
        {"parameters": {"a": 1}},
        [],
    ),
    "a schedule that was added goes, with what the server made of it": (
        {"schedules": {"daily": {"slug": "daily", "schedule": {"cron": "0 6 * * *"}}}},
        {"schedules": {}},
        {"schedules": {"daily": {**DAILY, "max_scheduled_runs": None}}},
        {"schedules": {}},
        [],
    ),
    "a schedule that was added and then paused goes": (
        {"schedules": {"daily": {"slug": "daily", "schedule": {"cron": "0 6 * * *"}}}},
        {"schedules": {}},
        {"schedules": {"daily": {**DAILY, "active": False}}},
        {"schedules": {}},
        [],
    ),
    "a schedule that is missing because it was to be created anew comes back": (
        {"schedules": {"daily": {**DAILY, "max_scheduled_runs": None}}},
        {"schedules": {"daily": {**DAILY, "max_scheduled_runs": 2}}},
        {"schedules": {}},
        {"schedules": {"daily": {**DAILY, "max_scheduled_runs": 2}}},
        [],
    ),
    "tags by member": (
        {"tags": ["ours", "x"]},
        {"tags": ["x", "old"]},
        {"tags": ["ours", "x", "hers"]},
        {"tags": ["x", "hers", "old"]},
        [],
    ),
    "what one of several releases wrote goes back": (
        {"version": "2"},
        {"version": "1"},
        {"version": "3"},
        {"version": "3"},
        ["version"],
    ),
    "the queue goes with the pool": (
        {"work_pool_name": "ours"},
        {"work_pool_name": None, "work_queue_name": None},
        {"work_pool_name": "ours", "work_queue_name": "default"},
        {"work_pool_name": None, "work_queue_name": None},
        [],
    ),
    "a queue that an operator chose stays": (
        {"work_pool_name": "ours", "work_queue_name": "default"},
        {"work_pool_name": "ours", "work_queue_name": "default"},
        {"work_pool_name": "ours", "work_queue_name": "fast"},
        {"work_pool_name": "ours", "work_queue_name": "fast"},
        ["work_queue_name"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_write_is_undone(
    case: tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], list[str]],
) -> None:
    written, before, live, target, others = case
    assert reverted(DEPLOYMENT, [written], before, live) == (target, others)


def test_what_any_of_several_releases_wrote_goes_back() -> None:
    """One went on from another that was cut short: between them the server may be."""
    for version in ("2", "3"):
        live = {"version": version}
        assert reverted(DEPLOYMENT, [{"version": "2"}, {"version": "3"}], {"version": "1"}, live) == (
            {"version": "1"},
            [],
        )
