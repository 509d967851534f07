"""`meta-flows plan`, and deploying exactly what it said."""

from __future__ import annotations

import json

import pytest

from tests.server.deploying.test_deploy import states
from tests.shops import Shop


@pytest.mark.system
def test_a_saved_plan_is_carried_out_and_a_second_time_there_is_nothing_left_to_do(shop: Shop) -> None:
    planned = shop.meta_flows("plan", "--out", "plan.json", "--markdown", "plan.md", "--detailed-exitcode", "--json")
    assert planned.returncode == 2
    assert set(states(json.loads(planned.stdout)).values()) == {"ToCreate"}
    assert shop.live() == {}
    assert "3 to create" in (shop.root / "plan.md").read_text()
    assert set(states(shop.deploy("--plan", "plan.json")).values()) == {"Created"}
    assert shop.deploy("--plan", "plan.json")["state"] == "InSync"
    assert shop.meta_flows("plan", "--detailed-exitcode").returncode == 0


def test_a_saved_plan_keeps_what_was_asked_for(shop: Shop) -> None:
    shop.meta_flows("plan", "-e", "staging", "--flow", "b", "--parameter", "count=7", "--out", "plan.json")
    shop.deploy("--plan", "plan.json")
    (deployment,) = shop.live().values()
    assert (deployment["name"], deployment["parameters"]) == ("b-python-staging", {"count": 7})


def test_a_saved_plan_is_refused_when_the_server_has_changed(shop: Shop) -> None:
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"description": "new"})
    shop.meta_flows("plan", "--out", "plan.json")
    before = shop.live()
    shop.server.patch(f"/deployments/{before['a-python-dev']['id']}", {"description": "by hand"})
    refused = shop.meta_flows("deploy", "--plan", "plan.json", "--json")
    assert refused.returncode == 1
    assert [error["code"] for error in json.loads(refused.stdout)["errors"]] == ["MF510"]
    assert shop.live()["a-python-dev"]["description"] == "by hand"


def test_a_saved_plan_goes_without_other_options(shop: Shop) -> None:
    shop.meta_flows("plan", "--out", "plan.json")
    for words in (("--flow", "a"), ("--prune",), ("-e", "staging")):
        refused = shop.meta_flows("deploy", "--plan", "plan.json", *words)
        assert refused.returncode == 2
        assert "MF901" in refused.stderr
    shop.write("other.json", "{}")
    assert "MF901" in shop.meta_flows("deploy", "--plan", "other.json").stderr
    assert "MF215" in shop.meta_flows("deploy", "--plan", "missing.json").stderr
    assert shop.live() == {}
