"""Everything that is done to deployments, each command in a process of its own: what it imports is all it has."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.servers import Command, Server
from tests.shops import Shop
from tests.system.operating.test_running import worker


def test_a_deployment_lives_through_all_that_is_done_to_it(tmp_path: Path, server: Server, command: Command) -> None:
    live_through_it_all(Shop(tmp_path / "shop", server, command), sys.executable, tmp_path / "worker")


def live_through_it_all(shop: Shop, python: str, worker_folder: Path) -> None:
    """Deploy, run, plan, change, roll back, drift, reconcile, clean; the worker's Prefect is the interpreter's."""
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})

    def asked(command: str) -> Any:
        done = shop.meta_flows(*command.split(), "--json", NO_COLOR="1")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def description() -> str:
        text: str = shop.live()["a-python-dev"]["description"]
        return text

    assert asked("deploy")["message"] == f"3 created, work pool {shop.project} created"
    with worker(shop, worker_folder, python):
        assert asked("validate -e dev")["errors"] == []
        assert asked("run a --timeout 170")["state"] == "Completed"
    night = {"slug": "night", "cron": "0 3 * * *", "parameters": {"count": 3}}
    shop.write("flows/a/deployment.yaml", {"description": "second", "schedules": [night]})
    assert asked("plan")["state"] == "Planned"
    assert description() == "Counts."
    assert asked("deploy")["message"] == "1 updated, 2 unchanged"
    assert description() == "second"
    (schedule,) = shop.live()["a-python-dev"]["schedules"]
    assert (schedule["slug"], schedule["parameters"]) == ("night", {"count": 3})
    assert asked("rollback")["state"] == "Restored"
    assert description() == "Counts."
    assert [item["slug"] for item in shop.live()["a-python-dev"]["schedules"]] == ["default"]
    shop.server.patch(f"/deployments/{shop.live()['a-python-dev']['id']}", {"description": "by hand"})
    assert asked("reconcile --policy repair")["state"] == "Repaired"
    assert description() == "Counts."
    assert len(asked("releases")["releases"]) == 3
    assert asked("unlock")["unlocked"] is False
    assert asked("clean -e dev")["state"] == "Cleaned"
    assert shop.live() == {}
