"""`register`: the meta-flows as deployments that people run from the Prefect UI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meta_flows.configuration import load_environment
from meta_flows.desired.registration import META_FLOWS
from tests.desks import Desk, refused
from tests.servers import started_server
from tests.waiting import wait_until

HERE = Path(__file__).parents[3]
NAMES = {name.replace("_", "-") for name in META_FLOWS}


def test_each_environment_gets_a_deployment_of_each_meta_flow(desk: Desk) -> None:
    assert desk.register("--all-environments") == {
        f"{name}-{short}": "Created" for name in NAMES for short in ("dev", "staging", "prod")
    }
    assert set(desk.registered("staging")) == {f"{name}-staging" for name in NAMES}


@pytest.mark.system
def test_a_second_environment_on_another_server_has_the_steps_of_its_run_there(desk: Desk, tmp_path: Path) -> None:
    with started_server(tmp_path) as other:
        for name in ("staging", "production"):
            server = other.api_url if name == "production" else desk.server.api_url
            desk.write(f"environments/{name}.yaml", {"prefect_api_url": server})
        assert set(desk.register("--all-environments").values()) == {"Created"}
        named = {"name": {"any_": ["register meta-flows for production"]}}
        [run] = other.post("/flow_runs/filter", {"flow_runs": named})
        task_runs = {"task_runs": {"flow_run_id": {"any_": [run["id"]]}}}
        wait_until(lambda: "verify production" in {step["name"] for step in other.post("/task_runs/filter", task_runs)})


def test_registering_again_writes_nothing_and_keeps_what_is_scheduled_and_paused(desk: Desk) -> None:
    desk.write("environments/staging.yaml", {"reconcile": {"schedule": {"cron": "0 * * * *"}}})
    desk.register("-e", "staging")
    reconcile = desk.registered("staging")["reconcile-staging"]
    scheduled = desk.scheduled(reconcile["id"])
    assert scheduled
    assert set(desk.register("-e", "staging").values()) == {"Unchanged"}
    assert desk.server.scheduled_runs(reconcile["id"]) == scheduled
    schedule = reconcile["schedules"][0]
    desk.server.patch(f"/deployments/{reconcile['id']}/schedules/{schedule['id']}", {"active": False})
    desk.write("environments/staging.yaml", {"reconcile": {"schedule": {"cron": "30 * * * *"}}})
    assert desk.register("-e", "staging")["reconcile-staging"] == "Updated"
    [now] = desk.registered("staging")["reconcile-staging"]["schedules"]
    assert (now["id"], now["schedule"]["cron"], now["active"]) == (schedule["id"], "30 * * * *", False)


def test_reconcile_is_scheduled_everywhere_but_in_development(desk: Desk) -> None:
    desk.register("--all-environments")
    crons = {
        environment: [item["schedule"]["cron"] for item in desk.registered(environment)[name]["schedules"]]
        for environment, name in (("development", "reconcile-dev"), ("production", "reconcile-prod"))
    }
    assert crons == {"development": [], "production": ["*/15 * * * *"]}


def test_the_form_offers_the_flows_and_kinds_that_the_repository_has(desk: Desk) -> None:
    desk.register()
    fields = desk.registered()["deploy-all-dev"]["parameter_openapi_schema"]["properties"]
    assert fields["flows"]["items"]["enum"] == ["a", "b", "c"]
    assert fields["kinds"]["items"]["enum"] == ["python"]
    assert not {"root", "plan_digest", "approved"}.intersection(fields)
    assert all(field["title"] and field["description"] for field in fields.values())
    desk.add_flow("d")
    assert desk.register()["deploy-all-dev"] == "Updated"
    assert (
        "d" in desk.registered()["deploy-all-dev"]["parameter_openapi_schema"]["properties"]["flows"]["items"]["enum"]
    )


@pytest.mark.parametrize("wrong", [{"environment": "production"}, {"flows": ["x"]}, {"kinds": ["k8s"]}, {"dry_run": 3}])
def test_the_form_refuses_what_is_not_offered(desk: Desk, wrong: dict[str, object]) -> None:
    desk.register()
    assert next(iter(wrong)) in refused(desk, "deploy-all-dev", wrong)


def test_a_run_given_another_environment_with_enforcement_off_is_refused_by_its_first_task(
    desk: Desk, worker: subprocess.Popen[bytes]
) -> None:
    deployment = desk.registered()["deploy-all-dev"]
    body = {"parameters": {"environment": "production"}, "enforce_parameter_schema": False}
    run = desk.server.post(f"/deployments/{deployment['id']}/create_flow_run", body)["id"]
    assert desk.settled(run) == "Failed"
    wait_until(lambda: any("MF522" in line for line in desk.logs(run)))  # the last lines come after the state
    assert desk.live() == {}


def test_no_deploy_prunes_or_cleans_the_meta_flows(desk: Desk) -> None:
    desk.register()
    desk.deploy("--prune")
    assert desk.meta_flows("clean").returncode == 0
    assert len(desk.registered()) == len(META_FLOWS)
    assert desk.live() == {}


def test_a_meta_flow_that_this_version_no_longer_has_goes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.register()
    monkeypatch.setattr("meta_flows.tasks.preparation.META_FLOWS", META_FLOWS[:-1])
    assert desk.register()[f"{META_FLOWS[-1].replace('_', '-')}-dev"] == "Deleted"
    assert len(desk.registered()) == len(META_FLOWS) - 1


def test_a_pool_of_their_own_is_made_where_it_is_missing_and_polled_with_the_others(desk: Desk) -> None:
    own = f"{desk.project}-meta-flows"
    desk.write("environments/development.yaml", {"registration": {"work_pool": own}})
    desk.register()
    assert desk.server.get(f"/work_pools/{own}")["type"] == "process"
    assert {found["work_pool_name"] for found in desk.registered().values()} == {own}
    assert {pool.name for pool in load_environment(desk.root, "development").pools} == {own, desk.pool}


def test_names_that_somebody_else_has_are_refused_before_the_first_write(desk: Desk) -> None:
    desk.register()
    before = desk.registered()
    desk.write("environments/defaults.yaml", {**desk.defaults, "project": "another"})
    done = desk.meta_flows("register")
    assert done.returncode == 1
    assert "MF523" in done.stderr
    assert desk.registered() == before


@pytest.fixture
def old_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prefect that carries out no pull steps for a module, as 3.4 is."""
    monkeypatch.setattr("meta_flows.prefect_api.compat.pulls_code_for_modules", lambda: False)


@pytest.mark.usefixtures("old_prefect")
def test_where_no_run_clones_for_a_module_registering_from_git_is_refused(desk: Desk) -> None:
    desk.write(
        "environments/development.yaml", {"source": {"type": "git", "repository": "https://git.example.com/x.git"}}
    )
    done = desk.meta_flows("register")
    assert done.returncode == 1
    assert "MF409" in done.stderr
    assert desk.registered() == {}


@pytest.mark.usefixtures("old_prefect")
def test_where_no_step_enters_the_folder_for_a_module_the_worker_starts_there(desk: Desk) -> None:
    desk.register()
    assert desk.registered()["deploy-all-dev"]["job_variables"]["working_dir"] == str(desk.root)


def test_with_a_git_source_a_meta_flow_clones_the_branch_and_not_a_commit(desk: Desk) -> None:
    source = {"type": "git", "repository": "https://git.example.com/flows.git", "branch": "main"}
    desk.write("environments/development.yaml", {"source": source})
    desk.register()
    [clone] = desk.registered()["deploy-all-dev"]["pull_steps"]
    step = clone["prefect.deployments.steps.git_clone"]
    assert (step["repository"], step["branch"]) == (source["repository"], "main")
    assert "commit_sha" not in step


def test_runs_of_one_meta_flow_wait_for_each_other(desk: Desk) -> None:
    desk.register()
    deployment = desk.registered()["deploy-all-dev"]
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"


@pytest.mark.system
def test_stock_prefect_registers_the_same_from_our_prefect_yaml(desk: Desk) -> None:
    environments = {path.name: yaml.safe_load(path.read_text()) for path in (HERE / "environments").glob("*.yaml")}
    for name, content in environments.items():
        desk.write(f"environments/{name}", {**content, "prefect_api_url": desk.server.api_url})
    desk.project = environments["defaults.yaml"]["project"]  # the server has no other registrations of this name
    desk.write("prefect.yaml", (HERE / "prefect.yaml").read_text())
    names = ("dev-python", "staging-meta-flows", "prod-python")
    for pool in names:
        desk.server.post("/work_pools/", {"name": pool, "type": "process"})
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=desk.root,
        env={**os.environ, "PREFECT_API_URL": desk.server.api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before = {name: desk.registered(name) for name in ("development", "staging", "production")}
    assert set(desk.register("--all-environments").values()) <= {"Updated"}
    for environment, stock in before.items():
        ours = desk.registered(environment)
        assert set(ours) == set(stock)
        for name, deployment in ours.items():
            alike = ("id", "entrypoint", "parameters", "work_pool_name", "pull_steps", "concurrency_options")
            assert {key: stock[name][key] for key in alike} == {key: deployment[key] for key in alike}
            assert set(stock[name]["tags"]) == set(deployment["tags"])
            assert len(stock[name]["schedules"]) == len(deployment["schedules"])
