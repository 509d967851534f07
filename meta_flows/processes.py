"""The processes that we start on this machine: a local Prefect server, and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from prefect.settings import PREFECT_HOME

from meta_flows.errors import refuse
from meta_flows.prefect_api.connection import answers

START_TIMEOUT_SECONDS = 120
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_local(api_url: str) -> bool:
    """Whether an address is one of this machine's own, so that a server of ours could be behind it."""
    return urlsplit(api_url).hostname in LOOPBACK


def start_server(api_url: str) -> bool:
    """Start a Prefect server in the background and wait until it answers; whether one had to be started.

    Raises:
        MetaFlowsError: MF406, it did not come up; MF901, the address is not local.
    """
    if answers(api_url):
        return False
    if not is_local(api_url):
        raise refuse("MF901", detail=f"{api_url} is not on this machine, so no server can be started for it")
    address = urlsplit(api_url)
    host, port = str(address.hostname), str(address.port or 80)
    pid_file, log = _files(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", port],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Without the first, the UI asks the API on the default port, whatever port it is served on itself. Without
            # the second, a server lists the machine's folder of time zones each time it validates a cron or interval
            # schedule, seven times for each new deployment, at 5 ms each; those of `tzdata` are listed in a file.
            env={"PREFECT_UI_API_URL": api_url, "PYTHONTZPATH": "", **os.environ},
            start_new_session=True,
        )
    pid_file.write_text(str(server.pid))
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not answers(api_url):
        if server.poll() is not None:
            raise refuse("MF406", url=api_url, detail=_last_line(log), log=log)
        if time.monotonic() > deadline:
            server.terminate()
            raise refuse("MF406", url=api_url, detail=f"no answer within {START_TIMEOUT_SECONDS} s", log=log)
        time.sleep(0.2)
    return True


def stop_server(api_url: str) -> bool:
    """End the server that `start_server` started for this address; whether there was one."""
    pid_file, _ = _files(str(urlsplit(api_url).port or 80))
    if not pid_file.exists():
        return False
    pid = int(pid_file.read_text())
    pid_file.unlink()
    if not _is_server(pid):
        return False
    os.kill(pid, signal.SIGTERM)
    while _is_server(pid):
        time.sleep(0.1)
    return True


def _files(port: str) -> tuple[Path, Path]:
    home = Path(PREFECT_HOME.value())
    return home / f"meta-flows-server-{port}.pid", home / f"meta-flows-server-{port}.log"


def _is_server(pid: int) -> bool:
    """Whether this process is still a Prefect server; a number may belong to another process by now."""
    listed = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "prefect server start" in listed.stdout and not listed.stdout.startswith("Z")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def run_workers(pools: Iterable[tuple[str, str]], api_url: str) -> int:
    """Run a worker for each work pool, given as (name, type), until stopped; the first exit code that is not 0."""
    # A shell's `&` makes its command ignore SIGINT, and a worker that inherits this ignores its first SIGTERM too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {**os.environ, "PREFECT_API_URL": api_url}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", name, "--type", kind], env=environment
        )
        for name, kind in pools
    ]

    def stop(*_: object) -> None:
        for worker in workers:
            worker.terminate()

    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt):  # they get it, too
        for worker in workers:
            worker.wait()
    return next((abs(code) for code in [worker.wait() for worker in workers] if code), 0)
