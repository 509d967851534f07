"""What looking costs: requests, however many deployments there are and however often they run."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from meta_flows.local_server import connect
from meta_flows.prefect_api import health as activity
from meta_flows.prefect_api.connection import client
from meta_flows.prefect_api.reads import read_owned_deployments
from tests.deployed import Deployed
from tests.system.faults.proxy import Proxy


def requests(deployed: Deployed, *words: str) -> Counter[str]:
    """The requests of a command."""
    with Proxy(deployed.server.api_url) as proxy:
        done = deployed.shop.meta_flows(*words, "--api-url", proxy.api_url)
        assert done.returncode == 0, done.stdout + done.stderr
        return proxy.counts()


def test_status_asks_each_question_once(deployed: Deployed) -> None:
    deployed.run_ended("a", "COMPLETED")
    asked = requests(deployed, "status", "--json")
    assert asked.pop("GET /api/admin/version", 0) <= 2
    assert {request: count for request, count in asked.items() if request.startswith("POST")} == {
        "POST /api/block_documents/filter": 1,
        "POST /api/deployments/filter": 1,
        "POST /api/flows/filter": 1,
        "POST /api/work_pools/filter": 1,
        f"POST /api/work_pools/{deployed.shop.project}/queues/filter": 1,
        "POST /api/flow_runs/filter": 3,
    }
    assert asked.total() <= 12


def test_a_deployment_that_runs_all_the_time_hides_no_other(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "PAGE", 4)
    monkeypatch.setattr(activity, "AT_A_TIME", 2)
    deployed.run_ended("b", "FAILED")
    deployed.run_ended("b", "COMPLETED")
    for _ in range(9):
        deployed.run_ended("a", "COMPLETED")
    with connect(root=deployed.shop.root) as target, client() as api:
        live = read_owned_deployments(api, target.ownership).values()
        found = {item.name[0]: activity.read_finished_runs(api, live).get(item.id, ()) for item in live}
    assert {letter: [run.state for run in runs] for letter, runs in found.items()} == {
        "a": ["Completed"] * 3,
        "b": ["Completed", "Failed"],
        "c": [],
    }


def test_status_says_how_everything_is_and_exits_0(deployed: Deployed) -> None:
    deployed.run_ended("a", "FAILED")
    deployed.change("b", description="Typed in the UI.")
    deployed.server.delete(f"/deployments/{deployed.id('c')}")
    done = deployed.shop.meta_flows("status", "--json")
    rows = {item["name"][0]: item for item in json.loads(done.stdout)["deployments"]}
    assert done.returncode == 0
    assert {letter: row["state"] for letter, row in rows.items()} == {"a": "InSync", "b": "Drifted", "c": "Missing"}
    assert rows["a"]["health"]["status"] == "Unhealthy" and rows["c"]["health"] is None
    assert rows["a"]["health"]["last_run"]["state"] == "Failed"
    short = deployed.shop.meta_flows("status")
    assert "Unhealthy" in short.stdout and "the last run failed at" in short.stderr
    wide = deployed.shop.meta_flows("status", "-o", "wide").stdout
    assert "Unhealthy: the last run failed at" in wide
    assert f"/v2/deployments/deployment/{deployed.id('a')}" in wide
    [heading, only, _] = deployed.shop.meta_flows("status", "a").stdout.splitlines()
    assert (heading.split()[0], only.split()[0]) == ("deployment", "a-python-dev")
    unknown = deployed.shop.meta_flows("status", "--flow", "x")
    assert (unknown.returncode, "MF109" in unknown.stderr) == (1, True)


def test_status_of_what_was_never_released_is_known_to_nobody(deployed: Deployed) -> None:
    flow = deployed.server.post("/flows/", {"name": "by-hand"})["id"]
    tags = [f"project:{deployed.shop.project}", "environment:development"]
    deployed.server.post("/deployments/", {"flow_id": flow, "name": "x", "tags": tags})
    rows = json.loads(deployed.shop.meta_flows("status", "--json").stdout)["deployments"]
    assert {row["name"]: row["state"] for row in rows}["x"] == "Unreleased"
