"""Prune, clean and rename: what deletes deployments, and which it never deletes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.deploying.test_deploy import states
from tests.shops import Shop


def add_by_hand(shop: Shop, name: str, tags: list[str]) -> None:
    flow = shop.server.post("/flows/", {"name": f"by_hand_{shop.project}"})
    shop.server.post("/deployments/", {"flow_id": flow["id"], "name": name, "tags": tags})


def test_a_flow_that_is_gone_is_pruned_where_that_is_asked_for(shop: Shop) -> None:
    shop.deploy()
    shop.remove("flows/c")
    result = shop.deploy()
    assert "c-python-dev" in shop.live()
    assert any("--prune deletes it" in note for note in result["notes"])
    assert states(shop.deploy("--prune"))["c-python-dev"] == "Deleted"
    assert sorted(shop.live()) == ["a-python-dev", "b-python-dev"]
    assert shop.deploy("--prune")["state"] == "InSync"


def test_nobody_elses_deployment_is_pruned_or_cleaned(shop: Shop) -> None:
    shop.deploy()
    shop.deploy("-e", "staging")
    add_by_hand(shop, "by-hand", [])
    add_by_hand(shop, "another-project", [f"project:{shop.project}-other", "environment:development"])
    shop.remove("flows/c")
    shop.deploy("--prune")
    assert shop.meta_flows("clean").returncode == 0
    everything = {item["name"] for item in shop.server.post("/deployments/filter", {"limit": 200})}
    assert {"by-hand", "another-project"} <= everything
    assert sorted(shop.live()) == ["a-python-staging", "b-python-staging", "c-python-staging"]


@pytest.mark.system
def test_what_is_invalid_filtered_out_or_ignored_is_not_pruned(shop: Shop) -> None:
    shop.deploy()
    source = (shop.root / "flows/b/workflow.py").read_text()
    shop.write("flows/b/workflow.py", "def broken(:\n")
    assert shop.meta_flows("deploy", "--prune").returncode == 1
    shop.write("flows/b/workflow.py", source)
    shop.deploy("--prune", "--flow", "a")
    shop.write(".prefectignore", "flows/b/\n")
    shop.deploy("--prune")
    assert sorted(shop.live()) == ["a-python-dev", "b-python-dev", "c-python-dev"]


def test_a_flow_that_says_so_is_kept_after_it_is_gone(shop: Shop) -> None:
    shop.write("flows/c/deployment.yaml", {"prune": False})
    shop.deploy()
    shop.remove("flows/c")
    result = shop.deploy("--prune")
    assert "c-python-dev" in shop.live()
    assert any("prune:false" in note for note in result["notes"])


def test_more_than_the_limit_is_pruned_only_when_told_to(shop: Shop) -> None:
    shop.deploy()
    for name in "abc":
        shop.remove(f"flows/{name}")
    (shop.root / "flows").mkdir(exist_ok=True)
    refused = shop.meta_flows("deploy", "--prune")
    assert refused.returncode == 1
    assert "MF513" in refused.stderr
    assert len(shop.live()) == 3
    assert set(states(shop.deploy("--prune", "--prune-limit", "1")).values()) == {"Deleted"}
    assert shop.live() == {}


def test_nothing_is_deleted_under_a_guessed_name(shop: Shop) -> None:
    shop.write("environments/defaults.yaml", {"prefect_api_url": shop.server.api_url})
    for words in (("deploy", "--prune"), ("clean",)):
        refused = shop.meta_flows(*words)
        assert refused.returncode == 1
        assert "MF514" in refused.stderr


def test_clean_deletes_by_pattern_and_a_rollback_brings_back(shop: Shop) -> None:
    shop.deploy()
    dry = json.loads(shop.meta_flows("clean", "--pattern", "a-*", "--dry-run", "--json").stdout)
    assert (dry["state"], states(dry)) == ("Planned", {"a-python-dev": "ToDelete"})
    assert len(shop.live()) == 3
    cleaned = json.loads(shop.meta_flows("clean", "--pattern", "a-*", "--json").stdout)
    assert (cleaned["state"], states(cleaned)) == ("Cleaned", {"a-python-dev": "Deleted"})
    assert sorted(shop.live()) == ["b-python-dev", "c-python-dev"]
    assert json.loads(shop.meta_flows("reconcile", "--json").stdout)["state"] == "InSync"
    assert shop.meta_flows("rollback").returncode == 0
    assert sorted(shop.live()) == ["a-python-dev", "b-python-dev", "c-python-dev"]


@pytest.mark.system
def test_production_is_cleaned_only_when_its_name_is_given(shop: Shop) -> None:
    shop.deploy("-e", "prod")
    for words in ((), ("--confirm", "staging")):
        refused = shop.meta_flows("clean", "-e", "production", *words)
        assert refused.returncode == 1
        assert "MF520" in refused.stderr
    assert len(shop.live()) == 3
    assert shop.meta_flows("clean", "-e", "production", "--confirm", "production").returncode == 0
    assert shop.live() == {}


@pytest.mark.system
def test_all_environments_are_cleaned_one_after_the_other(shop: Shop) -> None:
    shop.deploy()
    shop.deploy("-e", "staging")
    done = shop.meta_flows("clean", "--all-environments", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: result["state"] for name, result in json.loads(done.stdout).items()} == {
        "development": "Cleaned",
        "production": "InSync",
        "staging": "Cleaned",
    }
    assert shop.live() == {}


def renamed(shop: Shop) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flow a under another slug, its operator's pauses made before; the result, and what is live."""
    shop.deploy()
    before = shop.live()["a-python-dev"]
    shop.server.patch(f"/deployments/{before['id']}", {"paused": True})
    shop.server.post(f"/deployments/{before['id']}/schedules", [{"schedule": {"cron": "5 5 * * *"}, "active": False}])
    shop.write("flows/a/deployment.yaml", {"slug": "alpha", "replaces": "a", "schedules": [{"cron": "0 6 * * *"}]})
    return shop.deploy(), shop.live()


def test_a_renamed_deployment_keeps_its_schedules_and_pauses(shop: Shop) -> None:
    result, live = renamed(shop)
    assert states(result)["alpha-python-dev"] == "Created"
    assert states(result)["a-python-dev"] == "Deleted"
    assert sorted(live) == ["alpha-python-dev", "b-python-dev", "c-python-dev"]
    assert live["alpha-python-dev"]["paused"] is True
    schedules = {item["schedule"]["cron"]: item["active"] for item in live["alpha-python-dev"]["schedules"]}
    assert schedules == {"0 6 * * *": True, "5 5 * * *": False}
    assert shop.deploy()["state"] == "InSync"


@pytest.mark.system
def test_a_rollback_gives_a_renamed_deployment_its_name_back(shop: Shop) -> None:
    renamed(shop)
    assert shop.meta_flows("rollback").returncode == 0
    live = shop.live()
    assert sorted(live) == ["a-python-dev", "b-python-dev", "c-python-dev"]
    assert live["a-python-dev"]["paused"] is True


def test_a_deployment_that_is_still_wanted_is_not_replaced(shop: Shop) -> None:
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"replaces": "b"})
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    assert [error["code"] for error in json.loads(done.stdout)["refused"]] == ["MF515"]
    assert len(shop.live()) == 3
