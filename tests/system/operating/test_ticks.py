"""A reconcile deployment on a schedule of seconds, run by a real worker."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.desks import Desk, on_postgresql
from tests.waiting import wait_until

Worker = subprocess.Popen[bytes]


@pytest.fixture
def ticking(desk: Desk) -> Desk:
    """A deployed desk that is reconciled every few seconds, once there is a worker."""
    desk.write("environments/development.yaml", {"reconcile": {"schedule": {"interval": 10}}})
    desk.deploy()
    return desk


def ticks(desk: Desk) -> list[dict[str, Any]]:
    """The reconcile runs that have ended, oldest first."""
    body = {
        "deployments": {"id": {"any_": [desk.registered()["reconcile-dev"]["id"]]}},
        "flow_runs": {"end_time": {"is_null_": False}},
        "sort": "START_TIME_ASC",
    }
    found: list[dict[str, Any]] = desk.server.post("/flow_runs/filter", body)
    return found


def standing(desk: Desk) -> dict[str, Any]:
    """What any write would change: when each deployment was written to, its scheduled runs, the release."""
    live = desk.live()
    return {
        "updated": {name: deployment["updated"] for name, deployment in live.items()},
        "scheduled": {name: desk.scheduled(deployment["id"]) for name, deployment in live.items()},
        "releases": desk.meta_flows("releases", "--json").stdout,
    }


@on_postgresql
def test_a_change_by_hand_is_gone_within_two_ticks_and_otherwise_ticks_write_nothing(
    ticking: Desk, worker: Worker
) -> None:
    wait_until(lambda: len(ticks(ticking)) >= 1, timeout=240)
    before, seen = standing(ticking), len(ticks(ticking))
    wait_until(lambda: len(ticks(ticking)) >= seen + 2, timeout=240)
    assert standing(ticking) == before
    assert {tick["state"]["name"] for tick in ticks(ticking)} == {"InSync"}

    deployment = ticking.live()["a-python-dev"]
    ticking.server.patch(f"/deployments/{deployment['id']}", {"description": "Typed in the UI."})
    changed, seen = ticking.live()["a-python-dev"]["updated"], len(ticks(ticking))
    wait_until(lambda: ticking.live()["a-python-dev"]["description"] == deployment["description"], timeout=240)
    wait_until(lambda: "Repaired" in [tick["state"]["name"] for tick in ticks(ticking)], timeout=120)
    later = [tick for tick in ticks(ticking)[seen:] if tick["start_time"] > changed]
    assert "Repaired" in [tick["state"]["name"] for tick in later[:2]]
    after = standing(ticking)
    others = ("b-python-dev", "c-python-dev")  # any write to a deployment, ours too, deletes its scheduled runs
    assert [after["scheduled"][name] for name in others] == [before["scheduled"][name] for name in others]
    assert {name for name, at in after["updated"].items() if at != before["updated"][name]} == {"a-python-dev"}
