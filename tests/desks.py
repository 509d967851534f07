"""A repository whose meta-flows are registered, with a real worker that runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from benchmarks.server import Database, started_database
from tests.servers import Command, Server, started_server
from tests.shops import Shop
from tests.waiting import wait_until
from tests.workers import prefect_worker

OPEN = ("Scheduled", "Late", "Pending", "Submitting", "Running", "Resuming", "AwaitingConcurrencySlot", "AwaitingRetry")


class Desk(Shop):
    """A shop as an operator sees it: through the Prefect API that the UI talks to."""

    def __init__(self, root: Path, server: Server, command: Command, **environment: Any) -> None:
        super().__init__(root, server, command)
        pools = {"python": f"{self.project}-pool"}
        self.defaults = {
            "project": self.project,
            "prefect_api_url": server.api_url,
            "work_pools": pools,
            "registration": {"qualifier": self.project},
            **environment,
        }
        self.write("environments/defaults.yaml", self.defaults)
        self.pool = pools["python"]

    def register(self, *words: str) -> dict[str, str]:
        """Register the meta-flows; the state of each by name."""
        done = self.meta_flows("register", "--json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return {self.plain(outcome["name"]): outcome["state"] for outcome in outcomes(json.loads(done.stdout))}

    def plain(self, name: str) -> str:
        """A meta-flow's name without what tells it from those of other tests on this server."""
        return name.replace(f"-{self.project}", "")

    def registered(self, environment: str = "development") -> dict[str, Any]:
        """Raw deployments of the registered meta-flows of an environment, by name."""
        tags = {"all_": [f"project:{self.project}-meta-flows", f"environment:{environment}"]}
        found = self.server.post("/deployments/filter", {"deployments": {"tags": tags}})
        return {self.plain(deployment["name"]): deployment for deployment in found}

    def start(self, name: str, environment: str = "development", **parameters: Any) -> str:
        """Submit the run form of a registered meta-flow; the run's id."""
        deployment = self.registered(environment)[name]
        run = self.server.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def state(self, run: str) -> str:
        """The name of a run's state."""
        name: str = self.server.get(f"/flow_runs/{run}")["state"]["name"]
        return name

    def settled(self, run: str) -> str:
        """The state in which a run waits for an answer, or has ended; pytest shows its report if a test then fails."""
        state = wait_until(lambda: state if (state := self.state(run)) not in OPEN else "", timeout=240)
        written = self.server.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        sys.stdout.write("\n".join([*self.logs(run), *(str(artifact["data"]) for artifact in written)]))
        return state

    def answer(self, run: str, **fields: Any) -> None:
        """Fill in the form of a suspended run, as slowly as a person: its process has ended by then."""
        taken = self.resume(run, **fields)
        assert taken["status"] == "ACCEPT", taken

    def resume(self, run: str, **fields: Any) -> dict[str, Any]:
        """Press the form's button; what the server says to it."""
        wait_until(lambda: not self.is_executed(run))
        said: dict[str, Any] = self.server.post(f"/flow_runs/{run}/resume", {"run_input": fields})
        return said

    def artifacts(self, run: str, key: str) -> list[dict[str, Any]]:
        """What a run has written under a key, which goes on with the project and the environment."""
        written = {"flow_run_id": {"any_": [run]}, "key": {"any_": [f"{key}--{self.project}--development"]}}
        found: list[dict[str, Any]] = self.server.post("/artifacts/filter", {"artifacts": written})
        return found

    def is_executed(self, run: str) -> bool:
        """Whether any process of this machine executes a run."""
        return any(run.encode() in _environ(process) for process in Path("/proc").glob("[0-9]*"))

    def logs(self, run: str) -> list[str]:
        """What a run has logged so far."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return [line["message"] for line in self.server.post("/logs/filter", body)]

    def release(self, environment: str = "development") -> dict[str, Any]:
        """The newest record, as `releases` lists it."""
        listed = self.meta_flows("releases", "--json", "-e", environment)
        newest: dict[str, Any] = json.loads(listed.stdout)["releases"][0]
        return newest

    def scheduled(self, deployment: str) -> set[str]:
        """Ids of a deployment's scheduled runs, once the scheduler has made any."""
        return wait_until(lambda: self.server.scheduled_runs(deployment))


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # it has ended
        return b""


on_postgresql = pytest.mark.parametrize("watched_server", ["postgresql"], indirect=True)
"""For tests of what is run in production as well; all others are on SQLite."""


@pytest.fixture(scope="module")
def watched_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that ends at once what nobody has answered in time; on SQLite unless `on_postgresql`."""
    looks = {"PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "1"}
    database: Database = getattr(request, "param", "sqlite")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))  # PostgreSQL's own user has to get there
        try:
            url = stack.enter_context(started_database(folder, database))
        except SystemExit as missing:
            pytest.skip(str(missing))
        if url:
            looks["PREFECT_API_DATABASE_CONNECTION_URL"] = url
        yield stack.enter_context(started_server(folder, **looks))


@pytest.fixture
def desk(tmp_path: Path, watched_server: Server, command: Command) -> Desk:
    """A repository with three flows; its meta-flows are not registered yet."""
    return Desk(tmp_path / "desk", watched_server, command)


@pytest.fixture
def worker(desk: Desk) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker for the desk's pool; one with a limit dies of a run that is resumed at once (Prefect 3.8.8)."""
    desk.register()
    with prefect_worker(desk.pool, desk.server, desk.root.parent) as process:
        yield process


def outcomes(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What became of each deployment, in one environment or in all."""
    several = [result] if "outcomes" in result else result.values()
    return [row for each in several for row in each["outcomes"] if row["type"] == "deployment"]


def refused(desk: Desk, name: str, parameters: dict[str, Any]) -> str:
    """What the server says to a run form that it does not take."""
    path = f"/deployments/{desk.registered()[name]['id']}/create_flow_run"
    answer = httpx.post(f"{desk.server.api_url}{path}", json={"parameters": parameters}, timeout=30)
    assert answer.status_code in (409, 422), answer.text
    return answer.text
