"""`meta-flows reconcile`: live is brought back to what was released, and to nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.server.deploying.test_deploy import states
from tests.shops import Shop
from tests.waiting import wait_until


def reconcile(shop: Shop, *words: str) -> dict[str, Any]:
    done = shop.meta_flows("reconcile", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def drifted(shop: Shop) -> Shop:
    """A deployed shop in which somebody has changed a and deleted b."""
    shop.deploy()
    live = shop.live()
    shop.server.patch(f"/deployments/{live['a-python-dev']['id']}", {"parameters": {"count": 99}})
    shop.server.delete(f"/deployments/{live['b-python-dev']['id']}")
    return shop


def test_drift_is_reported_with_what_from_to_and_when_and_left_alone(drifted: Shop) -> None:
    before = drifted.live()
    result = reconcile(drifted, "--policy", "report")
    assert result["state"] == "Drifted"
    (change,) = (item for item in result["outcomes"] if item["name"] == "a-python-dev")
    assert change["fields"] == [{"path": "parameters.count", "old": 99, "new": 2, "drift": True}]
    assert change["updated"][:19] == before["a-python-dev"]["updated"][:19]
    assert drifted.live() == before
    assert drifted.meta_flows("reconcile", "--policy", "report", "--detailed-exitcode").returncode == 2


def test_drift_is_repaired_from_the_release_and_not_from_what_is_checked_out(drifted: Shop) -> None:
    drifted.write("flows/c/deployment.yaml", {"description": "not deployed yet"})
    result = reconcile(drifted)
    assert result["state"] == "Repaired"
    assert states(result) == {"a-python-dev": "Updated", "b-python-dev": "Created", "c-python-dev": "Unchanged"}
    live = drifted.live()
    assert live["a-python-dev"]["parameters"] == {"count": 2}
    assert live["c-python-dev"]["description"] == "Counts."
    assert reconcile(drifted)["state"] == "InSync"
    releases = json.loads(drifted.meta_flows("releases", "--json").stdout)["releases"]
    assert [item["by"] for item in releases] == ["deploy-all"]


def test_what_operators_pause_or_add_is_no_drift(shop: Shop) -> None:
    shop.deploy()
    deployment = shop.live()["a-python-dev"]
    path = f"/deployments/{deployment['id']}"
    schedule = deployment["schedules"][0]["id"]
    shop.server.patch(path, {"paused": True, "tags": [*deployment["tags"], "watched"]})
    shop.server.patch(f"{path}/schedules/{schedule}", {"active": False})
    before = shop.live()
    assert reconcile(shop)["state"] == "InSync"
    assert shop.live() == before


def test_an_environment_in_sync_is_not_written_to(shop: Shop) -> None:
    shop.deploy()
    before = shop.live()
    wait_until(lambda: shop.server.scheduled_runs(before["a-python-dev"]["id"]))
    runs = shop.server.scheduled_runs(before["a-python-dev"]["id"])
    assert reconcile(shop)["state"] == "InSync"
    assert shop.live() == before
    assert shop.server.scheduled_runs(before["a-python-dev"]["id"]) == runs


@pytest.mark.system
def test_a_rolled_back_release_stays_rolled_back(shop: Shop) -> None:
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"parameters": {"count": 5}})
    shop.deploy()
    assert shop.meta_flows("rollback").returncode == 0
    assert reconcile(shop)["state"] == "InSync"
    assert shop.live()["a-python-dev"]["parameters"] == {"count": 2}


def test_reconciliation_can_be_suspended_and_resumed(drifted: Shop) -> None:
    assert drifted.meta_flows("suspend").returncode == 0
    before = drifted.live()
    assert reconcile(drifted)["state"] == "Suspended"
    assert drifted.live() == before
    assert drifted.meta_flows("suspend", "--resume").returncode == 0
    assert reconcile(drifted)["state"] == "Repaired"


def test_nothing_is_done_where_nothing_was_released(shop: Shop) -> None:
    result = reconcile(shop)
    assert result["state"] == "InSync"
    assert result["notes"] == ["nothing was released yet"]


def git(shop: Shop, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *identity, *words], cwd=shop.root, check=True, capture_output=True)


@pytest.mark.system
def test_by_policy_a_branch_is_deployed_and_not_what_is_checked_out(shop: Shop) -> None:
    source = {"type": "git", "repository": str(shop.root)}
    shop.write("environments/development.yaml", {"source": source, "reconcile": {"policy": "deploy", "branch": "live"}})
    git(shop, "init", "-q", "-b", "live")
    git(shop, "add", ".")
    git(shop, "commit", "-q", "-m", "first")
    shop.write("flows/a/deployment.yaml", {"description": "uncommitted"})
    result = reconcile(shop)
    assert result["state"] == "Deployed"
    (run,) = runs_of_reconcile(shop)
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Deployed")
    live = shop.live()["a-python-dev"]
    assert live["description"] == "Counts."
    assert live["pull_steps"][0]["prefect.deployments.steps.git_clone"]["repository"] == str(shop.root)
    assert reconcile(shop)["state"] == "InSync"


def test_a_branch_that_cannot_be_deployed_whole_ends_the_run_as_a_deploy_of_it_would(shop: Shop) -> None:
    source = {"type": "git", "repository": str(shop.root)}
    shop.write("environments/development.yaml", {"source": source, "reconcile": {"policy": "deploy", "branch": "live"}})
    shop.write("flows/a/deployment.yaml", {"parameters": {"unknown": 1}})
    git(shop, "init", "-q", "-b", "live")
    git(shop, "add", ".")
    git(shop, "commit", "-q", "-m", "first")
    done = shop.meta_flows("reconcile", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["state"], len(result["outcomes"])) == ("Incomplete", 2)
    (run,) = runs_of_reconcile(shop)
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Incomplete")


def runs_of_reconcile(shop: Shop) -> list[dict[str, Any]]:
    """All of them that the shop's server has, of this shop."""
    runs = shop.server.post("/flow_runs/filter", {"flows": {"name": {"any_": ["reconcile"]}}, "limit": 200})
    return [run for run in runs if run["parameters"].get("root") == str(shop.root)]


def test_a_branch_of_a_local_folder_cannot_be_deployed(shop: Shop) -> None:
    refused = shop.meta_flows("reconcile", "--policy", "deploy")
    assert refused.returncode == 1
    assert "MF521" in refused.stderr
