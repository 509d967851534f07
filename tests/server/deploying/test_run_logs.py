"""The log of a meta-flow's run in the Prefect UI: what it did, in lines of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prefect import flow, task

from tests.shops import Shop
from tests.waiting import wait_until


def log(shop: Shop, run_link: str, until: Callable[[str], bool]) -> list[str]:
    """The messages of a run's log, once there is one that its last lines have."""
    body = {"logs": {"flow_run_id": {"any_": [run_link.rpartition("/")[2]]}}, "sort": "TIMESTAMP_ASC", "limit": 200}

    def arrived() -> list[str]:
        lines = [line["message"] for line in shop.server.post("/logs/filter", body)]
        return lines if any(map(until, lines)) else []

    return wait_until(arrived)


def finished(line: str) -> bool:
    return line.startswith("Finished in state ")


def test_the_log_of_a_deploy_names_what_it_did_and_the_end_of_the_run_only(shop: Shop) -> None:
    shop.deploy("--flow", "a")
    shop.write("flows/a/deployment.yaml", {"parameters": {"count": 3}})
    result: dict[str, Any] = shop.deploy()
    lines = log(shop, result["run_link"], finished)
    assert {"Created b-python-dev", "Created c-python-dev"} <= {*lines}
    assert "parameters.count: 2 -> 3" in lines
    assert any(line.startswith("Updated a-python-dev: ") for line in lines)
    assert [line.partition("(")[0] for line in lines if finished(line)] == ["Finished in state Deployed"]


def test_the_log_of_a_deploy_that_fails_keeps_every_failure(shop: Shop) -> None:
    shop.write("flows/b/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    done = shop.meta_flows("deploy", "--json")
    lines = log(shop, json.loads(done.stdout)["run_link"], lambda line: "Finished in state RolledBack" in line)
    assert any(line.startswith("Finished in state Failed") for line in lines)
    assert not any(line.startswith("Finished in state Completed") for line in lines)


def test_the_logs_of_other_flows_in_the_same_process_keep_every_line(shop: Shop) -> None:
    @task
    def ours() -> int:
        return 1

    @flow
    def theirs() -> str:
        from prefect.runtime import flow_run

        ours()
        return str(flow_run.id)

    from meta_flows import connect

    with connect(root=shop.root):
        run = theirs()
    lines = log(shop, run, finished)
    assert sum(line == "Finished in state Completed()" for line in lines) == 2
