"""A deploy of many changes, as the UI shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meta_flows.tasks import shell
from tests.server.deploying.test_deploy import states
from tests.shops import Shop
from tests.waiting import wait_until


@pytest.fixture
def shop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose three deployments are many changes."""
    monkeypatch.setattr(shell, "SINGLE", 2)
    shop.write("environments/development.yaml", {"work_pools": {"python": shop.project}})
    return shop


def task_runs(shop: Shop, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The task runs of a deploy by name, once the last one has arrived."""
    of_run = {"task_runs": {"flow_run_id": {"any_": [run_id(result)]}}}

    def found() -> dict[str, dict[str, Any]]:
        runs = {item["name"]: item for item in shop.server.post("/task_runs/filter", of_run)}
        return runs if "report" in runs and all(item["end_time"] for item in runs.values()) else {}

    return wait_until(found)


def run_id(result: dict[str, Any]) -> str:
    return str(result["run_link"]).rpartition("/")[2]


def test_many_changes_share_a_task_run_that_logs_each_and_counts_them(shop: Shop) -> None:
    result = shop.deploy()
    steps = task_runs(shop, result)
    state = steps["apply 4 changes"]["state"]
    assert (state["type"], state["name"], state["message"]) == ("COMPLETED", "Applied", "4 created")
    assert not {"apply a-python-dev", "apply b-python-dev", "apply c-python-dev"} & steps.keys()
    shop.write("flows/a/deployment.yaml", {"description": "new", "tags": ["x"]})
    for letter in "bc":
        shop.write(f"flows/{letter}/deployment.yaml", {"description": "new", "schedules": [{"cron": "0 6 * * *"}]})
    changed = shop.deploy()
    assert task_runs(shop, changed)["apply 3 changes"]["state"]["message"] == "3 updated"
    of_run = {"logs": {"flow_run_id": {"any_": [run_id(changed)]}}, "limit": 200}
    lines = {line["message"] for line in shop.server.post("/logs/filter", of_run)}
    assert "Updated b-python-dev: description, parameters.count" in lines


def test_deletions_are_a_batch_of_their_own_and_counted_by_themselves(shop: Shop) -> None:
    shop.deploy()
    for letter in "abc":
        shop.remove(f"flows/{letter}")
    for letter in "defg":
        shop.add_flow(letter)
    steps = task_runs(shop, shop.deploy("--prune", "--prune-limit", "1"))
    assert steps["apply 4 changes"]["state"]["message"] == "4 created"
    assert steps["apply 3 changes"]["state"]["message"] == "3 deleted"


def test_a_change_that_fails_among_many_is_named_and_has_a_task_run_of_its_own(shop: Shop) -> None:
    shop.write("flows/b/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    done = shop.meta_flows("deploy", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["state"]) == (1, "RolledBack")
    steps = task_runs(shop, result)
    batch = steps["apply 4 changes"]["state"]
    assert (batch["type"], batch["message"].partition("/b-python-dev: ")[0]) == (
        "FAILED",
        f"1 of 4 changes failed: {shop.project.replace('-', '_')}_b",
    )
    assert steps["apply b-python-dev"]["state"]["type"] == "FAILED"
    assert states(result) == {
        "a-python-dev": "RolledBack",
        "b-python-dev": "Failed",
        "c-python-dev": "NotTried",
    }
