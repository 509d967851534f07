"""What `check-ui` says of each fault, on a real server: what fails it, and what it only warns of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.server import started_database
from tests.checking.conftest import Deployed, messages
from tests.conftest import Server, free_port, started_server
from tests.deploying.conftest import Command, Shop
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
    report = artifact(deployed.server, f"check-ui-{deployed.shop.project}-development")
    assert report.startswith("# Verified: development")
    assert "| deployment | sync | health | schedule | next run |" in report


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
        "and is not on the server"
    }
    found = {"flow_runs": {"state": {"name": {"any_": ["NotVerified"]}}}, "flows": {"name": {"any_": ["check-ui"]}}}
    runs = deployed.server.post("/flow_runs/filter", found)
    assert {(run["state_type"], run["name"]) for run in runs} == {("FAILED", "check development")}


def test_what_was_changed_by_hand_fails_it_field_by_field(deployed: Deployed) -> None:
    deployed.change("c", description="Typed in the UI.", version="mine", entrypoint="else.py:where", tags=[])
    failures = deployed.failures()
    assert failures.keys() == {"MF702"}
    assert failures["MF702"].endswith("was changed by hand: description, entrypoint, tags, version")


def test_nothing_released_is_nothing_verified(shop: Shop) -> None:
    done = shop.meta_flows("check-ui")
    assert done.returncode == 1
    assert "MF704 environment 'development' has no release" in done.stderr


def test_a_server_that_is_down_is_named(shop: Shop) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    for command in ("check-ui", "status"):
        done = shop.meta_flows(command, "--api-url", url)
        assert (done.returncode, f"MF401 no Prefect server answers at {url}" in done.stderr) == (1, True)


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
    assert "lets browsers ask http://127.0.0.1:9/api" in failures["MF712"]


def test_a_schedule_paused_by_an_operator_is_a_warning(deployed: Deployed) -> None:
    deployed.change_schedule("a", active=False)
    assert deployed.warnings() == {"MF732": "a-python-dev: an operator has paused schedule 'default'"}


def test_a_schedule_that_the_repository_switches_off_is_none(deployed: Deployed) -> None:
    deployed.shop.write("flows/a/deployment.yaml", {"schedules": [{"cron": "0 6 * * *", "active": False}]})
    deployed.shop.deploy()
    deployed.work()
    assert deployed.warnings() == {}


def test_a_deployment_paused_by_an_operator_is_a_warning(deployed: Deployed) -> None:
    deployed.change("a", paused=True)
    assert deployed.warnings() == {"MF731": "a-python-dev: an operator has paused the deployment"}


def test_a_paused_pool_is_a_warning(deployed: Deployed) -> None:
    deployed.server.patch(deployed.pool, {"is_paused": True})
    warnings = deployed.warnings()
    assert warnings.keys() == {"MF411"}
    assert warnings["MF411"].startswith(f"a-python-dev and 2 more: work pool '{deployed.shop.project}' is paused")


def test_a_paused_queue_is_a_warning(deployed: Deployed) -> None:
    deployed.server.patch(f"{deployed.pool}/queues/default", {"is_paused": True})
    assert "work queue 'default' of" in deployed.warnings()["MF411"]


def test_no_worker_yet_is_a_warning(tmp_path: Path, server: Server, command: Command) -> None:
    warnings = Deployed(tmp_path / "shop", server, command).warnings()
    assert warnings.keys() == {"MF412"}
    assert warnings["MF412"].startswith("a-python-dev and 2 more: no worker polls work pool")


def test_failed_runs_are_a_warning(deployed: Deployed) -> None:
    for state in ("COMPLETED", "CRASHED", "CANCELLED"):
        deployed.run_ended("a", state)
    for _ in range(4):
        deployed.run_ended("b", "FAILED")
    code, result = deployed.check()
    assert (code, deployed.health(result)) == (0, {"a": "Degraded", "b": "Unhealthy", "c": "Healthy"})
    failed = [item["message"] for item in result["warnings"]]
    assert failed[0].startswith("a-python-dev: the last run crashed at ")
    assert failed[1].startswith("b-python-dev: none of the last 3 runs succeeded, and the last failed at ")


def test_a_run_that_waits_is_a_warning(deployed: Deployed) -> None:
    deployed.run_late("a")
    assert deployed.warnings()["MF734"].startswith("a-python-dev: a run should have started at ")


def test_a_deploy_says_how_what_it_deployed_does(deployed: Deployed) -> None:
    deployed.run_ended("a", "FAILED")
    assert deployed.health(deployed.shop.deploy()) == {"a": "Unhealthy", "b": "Healthy", "c": "Healthy"}
    deployed.shop.write("flows/b/deployment.yaml", {"schedules": [{"cron": "0 7 * * *"}]})
    changed = deployed.shop.deploy()
    assert changed["state"] == "Deployed"
    assert changed["outcomes"][1]["health"]["status"] in ("Unknown", "Healthy")  # it waits for no scheduler
    assert "| Unhealthy: the last run failed at " in artifact(
        deployed.server, f"deploy-{deployed.shop.project}-development"
    )
    planned = deployed.shop.meta_flows("plan")
    assert "health" in planned.stdout  # nothing is to be changed, so it is how things are
    deployed.shop.write("flows/b/deployment.yaml", {})
    assert "health" not in deployed.shop.meta_flows("plan").stdout


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
