"""What `meta-flows deploy` does to a real server."""

from __future__ import annotations

import json
from typing import Any

from tests.shops import Shop
from tests.waiting import wait_until


def states(result: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["state"] for row in result["outcomes"] if row["type"] == "deployment"}


def test_a_first_deploy_creates_every_deployment_as_the_files_say(shop: Shop) -> None:
    result = shop.deploy()
    assert result["state"] == "Deployed"
    assert states(result) == {f"{name}-python-dev": "Created" for name in "abc"}
    live = shop.live()
    assert sorted(live) == ["a-python-dev", "b-python-dev", "c-python-dev"]
    deployment = live["a-python-dev"]
    assert deployment["entrypoint"].startswith("flows/a/workflow.py:")
    assert deployment["parameters"] == {"count": 2}
    assert deployment["description"] == "Counts."
    assert deployment["work_pool_name"] == "dev-python"
    assert deployment["parameter_openapi_schema"]["properties"]["count"]["default"] == 1
    assert sorted(deployment["tags"]) == ["environment:development", f"project:{shop.project}"]
    assert [(item["slug"], item["active"]) for item in deployment["schedules"]] == [("default", True)]


def test_a_second_deploy_is_in_sync_and_every_scheduled_run_keeps_its_id(shop: Shop) -> None:
    shop.deploy()
    before = shop.live()
    wait_until(lambda: all(shop.server.scheduled_runs(item["id"]) for item in before.values()))
    runs = {name: shop.server.scheduled_runs(item["id"]) for name, item in before.items()}
    result = shop.deploy()
    assert result["state"] == "InSync"
    assert set(states(result).values()) == {"Unchanged"}
    assert shop.live() == before
    assert {name: shop.server.scheduled_runs(item["id"]) for name, item in before.items()} == runs


def test_only_the_deployment_whose_file_changed_is_updated(shop: Shop) -> None:
    shop.deploy()
    before = shop.live()
    shop.write("flows/b/deployment.yaml", {"schedules": [{"cron": "0 7 * * *"}], "parameters": {"count": 3}})
    result = shop.deploy()
    assert states(result) == {"a-python-dev": "Unchanged", "b-python-dev": "Updated", "c-python-dev": "Unchanged"}
    after = shop.live()
    assert after["a-python-dev"] == before["a-python-dev"]
    changed = after["b-python-dev"]
    assert changed["id"] == before["b-python-dev"]["id"]
    assert changed["schedules"][0]["id"] == before["b-python-dev"]["schedules"][0]["id"]
    assert changed["schedules"][0]["schedule"]["cron"] == "0 7 * * *"
    assert changed["parameters"] == {"count": 3}


def test_changed_code_brings_a_new_version_and_schema_to_its_own_deployment_only(shop: Shop) -> None:
    shop.deploy()
    before = shop.live()
    source = (shop.root / "flows/c/workflow.py").read_text()
    shop.write("flows/c/workflow.py", source.replace("count: int = 1", "count: int = 1, pace: float = 0.5"))
    assert states(shop.deploy())["c-python-dev"] == "Updated"
    after = shop.live()
    assert after["c-python-dev"]["version"] != before["c-python-dev"]["version"]
    assert "pace" in after["c-python-dev"]["parameter_openapi_schema"]["properties"]
    assert after["a-python-dev"]["version"] == before["a-python-dev"]["version"]


def test_what_an_operator_did_survives_a_deploy(shop: Shop) -> None:
    shop.deploy()
    deployment = shop.live()["a-python-dev"]
    path = f"/deployments/{deployment['id']}"
    shop.server.patch(path, {"paused": True, "tags": [*deployment["tags"], "watched"]})
    shop.server.patch(f"{path}/schedules/{deployment['schedules'][0]['id']}", {"active": False})
    shop.write("flows/a/deployment.yaml", {"schedules": [{"cron": "0 8 * * *"}], "description": "new"})
    shop.deploy()
    after = shop.live()["a-python-dev"]
    assert after["paused"] is True
    assert "watched" in after["tags"]
    assert after["schedules"][0]["active"] is False
    assert after["schedules"][0]["schedule"]["cron"] == "0 8 * * *"
    assert after["description"] == "new"


def test_a_dry_run_writes_nothing(shop: Shop) -> None:
    result = shop.deploy("--dry-run")
    assert result["state"] == "Planned"
    assert set(states(result).values()) == {"ToCreate"}
    assert shop.live() == {}
    assert shop.server.post("/block_documents/filter", {"block_documents": {"name": {"like_": shop.project}}}) == []


def test_staging_and_production_stand_beside_development(shop: Shop) -> None:
    shop.deploy()
    development = shop.live()
    shop.deploy("--environment", "staging")
    shop.deploy("--environment", "prod")
    live = shop.live()
    assert sorted(live) == [f"{name}-python-{short}" for name in "abc" for short in ("dev", "prod", "staging")]
    assert {name: live[name] for name in development} == development
    assert live["a-python-prod"]["work_pool_name"] == "prod-python"


def test_selection_by_flow_and_by_pattern(shop: Shop) -> None:
    assert list(states(shop.deploy("--flow", "a"))) == ["a-python-dev"]
    assert list(states(shop.deploy("--pattern", "b-*"))) == ["b-python-dev"]
    assert sorted(shop.live()) == ["a-python-dev", "b-python-dev"]


def test_invalid_flows_are_refused_with_place_and_remedy_and_the_others_deployed(shop: Shop) -> None:
    shop.write("flows/broken/workflow.py", "def broken(:\n    pass\n")
    twin = (shop.root / "flows/a/workflow.py").read_text().replace("_a", "_twin")
    shop.write("flows/twin1/workflow.py", twin)
    shop.write("flows/twin2/workflow.py", twin)
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["state"] == "Incomplete"
    assert sorted(shop.live()) == ["a-python-dev", "b-python-dev", "c-python-dev"]
    refused = {(error["code"], error["file_path"], error["line_number"]) for error in result["refused"]}
    assert refused == {
        ("MF101", "flows/broken/workflow.py", 1),
        ("MF103", "flows/twin1/workflow.py", 5),
        ("MF103", "flows/twin2/workflow.py", 5),
    }
    assert all(error["remedy"] for error in result["refused"])


def test_in_a_strict_environment_one_invalid_flow_refuses_all_before_any_write(shop: Shop) -> None:
    shop.write("environments/production.yaml", {"strict": True})
    shop.write("flows/broken/workflow.py", "def broken(:\n    pass\n")
    done = shop.meta_flows("deploy", "-e", "production", "--json")
    assert done.returncode == 1
    assert [error["code"] for error in json.loads(done.stdout)["refused"]] == ["MF101", "MF504"]
    assert shop.live() == {}


def test_a_by_hand_deployment_is_refused_and_taken_over_only_on_request(shop: Shop) -> None:
    """Adopting keeps its id, its pauses and what an operator set."""
    flow = f"{shop.project.replace('-', '_')}_a"
    flow_id = shop.server.post("/flows/", {"name": flow})["id"]
    by_hand = shop.server.post(
        "/deployments/",
        {
            "name": "a-python-dev",
            "flow_id": flow_id,
            "paused": True,
            "tags": ["mine"],
            "schedules": [{"schedule": {"cron": "0 6 * * *"}, "active": False}],
        },
    )
    done = shop.meta_flows("deploy", "--flow", "a", "--json")
    assert done.returncode == 1
    assert [error["code"] for error in json.loads(done.stdout)["refused"]] == ["MF501"]
    assert shop.server.get(f"/deployments/{by_hand['id']}")["updated"] == by_hand["updated"]

    shop.deploy("--flow", "a", "--adopt")
    adopted = shop.live()["a-python-dev"]
    assert adopted["id"] == by_hand["id"]
    assert adopted["paused"] is True
    assert "mine" in adopted["tags"]
    (schedule,) = adopted["schedules"]
    assert (schedule["id"], schedule["slug"], schedule["active"]) == (by_hand["schedules"][0]["id"], "default", False)
    assert shop.deploy("--flow", "a")["state"] == "InSync"


def test_a_schedule_dropped_from_the_file_is_deleted_and_one_added_by_hand_stays(shop: Shop) -> None:
    shop.deploy("--flow", "a")
    deployment = shop.live()["a-python-dev"]
    by_hand = [{"schedule": {"cron": "5 5 * * *"}, "active": True}]
    shop.server.post(f"/deployments/{deployment['id']}/schedules", by_hand)
    shop.write("flows/a/deployment.yaml", {"schedules": [{"slug": "hourly", "interval": 3600}]})
    shop.deploy("--flow", "a")
    schedules = {item["slug"]: item["schedule"] for item in shop.live()["a-python-dev"]["schedules"]}
    assert set(schedules) == {None, "hourly"}
    assert schedules["hourly"]["interval"] == 3600


def test_every_kind_of_schedule_is_in_sync_after_it_was_created(shop: Shop) -> None:
    """What the server makes of a schedule is what we compare with."""
    schedules = [
        {"slug": "cron", "cron": "0 6 * * 1-5", "timezone": "Europe/Berlin"},
        {"slug": "interval", "interval": "PT1H", "active": False},
        {"slug": "rrule", "rrule": "FREQ=WEEKLY;BYDAY=MO", "timezone": "America/New_York", "parameters": {"count": 5}},
    ]
    shop.write("flows/a/deployment.yaml", {"schedules": schedules, "concurrency_limit": 2, "tags": ["z", "a"]})
    shop.deploy("--flow", "a")
    assert shop.deploy("--flow", "a")["state"] == "InSync"


def test_parameters_from_the_command_line_go_before_those_of_the_files(shop: Shop) -> None:
    shop.deploy("--flow", "a", "--parameter", "count=7")
    assert shop.live()["a-python-dev"]["parameters"] == {"count": 7}


def test_the_release_record_holds_specs_and_preimages_and_is_masked(shop: Shop) -> None:
    release = shop.deploy()["release"]
    assert shop.deploy()["release"] is None
    documents = shop.server.post("/block_documents/filter", {"block_documents": {"name": {"like_": shop.project}}})
    (document,) = documents
    assert document["name"] == f"release--{shop.project}--development--{release}"
    assert set(document["data"]["value"]) == {"*"}


def test_job_variables_that_no_file_states_any_more_are_gone(shop: Shop) -> None:
    template = {"work_pool": "{{ environment.work_pools.python.name }}"}
    shop.write("environments/templates/python.yaml", {**template, "job_variables": {"env": {"REGION": "north"}}})
    shop.deploy("--flow", "a")
    shop.write("environments/templates/python.yaml", template)
    assert shop.deploy("--flow", "a")["state"] == "Deployed"
    assert not shop.live()["a-python-dev"]["job_variables"].get("env")
    assert shop.deploy("--flow", "a")["state"] == "InSync"
