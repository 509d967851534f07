"""One writer per environment: who waits, who is named, and what becomes of a slot that nobody holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from rich.prompt import Confirm

from meta_flows.cli.output import PlainConsole
from meta_flows.engine import Timing, deploy_lock
from meta_flows.models import Ownership
from tests.servers import Server, started_server
from tests.shops import Shop
from tests.system.operating.test_from_the_ui import Triggered

LEASE_SECONDS = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that shows no sign of life counts as dead after a second or two, and not after a minute."""
    monkeypatch.setattr(Timing, "of", lambda _: Timing(nameless=1, silent=2, poll=0.1))


def take_slot(shop: Shop, environment: str = "development", lease: float = 3600) -> None:
    """Take the lock as a deploy does, and never give it back."""
    name = deploy_lock(Ownership(shop.project, environment))
    with suppress(httpx.HTTPStatusError):  # an earlier deploy has made it
        shop.server.post("/v2/concurrency_limits/", {"name": name, "limit": 1})
    slot = {"names": [name], "slots": 1, "mode": "concurrency", "lease_duration": lease}
    shop.server.post("/v2/concurrency_limits/increment-with-lease", slot)


def add_writer(shop: Shop, environment: str = "development") -> dict[str, Any]:
    """A run under way that says it is the writer."""
    flow = shop.server.post("/flows/", {"name": "deploy-all"})
    state = {"type": "RUNNING", "name": "Running"}
    tags = [f"writer:{shop.project}:{environment}"]
    run = {"flow_id": flow["id"], "name": f"writer of {shop.project}", "tags": tags, "state": state}
    created: dict[str, Any] = shop.server.post("/flow_runs/", run)
    return created


def state(shop: Shop, run: dict[str, Any]) -> str:
    name: str = shop.server.get(f"/flow_runs/{run['id']}")["state"]["name"]
    return name


@pytest.fixture
def held(shop: Shop) -> tuple[Shop, dict[str, Any]]:
    """A shop that another run is writing to; ours does not wait."""
    shop.write("environments/development.yaml", {"lock_wait": 0})
    take_slot(shop)
    return shop, add_writer(shop)


def test_a_deploy_that_has_waited_in_vain_says_who_holds_the_lock_and_writes_nothing(
    held: tuple[Shop, dict[str, Any]],
) -> None:
    shop, writer = held
    done = shop.meta_flows("deploy", "--json")
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert error["code"] == "MF512"
    assert writer["name"] in error["message"]
    assert "since 20" in error["message"]
    assert shop.live() == {}


def test_unlock_names_the_holder_and_frees_the_environment(held: tuple[Shop, dict[str, Any]]) -> None:
    shop, writer = held
    asked = shop.meta_flows("unlock")
    assert asked.returncode == 2
    assert writer["name"] in asked.stderr
    assert shop.meta_flows("deploy").returncode == 1
    freed = json.loads(shop.meta_flows("unlock", "--yes", "--json").stdout)
    assert (freed["unlocked"], freed["holders"]) == (True, [writer["name"]])
    assert shop.deploy()["state"] == "Deployed"
    assert state(shop, writer) == "Crashed"


def test_unlock_leaves_a_holder_alone_that_shows_a_sign_of_life_while_it_asks(
    held: tuple[Shop, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, writer = held

    def yes(*_: Any, **__: Any) -> bool:
        shop.server.patch(f"/flow_runs/{writer['id']}", {"tags": writer["tags"]})
        return True

    monkeypatch.setattr(PlainConsole, "is_terminal", True)
    monkeypatch.setattr(Confirm, "ask", yes)
    refused = shop.meta_flows("unlock")
    assert refused.returncode == 2
    assert "its holder is alive" in refused.stderr
    assert shop.meta_flows("deploy").returncode == 1


def test_another_environment_does_not_wait(held: tuple[Shop, dict[str, Any]]) -> None:
    shop, writer = held
    shop.write("environments/staging.yaml", {"lock_wait": 0})
    assert shop.deploy("-e", "staging")["state"] == "Deployed"
    assert state(shop, writer) == "Running"


@pytest.mark.system
def test_a_run_that_was_killed_while_it_wrote_is_no_writer_when_it_begins_anew(shop: Shop) -> None:
    """Retried in the UI it is the same run, and still has its tag."""
    shop.deploy()
    shop.write("flows/a/deployment.yaml", {"description": "new"})
    retried = Triggered(shop, "deploy_all", {"environment": "development"}, tags=[f"writer:{shop.project}:development"])
    assert retried.end() == "Deployed"
    assert shop.server.get(f"/flow_runs/{retried.id}")["tags"] == []
    planned = Triggered(shop, "deploy_all", {"environment": "development", "dry_run": True}, tags=retried.tags)
    assert planned.end() == "InSync"
    assert shop.server.get(f"/flow_runs/{planned.id}")["tags"] == []


def test_what_writes_nothing_does_not_wait(shop: Shop) -> None:
    shop.write("environments/development.yaml", {"lock_wait": 0})
    shop.deploy()
    shop.server.post(
        "/v2/concurrency_limits/increment", {"names": [deploy_lock(Ownership(shop.project, "development"))], "slots": 1}
    )
    add_writer(shop)
    assert shop.deploy()["state"] == "InSync"
    shop.write("flows/a/deployment.yaml", {"description": "new"})
    assert shop.meta_flows("plan").returncode == 0
    assert (
        shop.meta_flows("rollback", "--dry-run").returncode == 1
    )  # there is nothing to go back to, and no wait for it
    assert shop.meta_flows("clean", "--dry-run").returncode == 0
    assert shop.meta_flows("reconcile", "--policy", "report").returncode == 0
    assert shop.meta_flows("deploy").returncode == 1


def test_reconcile_leaves_a_deploy_that_is_under_way_alone_and_does_not_wait_for_it(shop: Shop) -> None:
    shop.write("environments/development.yaml", {"lock_wait": 0})
    shop.deploy()
    shop.leave_unfinished()
    take_slot(shop)
    writer = add_writer(shop)
    before = shop.live()
    result = json.loads(shop.meta_flows("reconcile", "--json").stdout)
    (note,) = result["notes"]
    assert result["state"] == "Busy"
    assert note.startswith(f"a deploy is under way by run '{writer['name']}'")
    assert shop.live() == before
    assert state(shop, writer) == "Running"


def test_a_slot_that_nobody_holds_is_freed(shop: Shop) -> None:
    take_slot(shop)
    assert shop.deploy()["state"] == "Deployed"
    shop.write("flows/a/deployment.yaml", {"description": "new"})
    assert shop.deploy()["state"] == "Deployed"


@pytest.mark.system
def test_a_holder_that_was_killed_gives_the_lock_back_when_its_lease_ends(shop: Shop) -> None:
    take_slot(shop, lease=LEASE_SECONDS)
    dead = add_writer(shop)
    assert shop.deploy()["state"] == "Deployed"
    assert state(shop, dead) == "Crashed"


def test_a_leaked_slot_whose_run_says_that_it_lives_but_shows_no_sign_of_it_is_freed(shop: Shop) -> None:
    take_slot(shop)
    dead = add_writer(shop)
    assert shop.deploy()["state"] == "Deployed"
    assert state(shop, dead) == "Crashed"


@pytest.mark.system
def test_a_slot_leaked_by_a_restart_of_the_server_is_freed(
    tmp_path: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    with started_server(tmp_path) as before:
        shop = Shop(tmp_path / "shop", before, command)
        take_slot(shop)
    with started_server(tmp_path) as after:
        shop.server = Server(after.api_url)
        shop.write("environments/defaults.yaml", {"project": shop.project, "prefect_api_url": after.api_url})
        assert shop.deploy()["state"] == "Deployed"
