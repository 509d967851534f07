"""Real Prefect servers, and `meta-flows` as a user runs it."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import wait_until

CLIENT = httpx.Client(timeout=120, verify=False, limits=httpx.Limits(max_keepalive_connections=0))
"""What tests ask servers with; it reads no certificates, which takes as long as a request, and keeps no connection."""

NOISE = ("TASK_RUN_RECORDER", "EVENT_PERSISTER", "EVENT_LOGGER", "TRIGGERS")
QUIET = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in NOISE}
"""Without what a server does with events, which is nothing to a deploy; most of it locks its SQLite."""

TEMPLATE = Path(os.environ["PREFECT_HOME"]) / "template.db"
"""The database of the first server just after its start: the others need no migrations, which take half of that."""

Command = Callable[..., subprocess.CompletedProcess[str]]


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
        auth: User and password that it wants, if it wants any.
    """

    def __init__(self, api_url: str, auth: tuple[str, str] | None = None) -> None:
        self.api_url, self.auth = api_url, auth

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
            response = CLIENT.request(method, f"{self.api_url}{path}", json=body, auth=self.auth)
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
        self.database = home / "prefect.db"

    def __enter__(self) -> Server:
        url = f"http://127.0.0.1:{self.port}"
        migrated = TEMPLATE if self.python == sys.executable else self.database
        if migrated.exists() and not self.database.exists():
            shutil.copy(migrated, self.database)
        environment = {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_UI_API_URL": f"{url}/api",
            # a server of 3.4 copies its UI into its own package when it first starts, and two at once break each other
            "PREFECT_UI_STATIC_DIRECTORY": str(self.ui),
            "PYTHONTZPATH": "",
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
        if migrated is TEMPLATE and not TEMPLATE.exists() and self.database.exists():
            with closing(sqlite3.connect(self.database)) as new, closing(sqlite3.connect(TEMPLATE)) as copy:
                new.backup(copy)
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
