"""What `check-ui` says of each fault, on a real server: what fails it, and what it only warns of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.server import started_database
from tests.deployed import Deployed, messages
from tests.servers import Command, Server, free_port, started_server
from tests.shops import Shop
from tests.waiting import wait_until


def artifact(server: Server, key: str) -> str:
    """The newest report under a key."""
    text: str = server.get(f"/artifacts/{key}/latest")["data"]
    return text


def test_what_is_as_released_and_does_well_is_verified(deployed: Deployed) -> None:
    code, result = deployed.check()
    assert (code, result["state"]) == (0, "Verified")
    assert result["message"] == "3 in sync; 3 healthy"
    assert [item["state"] for item in result["outcomes"]] == ["InSync"] * 3
    assert all(item["health"]["next_run"] for item in result["outcomes"])
    report = artifact(deployed.server, f"check-ui--{deployed.shop.project}--development")
    assert report.startswith("# Verified: development")
    assert "| deployment | sync | health | schedule | next run |" in report


@pytest.mark.system
def test_it_waits_for_a_scheduler_that_has_not_come_by_yet(
    tmp_path: Path, unscheduled_server: Server, command: Command
) -> None:
    deployed = Deployed(tmp_path / "shop", unscheduled_server, command)
    with ThreadPoolExecutor() as pool:
        checking = pool.submit(deployed.check, "--wait", "120", NO_COLOR="1")
        under_way = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}, "flows": {"name": {"any_": ["check-ui"]}}}
        wait_until(lambda: unscheduled_server.post("/flow_runs/filter", under_way))
        for letter in "abc":
            unscheduled_server.post(f"/deployments/{deployed.id(letter)}/schedule", {"min_runs": 3})
        _, result = checking.result()
    assert messages(result["refused"]).keys() == {"MF712"}
    assert all(item["health"]["next_run"] for item in result["outcomes"])


@pytest.mark.system
def test_a_yearly_schedule_has_no_run_yet_and_needs_none(deployed: Deployed) -> None:
    far = f"0 6 1 {(datetime.now().month + 5) % 12 + 1} *"
    deployed.shop.write("flows/a/deployment.yaml", {"schedules": [{"cron": far}]})
    deployed.shop.deploy()
    deployed.work()
    code, result = deployed.check()
    assert (code, result["message"]) == (0, "3 in sync; 3 healthy")
    assert result["outcomes"][0]["health"]["next_run"] is None


def test_a_deleted_deployment_fails_it_and_its_run(deployed: Deployed) -> None:
    deployed.server.delete(f"/deployments/{deployed.id('b')}")
    assert deployed.failures() == {
        "MF701": f"deployment '{deployed.shop.project.replace('-', '_')}_b/b-python-dev' was released, "
        "but is no longer on the server"
    }
    found = {"flow_runs": {"state": {"name": {"any_": ["NotVerified"]}}}, "flows": {"name": {"any_": ["check-ui"]}}}
    runs = deployed.server.post("/flow_runs/filter", found)
    assert {(run["state_type"], run["name"]) for run in runs} == {("FAILED", "check development")}


def test_what_was_changed_by_hand_fails_it_field_by_field(deployed: Deployed) -> None:
    deployed.change("c", description="Typed in the UI.", version="mine", entrypoint="else.py:where", tags=[])
    failures = deployed.failures()
    assert failures.keys() == {"MF702"}
    assert failures["MF702"].endswith("differs from its release: description, entrypoint, tags, version")


def test_nothing_released_is_nothing_verified(shop: Shop) -> None:
    done = shop.meta_flows("check-ui")
    assert done.returncode == 1
    assert "MF704 environment 'development' has no release" in done.stderr


def test_a_server_that_is_down_is_named(shop: Shop) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    for command in ("check-ui", "status"):
        done = shop.meta_flows(command, "--api-url", url)
        assert (done.returncode, f"MF401 no Prefect server answers at {url}" in done.stderr) == (1, True)


@pytest.mark.system
def test_a_scheduler_that_does_nothing_and_a_ui_that_asks_nobody_are_both_named(
    tmp_path: Path, unscheduled_server: Server, command: Command
) -> None:
    deployed = Deployed(tmp_path / "shop", unscheduled_server, command)
    deployed.shop.write("flows/a/deployment.yaml", {"parameters": {"count": 3}})  # without a schedule
    deployed.shop.deploy()
    deployed.work()
    failures = deployed.failures("--wait", "1")
    assert failures.keys() == {"MF703", "MF712"}
    assert failures["MF703"] == "no run is scheduled for schedules 'default of b-python-dev', 'default of c-python-dev'"
    assert "makes browsers call http://127.0.0.1:9/api" in failures["MF712"]


def test_what_operators_hold_back_is_a_warning_and_what_the_repository_holds_back_is_none(deployed: Deployed) -> None:
    """Each kind of it once; which word and which severity each has is decided by pure rules, and tested with them."""
    deployed.shop.write("flows/c/deployment.yaml", {"schedules": [{"cron": "0 6 * * *", "active": False}]})
    deployed.shop.deploy()
    deployed.work()
    assert deployed.warnings() == {}

    deployed.change_schedule("a", active=False)
    deployed.change("b", paused=True)
    assert deployed.warnings() == {
        "MF731": "b-python-dev: an operator has paused the deployment",
        "MF732": "a-python-dev: an operator has paused schedule 'default'",
    }
    deployed.server.patch(f"{deployed.pool}/queues/default", {"is_paused": True})
    assert "work queue 'default' of" in deployed.warnings()["MF411"]
    deployed.server.patch(f"{deployed.pool}/queues/default", {"is_paused": False})
    deployed.server.patch(deployed.pool, {"is_paused": True})
    assert deployed.warnings()["MF411"].startswith(
        f"a-python-dev and 2 more: work pool '{deployed.shop.project}' is paused"
    )


def test_no_worker_yet_is_a_warning(tmp_path: Path, server: Server, command: Command) -> None:
    warnings = Deployed(tmp_path / "shop", server, command).warnings()
    assert warnings.keys() == {"MF412"}
    assert warnings["MF412"].startswith("a-python-dev and 2 more: no worker polls work pool")


def test_failed_runs_and_a_run_that_waits_are_warnings(deployed: Deployed) -> None:
    for state in ("COMPLETED", "CRASHED", "CANCELLED"):
        deployed.run_ended("a", state)
    for _ in range(4):
        deployed.run_ended("b", "FAILED")
    deployed.run_late("c")
    code, result = deployed.check()
    assert (code, deployed.health(result)) == (0, {"a": "Degraded", "b": "Unhealthy", "c": "Degraded"})
    crashed, failed, late = sorted(item["message"] for item in result["warnings"])
    assert crashed.startswith("a-python-dev: the last run crashed at ")
    assert failed.startswith("b-python-dev: none of the last 3 runs succeeded, and the last failed at ")
    assert late.startswith("c-python-dev: a run that should have started at ")


@pytest.mark.system
def test_a_deploy_says_how_what_it_deployed_does(deployed: Deployed) -> None:
    deployed.run_ended("a", "FAILED")
    assert deployed.health(deployed.shop.deploy()) == {"a": "Unhealthy", "b": "Healthy", "c": "Healthy"}
    deployed.shop.write("flows/b/deployment.yaml", {"schedules": [{"cron": "0 7 * * *"}]})
    changed = deployed.shop.deploy()
    assert changed["state"] == "Deployed"
    assert changed["outcomes"][1]["health"]["status"] in ("Progressing", "Healthy")  # it waits for no scheduler
    assert "| Unhealthy: the last run failed at " in artifact(
        deployed.server, f"deploy--{deployed.shop.project}--development"
    )
    planned = deployed.shop.meta_flows("plan")
    assert "health" in planned.stdout  # nothing is to be changed, so it is how things are
    deployed.shop.write("flows/b/deployment.yaml", {})
    assert "health" not in deployed.shop.meta_flows("plan").stdout


@pytest.mark.system
def test_all_of_it_works_with_postgresql(tmp_path: Path, command: Command) -> None:
    with (
        TemporaryDirectory() as folder,  # PostgreSQL runs as another user, who may not enter tmp_path
        started_database(Path(folder), "postgresql") as url,
        started_server(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=str(url)) as server,
    ):
        deployed = Deployed(tmp_path / "shop", server, command)
        deployed.work()
        code, result = deployed.check()
        assert (code, result["message"]) == (0, "3 in sync; 3 healthy")
        deployed.run_ended("a", "FAILED")
        deployed.change("b", description="Typed in the UI.")
        code, result = deployed.check()
        assert (code, [item["code"] for item in result["refused"]]) == (1, ["MF702"])
        assert deployed.health(result)["a"] == "Unhealthy"
        wait_until(lambda: deployed.server.scheduled_runs(deployed.id("b")))
