"""Work pools that the environment's file describes: made, compared, repaired and taken back as deployments are."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from prefect.workers.process import ProcessWorker

from meta_flows.configuration.secrets import MASK
from tests.server.deploying.test_deploy import states
from tests.server.deploying.test_reconcile import reconcile
from tests.shops import Shop
from tests.waiting import wait_until

STREAM = "base_job_template.variables.properties.stream_output.default"


def streaming(value: bool, **more: Any) -> dict[str, Any]:
    """What is stated of a pool: one default of its template."""
    return {"base_job_template": {"variables": {"properties": {"stream_output": {"default": value}}}}, **more}


def state(shop: Shop, **stated: Any) -> None:
    """Write what is stated of the shop's own pool into the environment's file."""
    shop.write("environments/development.yaml", {"work_pools": {"python": {"name": shop.project, **stated}}})


def pool(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.server.get(f"/work_pools/{shop.project}")
    return found


def pools(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of work pools in a result."""
    return [item for item in result["outcomes"] if item["type"] == "work_pool"]


def default_of(shop: Shop, variable: str) -> Any:
    return pool(shop)["base_job_template"]["variables"]["properties"][variable].get("default")


def patch_variable(shop: Shop, variable: str, **schema: Any) -> None:
    """Change or add a variable of the pool's template by hand."""
    template = pool(shop)["base_job_template"]
    properties = template["variables"]["properties"]
    properties[variable] = {**properties.get(variable, {}), **schema}
    shop.server.patch(f"/work_pools/{shop.project}", {"base_job_template": template})


@pytest.fixture
def pooled(shop: Shop) -> Shop:
    """A shop whose flow a is deployed to a pool of its own, of which a default is stated."""
    state(shop, **streaming(False))
    for name in "bc":
        shop.remove(f"flows/{name}")
    shop.deploy()
    return shop


def test_a_stated_pool_is_made_changed_by_file_and_otherwise_left_alone(pooled: Shop) -> None:
    assert default_of(pooled, "stream_output") is False
    made = pool(pooled)
    assert set(made["base_job_template"]["job_configuration"]) == set(
        ProcessWorker.get_default_base_job_template()["job_configuration"]
    )
    deployment = pooled.live()["a-python-dev"]["id"]
    runs = wait_until(lambda: pooled.server.scheduled_runs(deployment))
    result = pooled.deploy()
    assert (result["state"], pools(result), result["release"]) == ("InSync", [], None)
    assert pool(pooled) == made

    state(pooled, **streaming(True, description="Ours.", concurrency_limit=4))
    result = pooled.deploy()
    assert result["state"] == "Deployed"
    (changed,) = pools(result)
    assert (changed["name"], changed["kind"], changed["state"]) == (pooled.project, "process", "Updated")
    assert {field["path"]: [field["old"], field["new"]] for field in changed["fields"]} == {
        "description": [None, "Ours."],
        "concurrency_limit": [None, 4],
        STREAM: [False, True],
    }
    assert changed["link"].endswith(f"/work-pools/work-pool/{pooled.project}")
    assert states(result) == {"a-python-dev": "Unchanged"}
    assert (default_of(pooled, "stream_output"), pool(pooled)["concurrency_limit"]) == (True, 4)
    assert pooled.server.scheduled_runs(deployment) == runs
    assert pooled.deploy()["state"] == "InSync"


def test_what_was_changed_by_hand_is_drift_and_repaired_and_what_nobody_states_stays(pooled: Shop) -> None:
    patch_variable(pooled, "stream_output", default=True)
    patch_variable(pooled, "by_hand", type="string")
    patch_variable(pooled, "working_dir", default="/srv")
    pooled.server.patch(f"/work_pools/{pooled.project}", {"is_paused": True, "concurrency_limit": 7})
    reported = reconcile(pooled, "--policy", "report")
    assert reported["state"] == "Drifted"
    (drifted,) = pools(reported)
    assert drifted["fields"] == [{"path": STREAM, "old": True, "new": False, "drift": True}]
    assert default_of(pooled, "stream_output") is True

    planned = pooled.meta_flows("plan")
    assert f"work pool {pooled.project}" in planned.stdout
    assert f"{STREAM}: true → false (drift)" in planned.stdout

    assert reconcile(pooled)["state"] == "Repaired"
    live = pool(pooled)
    assert default_of(pooled, "stream_output") is False
    assert default_of(pooled, "working_dir") == "/srv"
    assert "by_hand" in live["base_job_template"]["variables"]["properties"]
    assert (live["is_paused"], live["concurrency_limit"]) == (True, 7)
    assert reconcile(pooled)["state"] == "InSync"


def test_a_deleted_pool_is_made_again_as_it_was_released(pooled: Shop) -> None:
    state(pooled, **streaming(True))
    pooled.server.delete(f"/work_pools/{pooled.project}")
    result = reconcile(pooled)
    assert (result["state"], pools(result)[0]["state"]) == ("Repaired", "Created")
    assert default_of(pooled, "stream_output") is False
    assert pooled.live()["a-python-dev"]["work_pool_name"] == pooled.project


@pytest.mark.system
def test_a_plan_file_knows_work_pools_and_holds_for_the_pool_that_it_was_made_for(pooled: Shop) -> None:
    state(pooled, **streaming(True))
    assert pooled.meta_flows("plan", "--out", "plan.json", "--markdown", "plan.md").returncode == 0
    plan = json.loads((pooled.root / "plan.json").read_text())["plan"]
    assert [(item["action"], item["fields"][0]["path"]) for item in plan["changes"] if item["type"] == "work_pool"] == [
        ("update", STREAM)
    ]
    assert f"{STREAM}: false → true" in (pooled.root / "plan.md").read_text()
    pooled.server.patch(f"/work_pools/{pooled.project}", {"concurrency_limit": 7})
    stale = pooled.meta_flows("deploy", "--plan", "plan.json")
    assert "MF510" in stale.stderr
    pooled.server.patch(f"/work_pools/{pooled.project}", {"concurrency_limit": None})
    assert pooled.meta_flows("deploy", "--plan", "plan.json").returncode == 0
    assert default_of(pooled, "stream_output") is True


def test_a_failed_deploy_takes_the_change_of_a_pool_back(pooled: Shop) -> None:
    patch_variable(pooled, "by_hand", type="string")
    before = pool(pooled)
    state(pooled, **streaming(True, concurrency_limit=3))
    pooled.write("flows/a/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    done = pooled.meta_flows("deploy", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["state"]) == (1, "RolledBack")
    assert [item["state"] for item in pools(result)] == ["RolledBack"]
    assert {**pool(pooled), "updated": None} == {**before, "updated": None}


@pytest.mark.system
def test_a_pool_that_a_failed_deploy_made_goes_again(shop: Shop) -> None:
    state(shop, **streaming(False))
    shop.write("flows/a/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    done = shop.meta_flows("deploy", "--flow", "a", "--json")
    result = json.loads(done.stdout)
    assert (result["state"], [item["state"] for item in pools(result)]) == ("RolledBack", ["RolledBack"])
    assert httpx.get(f"{shop.server.api_url}/work_pools/{shop.project}").status_code == httpx.codes.NOT_FOUND


@pytest.mark.system
def test_a_change_that_the_server_refuses_is_told_and_leaves_its_deployments_alone(pooled: Shop) -> None:
    """A template whose configuration names a variable that it does not have is no template."""
    template = {"job_configuration": {"nice": "{{ nice }}"}}
    pooled.write(
        "environments/development.yaml",
        {
            "on_failure": "continue",
            "work_pools": {"python": {"name": pooled.project, "base_job_template": template}},
        },
    )
    pooled.write("flows/a/deployment.yaml", {"description": "new"})
    before = pool(pooled)
    for _ in range(2):
        done = pooled.meta_flows("deploy", "--json")
        result = json.loads(done.stdout)
        assert (done.returncode, result["state"]) == (1, "Incomplete")
        first, second = result["refused"]
        assert (first["code"], second["code"]) == ("MF503", "MF503")
        assert f"work pool '{pooled.project}' was not changed" in first["message"]
        assert "nice" in first["message"]
        assert "its work pool is not as planned" in second["message"]
        assert pool(pooled) == before
    assert pooled.live()["a-python-dev"]["description"] == "Counts."


def test_a_rollback_brings_back_the_template_of_that_release(pooled: Shop) -> None:
    state(pooled, **streaming(True, concurrency_limit=3))
    pooled.deploy()
    patch_variable(pooled, "by_hand", type="string")
    done = pooled.meta_flows("rollback", "--json")
    assert done.returncode == 0, done.stderr
    assert [item["state"] for item in pools(json.loads(done.stdout))] == ["Updated"]
    assert (default_of(pooled, "stream_output"), pool(pooled)["concurrency_limit"]) == (False, None)
    assert "by_hand" in pool(pooled)["base_job_template"]["variables"]["properties"]
    assert reconcile(pooled)["state"] == "InSync"


def test_what_is_no_longer_stated_goes_back_to_the_template_of_the_type(pooled: Shop) -> None:
    state(pooled)
    (changed,) = pools(pooled.deploy())
    assert [(field["path"], field["new"]) for field in changed["fields"]] == [(STREAM, True)]
    assert pool(pooled)["base_job_template"] == ProcessWorker.get_default_base_job_template()


@pytest.fixture
def foreign(shop: Shop) -> Shop:
    """A shop whose pool somebody has made by hand."""
    template = ProcessWorker.get_default_base_job_template()
    body = {"name": shop.project, "type": "process", "base_job_template": template, "description": "Theirs."}
    shop.server.post("/work_pools/", body)
    return shop


def test_a_pool_that_is_not_ours_is_refused_unless_it_is_adopted(foreign: Shop) -> None:
    state(foreign)
    foreign.deploy("--flow", "a")
    state(foreign, **streaming(False))
    before = pool(foreign)
    done = foreign.meta_flows("deploy", "--flow", "a", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["state"]) == (1, "Incomplete")
    (error,) = result["refused"]
    assert error["code"] == "MF417"
    assert STREAM in error["message"]
    assert pool(foreign) == before
    assert "MF417" in foreign.meta_flows("validate", "-e", "dev", "--flow", "a").stderr

    foreign.deploy("--flow", "a", "--adopt")
    assert (default_of(foreign, "stream_output"), pool(foreign)["description"]) == (False, "Theirs.")
    state(foreign, **streaming(False, concurrency_limit=2))
    assert foreign.deploy("--flow", "a")["state"] == "Deployed"


@pytest.mark.system
def test_a_pool_that_is_not_ours_and_has_what_is_stated_is_ours_from_then_on(foreign: Shop) -> None:
    state(foreign, **streaming(True))
    assert pools(foreign.deploy("--flow", "a")) == []
    state(foreign, **streaming(False))
    assert [item["state"] for item in pools(foreign.deploy("--flow", "a"))] == ["Updated"]


@pytest.mark.system
def test_a_template_that_deployments_in_the_pool_do_not_fit_is_refused_before_the_first_write(pooled: Shop) -> None:
    state(pooled, base_job_template={"variables": {"properties": {"size": {"type": "string"}}}})
    pooled.deploy()
    flow = pooled.server.post("/flows/", {"name": f"{pooled.project}-other"})["id"]
    theirs = {"flow_id": flow, "name": "theirs", "work_pool_name": pooled.project, "job_variables": {"size": "big"}}
    pooled.server.post("/deployments/", theirs)
    before = pool(pooled)
    for variables in ({}, {"size": {"type": "integer"}}):
        state(pooled, base_job_template={"variables": {"properties": variables}})
        done = pooled.meta_flows("deploy", "--json")
        (error,) = json.loads(done.stdout)["refused"]
        assert (done.returncode, error["code"]) == (1, "MF418")
        assert f"{pooled.project}-other/theirs: size" in error["message"]
        assert pool(pooled) == before


@pytest.mark.system
def test_a_deployment_may_use_a_variable_that_comes_with_it_and_drop_one_that_goes_with_it(pooled: Shop) -> None:
    for variable in ("size", "colour"):
        state(pooled, base_job_template={"variables": {"properties": {variable: {"type": "string"}}}})
        pooled.write("flows/a/deployment.yaml", {"job_variables": {variable: "some"}})
        result = pooled.deploy()
        assert [item["state"] for item in result["outcomes"]] == ["Updated", "Updated"]
        assert pooled.live()["a-python-dev"]["job_variables"][variable] == "some"


@pytest.mark.system
def test_secrets_in_a_template_are_refused_in_the_file_and_masked_where_somebody_typed_them(pooled: Shop) -> None:
    def stated(default: str) -> dict[str, Any]:
        return {"variables": {"properties": {"db_password": {"type": "string", "default": default}}}}

    typed, block = "hunter2-hunter2", "{{ prefect.blocks.secret.db }}"
    state(pooled, base_job_template=stated(typed))
    refused = pooled.meta_flows("deploy")
    assert (refused.returncode, "MF301" in refused.stderr, typed in refused.stderr) == (1, True, False)
    assert "environments/development.yaml:" in refused.stderr
    state(pooled, base_job_template=stated(block))
    pooled.deploy()
    assert default_of(pooled, "db_password") == block
    patch_variable(pooled, "db_password", default=typed)
    planned = pooled.meta_flows("plan", "--json", "--out", "plan.json")
    said = planned.stdout + planned.stderr + (pooled.root / "plan.json").read_text()
    assert typed not in said
    assert MASK in said
    assert reconcile(pooled)["state"] == "Repaired"
    assert default_of(pooled, "db_password") == block


@pytest.mark.system
def test_a_record_of_an_earlier_version_says_nothing_of_pools_and_is_read(pooled: Shop) -> None:
    """Such a record names the pools that were made, with their templates, and no others."""
    prefix = f"release--{pooled.project}--development--"
    found = {"block_documents": {"name": {"like_": f"{prefix}%"}}, "include_secrets": True}
    (document,) = pooled.server.post("/block_documents/filter", found)
    record = json.loads(document["data"]["value"])
    deployments = [item for item in record.pop("resources").values() if item["type"] == "deployment"]
    for item in deployments:
        del item["type"]
    record["deployments"] = {f"{item['flow_name']}/{item['name']}": item for item in deployments}
    for field in ("previous", "preimages", "written", "all_or_nothing"):
        del record[field]
    record["plan"]["changes"] = []
    record["plan"]["work_pools"] = [{"name": pooled.project, "type": "process", "base_job_template": {"variables": {}}}]
    data = {"data": {"value": json.dumps(record)}, "merge_existing_data": False}
    pooled.server.patch(f"/block_documents/{document['id']}", data)

    state(pooled, **streaming(True))
    assert "MF417" in pooled.meta_flows("deploy").stderr
    assert pools(pooled.deploy("--adopt"))[0]["state"] == "Updated"
    done = pooled.meta_flows("rollback", "--json")
    assert (done.returncode, pools(json.loads(done.stdout))) == (0, [])
    assert default_of(pooled, "stream_output") is True


@pytest.mark.system
def test_a_template_may_stand_in_a_file_of_its_own(pooled: Shop) -> None:
    """As `prefect work-pool get-default-base-job-template --file` writes it."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["stream_output"]["default"] = False
    pooled.write("environments/work_pools/python.json", json.dumps(template, indent=2))
    state(pooled, base_job_template="work_pools/python.json")
    result = pooled.deploy()
    assert (result["state"], pools(result)) == ("InSync", [])
    template["variables"]["properties"]["stream_output"]["default"] = True
    pooled.write("environments/work_pools/python.json", json.dumps(template, indent=2))
    pooled.deploy()
    assert pool(pooled)["base_job_template"] == template
