"""A Prefect server of our own on SQLite or PostgreSQL, which tells what it was asked."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx

Database = Literal["sqlite", "postgresql"]

START_SECONDS = 120
PATIENCE = 180
"""How long an answer may take, in seconds: on SQLite a busy server can stand still for 60."""
SETTLED_SECONDS = 8
"""How long no run may have been scheduled before the scheduler counts as done; it looks every five seconds."""

REQUEST = re.compile(r'- "(?P<method>[A-Z]+|WebSocket) (?P<path>\S+)')
"""A line of the server's access log."""


class Server(NamedTuple):
    """A running server.

    Attributes:
        log: Where it writes its access log.
        shell: Environment of the processes that are its clients.
    """

    api_url: str
    log: Path
    shell: dict[str, str]

    def requests_since(self, position: int) -> Counter[str]:
        """The requests it answered since its log was `position` bytes long, by method."""
        with self.log.open(encoding="utf-8") as log:
            log.seek(position)
            return Counter(found["method"] for line in log if (found := REQUEST.search(line)))

    def deployments(self, *projects: str) -> list[dict[str, Any]]:
        """The raw deployments of some projects, or all there are."""
        return list(self._all("deployments", projects, sort="NAME_ASC"))

    def flows(self) -> list[dict[str, Any]]:
        """All flows."""
        return list(self._all("flows", ()))

    def apply_seconds(self) -> float:
        """How long the newest deploy of many changes wrote, by its own task run."""
        found = {"task_runs": {"name": {"like_": "apply % changes"}}, "sort": "END_TIME_DESC", "limit": 1}
        [newest] = (
            httpx.post(f"{self.api_url}/task_runs/filter", json=found, timeout=PATIENCE).raise_for_status().json()
        )
        return float(newest["total_run_time"])

    def scheduled_runs(self, *projects: str) -> dict[str, str]:
        """The deployment of each scheduled run of some projects, or of all, by the run's id."""
        scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        return {run["id"]: run["deployment_id"] for run in self._all("flow_runs", projects, flow_runs=scheduled)}

    def settle(self) -> None:
        """Wait until every deployment has its scheduled runs; a deploy before that would compete with the scheduler."""
        deployments = {deployment["id"] for deployment in self.deployments()}
        runs, since = self.scheduled_runs(), time.monotonic()
        while deployments - {*runs.values()} or time.monotonic() - since < SETTLED_SECONDS:
            time.sleep(1)
            now = self.scheduled_runs()
            if now.keys() != runs.keys():
                runs, since = now, time.monotonic()

    def _all(self, collection: str, projects: Sequence[str], **body: Any) -> Iterator[dict[str, Any]]:
        if projects:
            body["deployments"] = {"tags": {"any_": [f"project:{project}" for project in projects]}}
        offset, limit = 0, 200
        while True:
            url = f"{self.api_url}/{collection}/filter"
            answer = httpx.post(url, json={"offset": offset, "limit": limit, **body}, timeout=PATIENCE)
            page = answer.raise_for_status().json()
            yield from page
            if len(page) < limit:
                return
            offset += limit


@contextmanager
def started_server(folder: Path, database: Database) -> Iterator[Server]:
    """A server in a process of its own, with nothing in it.

    Args:
        folder: Empty; everything it keeps goes there.
        database: Where it keeps it.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "DEPLOYMENT_"))}
    environment = {**kept, "PREFECT_HOME": str(folder / "server"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    port, log = str(_free_port()), folder / "server.log"
    api_url = f"http://127.0.0.1:{port}/api"
    environment["PREFECT_UI_API_URL"] = api_url  # its default has the default port
    with started_database(folder, database) as url, log.open("wb") as output:
        if url:
            environment["PREFECT_API_DATABASE_CONNECTION_URL"] = url
        # From level INFO on the server logs each request, and on no other level does it tell what it was asked.
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", port, "--log-level", "INFO"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        shell = {**kept, "PREFECT_HOME": str(folder / "client"), "PREFECT_API_URL": api_url, "COLUMNS": "200"}
        try:
            _wait_for(api_url, process, log)
            yield Server(api_url, log, shell)
        finally:
            process.terminate()
            process.wait()


def _wait_for(api_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{api_url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


@contextmanager
def started_database(folder: Path, database: Database) -> Iterator[str | None]:
    """The connection URL of a database; None for SQLite, which Prefect makes by itself."""
    if database == "sqlite":
        yield None
        return
    programs = _postgresql_programs()
    data, port = folder / "postgresql", str(_free_port())
    data.mkdir()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        owner = pwd.getpwnam("nobody")
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        folder.chmod(0o755)
        os.chown(data, owner.pw_uid, owner.pw_gid)
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w"]

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data, **user)

    run(str(programs / "initdb"), "-D", str(data), "-U", "prefect", "--auth=trust", "--encoding=UTF8")
    run(*control, "-o", options, "-l", str(data / "log"), "start")
    try:
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")


def _postgresql_programs() -> Path:
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        raise SystemExit("PostgreSQL is not installed: neither on PATH nor in /usr/lib/postgresql is there an initdb")
    return folders[-1]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
