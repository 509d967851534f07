"""What all tests share: a clean shell, a real Prefect server, small repositories."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.logging.handlers import APILogWorker

from tests.waiting import wait_until


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With META_FLOWS_NO_SKIPS set, as in CI, a test that skips has failed: nothing goes untested there unnoticed."""
    report = yield
    if report.skipped and "META_FLOWS_NO_SKIPS" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


LONG = ("test_every_write.py", "test_stack.py")
"""What takes minutes begins first, so that all other files are done beside it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: item.path.name not in LONG)


OURS = ("PREFECT_", "DEPLOYMENT_", "DOCKER_")


@pytest.fixture(scope="session", autouse=True)
def clean_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees what the developer's shell or profile says, and none writes to the home folder."""
    kept = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith(OURS)}
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect-home"))
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    yield
    os.environ.update(kept)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A Prefect server in a process of its own.

    Attributes:
        api_url: Where its API is.
    """

    def __init__(self, api_url: str) -> None:
        self.api_url = api_url

    def get(self, path: str) -> Any:
        """The API's raw answer to a GET."""
        return self._answer("GET", path).json()

    def post(self, path: str, body: Any = None) -> Any:
        """The API's raw answer to a POST; None if it is empty."""
        answer = self._answer("POST", path, body or {})
        return answer.json() if answer.content else None

    def patch(self, path: str, body: Any) -> None:
        """Change something by hand."""
        self._answer("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Delete something by hand."""
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, once SQLite is not locked by something else (503)."""

        def answered() -> httpx.Response | None:
            response = httpx.request(method, f"{self.api_url}{path}", json=body, timeout=120)
            return None if response.status_code == 503 else response

        return wait_until(answered).raise_for_status()

    def deployments(self, project: str) -> dict[str, Any]:
        """Raw deployments of a project by name."""
        found = self.post("/deployments/filter", {"deployments": {"tags": {"all_": [f"project:{project}"]}}})
        return {deployment["name"]: deployment for deployment in found}

    def scheduled_runs(self, deployment_id: str) -> set[str]:
        """Ids of the runs that the scheduler has made for a deployment."""
        body = {
            "deployments": {"id": {"any_": [deployment_id]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        }
        return {run["id"] for run in self.post("/flow_runs/filter", body)}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server on SQLite for the whole session; tests keep apart by the project's name."""
    with started_server(tmp_path_factory.mktemp("server")) as running:
        yield running
        APILogWorker.drain_all(timeout=10)


class started_server:  # noqa: N801  # reads as a verb where it is used
    """A server of its own for as long as the `with` lasts.

    Args:
        home: Its PREFECT_HOME.
        python: The interpreter whose Prefect it is.
        **settings: More environment variables.
    """

    def __init__(self, home: Path, *, python: str = sys.executable, **settings: str) -> None:
        self.port = free_port()
        self.home, self.python, self.settings = home, python, settings
        self.ui = home / "ui"

    def __enter__(self) -> Server:
        url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_UI_API_URL": f"{url}/api",
            # a server of 3.4 copies its UI into its own package when it first starts, and two at once break each other
            "PREFECT_UI_STATIC_DIRECTORY": str(self.ui),
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            **self.settings,
        }
        command = [self.python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.home / "server.log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

        def answers() -> bool:
            assert self.process.poll() is None, (self.home / "server.log").read_text()
            try:
                return httpx.get(f"{url}/api/health", timeout=2).status_code < 500
            except httpx.HTTPError:
                return False

        wait_until(answers, timeout=120)
        return Server(f"{url}/api")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.ui, ignore_errors=True)  # 17 MB each


def run_meta_flows(
    *words: str, cwd: Path, timeout: float = 180, python: str = sys.executable, **shell: str
) -> subprocess.CompletedProcess[str]:
    """Run `meta-flows` as a user does, in a process of its own."""
    return subprocess.run(
        [python, "-m", "meta_flows", *words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **shell},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`meta-flows` in the test's own folder, unless it is said where."""
    return partial(run_meta_flows, cwd=tmp_path)
