"""`meta-flows plan`, and deploying exactly what it said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meta_flows.tasks import releasing
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


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen between a deploy's plan and its lock."""
    writing = releasing.writing

    def happen(event: Callable[[], None]) -> None:
        @contextmanager
        def delayed(*arguments: Any) -> Iterator[Any]:
            event()
            with writing(*arguments) as lock:
                yield lock

        monkeypatch.setattr(releasing, "writing", delayed)

    return happen


def test_what_an_operator_adds_while_a_deploy_waits_for_the_lock_stays(
    shop: Shop, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """The plan that was made before would take it away."""
    shop.write("environments/development.yaml", {"work_pools": {"python": {"name": shop.project}}})
    shop.deploy()
    deployment = shop.live()["a-python-dev"]
    shop.write("flows/a/deployment.yaml", {"job_variables": {"env": {"REGION": "north"}}})

    def add() -> None:
        env = {"job_variables": {"env": {"BY_HAND": "1"}}, "work_pool_name": shop.project}
        shop.server.patch(f"/deployments/{deployment['id']}", env)

    meanwhile(add)
    assert states(shop.deploy())["a-python-dev"] == "Updated"
    assert shop.live()["a-python-dev"]["job_variables"]["env"].items() >= {"REGION": "north", "BY_HAND": "1"}.items()


def test_a_work_pool_that_changes_while_a_deploy_waits_for_the_lock_is_compared_again(
    shop: Shop, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    def state(**stated: Any) -> None:
        shop.write("environments/development.yaml", {"work_pools": {"python": {"name": shop.project, **stated}}})

    state(description="Before.")
    shop.deploy()
    state(description="After.")
    meanwhile(lambda: shop.server.patch(f"/work_pools/{shop.project}", {"description": "After."}))
    assert {item["type"] for item in shop.deploy()["outcomes"]} == {"deployment"}
