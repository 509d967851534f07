"""The record of releases, and going back to one of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.deploying.test_deploy import states
from tests.shops import Shop


def listed(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shop.meta_flows("releases", "--json").stdout)["releases"]
    return found


def roll_back(shop: Shop, *words: str) -> dict[str, Any]:
    done = shop.meta_flows("rollback", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def twice_deployed(shop: Shop) -> Shop:
    """A shop whose flow a was changed, b removed and d added by the second of two releases."""
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"description": "second", "parameters": {"count": 9}})
    shop.remove("flows/b")
    shop.add_flow("d")
    shop.deploy("--prune")
    return shop


def test_a_rollback_brings_back_what_the_release_before_deployed(twice_deployed: Shop) -> None:
    shop = twice_deployed
    result = roll_back(shop)
    assert states(result) == {
        "a-python-dev": "Updated",
        "b-python-dev": "Created",
        "c-python-dev": "Unchanged",
        "d-python-dev": "Deleted",
    }
    assert result["state"] == "Restored"
    assert any("not their code" in note for note in result["notes"])
    live = shop.live()
    assert live["a-python-dev"]["parameters"] == {"count": 2}
    assert [item["slug"] for item in live["b-python-dev"]["schedules"]] == ["default"]


def test_releases_say_what_was_done_by_whom_and_what_was_restored(twice_deployed: Shop) -> None:
    shop = twice_deployed
    roll_back(shop)
    newest, second, first = listed(shop)
    assert [item["state"] for item in (newest, second, first)] == ["succeeded"] * 3
    assert [item["by"] for item in (newest, second, first)] == ["rollback", "deploy-all", "deploy-all"]
    assert newest["restores"] == first["id"]
    assert second["changes"] == "1 create, 1 update, 1 delete, 1 unchanged"
    assert first["author"]
    assert first["run"].startswith(shop.server.api_url.removesuffix("/api"))


def test_a_rollback_can_go_forward_again_by_naming_the_release(twice_deployed: Shop) -> None:
    shop = twice_deployed
    second = listed(shop)[0]["id"]
    deployed = shop.live()["a-python-dev"]
    roll_back(shop)
    assert states(roll_back(shop, "--to", second))["d-python-dev"] == "Created"
    assert {**shop.live()["a-python-dev"], "updated": None} == {**deployed, "updated": None}
    refused = shop.meta_flows("rollback", "--to", second[:-1])
    assert refused.returncode == 1
    assert second in refused.stderr


@pytest.mark.system
def test_a_rollback_from_a_rollback_goes_further_back_and_not_forth(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.write("flows/a/deployment.yaml", {"parameters": {"count": number}})
        shop.deploy("--flow", "a")
    roll_back(shop)
    assert shop.live()["a-python-dev"]["parameters"] == {"count": 2}
    roll_back(shop)
    assert shop.live()["a-python-dev"]["parameters"] == {"count": 1}
    shop.write("flows/a/deployment.yaml", {"parameters": {"count": 4}})
    shop.deploy("--flow", "a")
    roll_back(shop)
    assert shop.live()["a-python-dev"]["parameters"] == {"count": 1}
    nothing = shop.meta_flows("rollback")
    assert nothing.returncode == 1
    assert "MF517" in nothing.stderr


@pytest.mark.system
def test_a_rollback_leaves_what_operators_did_since(twice_deployed: Shop) -> None:
    shop = twice_deployed
    deployment = shop.live()["a-python-dev"]
    shop.server.patch(f"/deployments/{deployment['id']}", {"paused": True, "tags": [*deployment["tags"], "watched"]})
    roll_back(shop)
    live = shop.live()["a-python-dev"]
    assert live["paused"] is True
    assert "watched" in live["tags"]


def test_a_dry_run_of_a_rollback_writes_nothing(twice_deployed: Shop) -> None:
    before = twice_deployed.live()
    result = roll_back(twice_deployed, "--dry-run")
    assert states(result)["d-python-dev"] == "ToDelete"
    assert twice_deployed.live() == before


def test_a_failed_deploy_leaves_everything_as_it_was_and_says_what_failed(shop: Shop) -> None:
    shop.deploy()
    before = shop.live()
    shop.write("flows/a/deployment.yaml", {"description": "new"})
    shop.write("flows/b/deployment.yaml", {"ignore": ["MF414"], "job_variables": {"env": {"PORT": 8080}}})
    shop.add_flow("d")
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["state"] == "RolledBack"
    assert states(result) == {
        "a-python-dev": "RolledBack",
        "b-python-dev": "Failed",
        "c-python-dev": "Unchanged",
        "d-python-dev": "NotTried",
    }
    (error,) = result["refused"]
    assert error["code"] == "MF503"
    assert "8080" in error["message"]
    after = shop.live()
    assert {name: {**item, "updated": None} for name, item in after.items()} == {
        name: {**item, "updated": None} for name, item in before.items()
    } | {"a-python-dev": {**after["a-python-dev"], "updated": None}}
    assert after["a-python-dev"]["description"] == before["a-python-dev"]["description"]
    assert listed(shop)[0]["state"] == "rolled-back"


def test_a_release_record_of_another_version_is_named(shop: Shop) -> None:
    shop.deploy("--flow", "a")
    prefix = f"release--{shop.project}"
    (block,) = shop.server.post("/block_documents/filter", {"block_documents": {"name": {"like_": prefix}}})
    shop.server.patch(
        f"/block_documents/{block['id']}", {"data": {"value": '{"id": "x"}'}, "merge_existing_data": False}
    )
    for command in ("deploy", "rollback", "reconcile"):
        done = shop.meta_flows(command)
        assert done.returncode == 1
        assert "MF518" in done.stderr
        assert block["name"] in done.stderr
    assert listed(shop) == [{"id": block["name"], "state": "unreadable"}]
