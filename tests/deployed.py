"""A deployed repository with a worker that answers, and what can go wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Command, Server, started_server
from tests.shops import Shop
from tests.waiting import wait_until


class Deployed:
    """A shop whose flows are deployed to a work pool of its own.

    Attributes:
        shop: The repository.
        pool: Path of the work pool in the API.
    """

    def __init__(self, folder: Path, server: Server, command: Command) -> None:
        self.server, self.shop = server, Shop(folder, server, command)
        self.shop.write("environments/development.yaml", {"work_pools": {"python": self.shop.project}})
        self.pool = f"/work_pools/{self.shop.project}"
        self.shop.deploy()

    def work(self) -> None:
        """Do what a worker does while it has nothing to do."""
        self.server.post(f"{self.pool}/workers/heartbeat", {"name": "a-worker", "heartbeat_interval_seconds": 30})
        self.server.post(f"{self.pool}/get_scheduled_flow_runs")
        wait_until(lambda: all(item["status"] == "READY" for item in self.shop.live().values()))

    def id(self, letter: str) -> str:
        """Id of a flow's deployment."""
        found: str = self.shop.live()[f"{letter}-python-dev"]["id"]
        return found

    def change(self, letter: str, **fields: Any) -> None:
        """Change a deployment by hand."""
        self.server.patch(f"/deployments/{self.id(letter)}", fields)

    def change_schedule(self, letter: str, **fields: Any) -> None:
        """Change the schedule of a deployment by hand."""
        deployment = self.shop.live()[f"{letter}-python-dev"]
        self.server.patch(f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}", fields)

    def run_ended(self, letter: str, state: str) -> None:
        """Let a deployment have a run that ended in a state."""
        run = self.server.post(f"/deployments/{self.id(letter)}/create_flow_run", {"state": {"type": "PENDING"}})
        for each in ("RUNNING", state):
            self.server.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": each}, "force": True})

    def run_late(self, letter: str) -> None:
        """Let a deployment have a run that should have started an hour ago."""
        due = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        run = self.server.post(f"/deployments/{self.id(letter)}/create_flow_run", {"state": state})
        wait_until(lambda: self.server.get(f"/flow_runs/{run['id']}")["state"]["name"] == "Late")

    def check(self, *words: str, **shell: str) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON result of `check-ui`."""
        done = self.shop.meta_flows("check-ui", "--json", *words, **shell)
        result = json.loads(done.stdout)
        assert "errors" not in result, result["errors"]
        return done.returncode, result

    def failures(self, *words: str, **shell: str) -> dict[str, str]:
        """What `check-ui` fails for: messages by code."""
        code, result = self.check(*words, **shell)
        assert (code, result["state"]) == (1, "NotVerified"), result
        return messages(result["refused"])

    def warnings(self) -> dict[str, str]:
        """What `check-ui` warns of, but does not fail for."""
        code, result = self.check()
        assert (code, result["state"], result["refused"]) == (0, "Verified", []), result
        return messages(result["warnings"])

    def health(self, result: dict[str, Any]) -> dict[str, str]:
        """How each deployment does, by the letter of its flow."""
        return {item["name"][0]: item["health"]["status"] for item in result["outcomes"]}


def messages(findings: list[dict[str, Any]]) -> dict[str, str]:
    """Messages by code, of which there is one each."""
    found = {item["code"]: item["message"] for item in findings}
    assert len(found) == len(findings), findings
    return found


@pytest.fixture
def deployed(tmp_path: Path, server: Server, command: Command) -> Deployed:
    """Deployments a, b and c, all of them well."""
    made = Deployed(tmp_path / "shop", server, command)
    made.work()
    return made


@pytest.fixture(scope="session")
def unscheduled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without its scheduler, whose UI asks a port where nobody listens."""
    faults = {
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
        "PREFECT_UI_API_URL": "http://127.0.0.1:9/api",
    }
    with started_server(tmp_path_factory.mktemp("unscheduled"), **faults) as running:
        yield running
