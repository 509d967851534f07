"""Run a Prefect server and workers as processes of this machine; `connect` to the server of an environment."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from prefect.settings import PREFECT_HOME

from meta_flows.configuration import Environment, load_environment
from meta_flows.diagnostics import refuse
from meta_flows.prefect_api.connection import answers, choose_server, connected

logger = logging.getLogger("meta_flows")

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_local(api_url: str) -> bool:
    """Return whether an address is this machine's, so that a server can be started for it."""
    return urlsplit(api_url).hostname in LOOPBACK


def start_server(api_url: str, on_start: Callable[[str], None] = logger.info) -> bool:
    """Start a Prefect server in the background and wait until it answers; return False if one answered already.

    `on_start` is called with a message that one is being started, and how to stop it.

    Raises:
        MetaFlowsError: MF406, it did not come up; MF901, the address is not local.
    """
    if answers(api_url):
        return False
    if not is_local(api_url):
        raise refuse("MF901", detail=f"{api_url} is not on this machine, so no server can be started for it")
    address = urlsplit(api_url)
    host, port = str(address.hostname), str(address.port or 80)
    with _starting(port) as (pid_file, log):
        if answers(api_url):  # another process started one meanwhile
            return False
        on_start(
            f"Starting a Prefect server in the background: {api_url} (`meta-flows server stop` ends it; log: {log})"
        )
        _start(api_url, host, port, pid_file, log)
    return True


def _start(api_url: str, host: str, port: str, pid_file: Path, log: Path) -> None:
    """Start a server and wait until it answers."""
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
    written = pid_file.with_suffix(".new")
    written.write_text(str(server.pid))
    written.replace(pid_file)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not answers(api_url):
        if server.poll() is not None:
            raise refuse("MF406", url=api_url, detail=_last_line(log), log=log)
        if time.monotonic() > deadline:
            server.terminate()
            raise refuse("MF406", url=api_url, detail=f"no answer within {START_TIMEOUT_SECONDS} s", log=log)
        time.sleep(0.2)


@contextmanager
def _starting(port: str) -> Iterator[tuple[Path, Path]]:
    """Be the only process that starts a server on a port; yield its pid file and its log."""
    pid_file, log = _files(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with pid_file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, however this process ends
        yield pid_file, log


def stop_server(api_url: str) -> bool:
    """Stop the server that `start_server` started for this address; return False if there is none.

    A server that does not end within 10 s is killed.
    """
    pid_file, _ = _files(str(urlsplit(api_url).port or 80))
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):  # none was started; a start was cut short
        return False
    pid_file.unlink(missing_ok=True)
    if not _is_server(pid):
        return False
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.kill(pid, signal_number)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while _is_server(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not _is_server(pid):
            break
    return True


def _files(port: str) -> tuple[Path, Path]:
    home = Path(PREFECT_HOME.value())
    return home / f"meta-flows-server-{port}.pid", home / f"meta-flows-server-{port}.log"


def _is_server(pid: int) -> bool:
    """Return whether this process is still a Prefect server; its id may belong to another process by now."""
    listed = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "prefect server start" in listed.stdout and not listed.stdout.startswith("Z")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def run_workers(pools: Iterable[tuple[str, str]], api_url: str) -> int:
    """Run a worker for each work pool, given as (name, type), until stopped; return the first exit code but 0."""
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
    with suppress(KeyboardInterrupt):  # the workers get it, too
        for worker in workers:
            worker.wait()
    return next((abs(code) for code in [worker.wait() for worker in workers] if code), 0)


@contextmanager
def connect(
    environment: str | None = None,
    *,
    root: Path | None = None,
    api_url: str | None = None,
    start_local: bool = False,
    on_start: Callable[[str], None] = logger.info,
) -> Iterator[Environment]:
    """Use the server of an environment within this context, for our meta-flows and for Prefect itself.

    Args:
        environment: Long or short name; the value of `DEPLOYMENT_ENV`, or development, if not given.
        root: The repository; the working directory if not given.
        api_url: Server in place of the one that the shell or the environment's file names.
        start_local: Start a server if none answers and the environment's own is on this machine.
        on_start: Called with a message that a server is being started.

    Raises:
        MetaFlowsError: MF204, no such environment; MF401 to MF406 or MF408, no usable server.
    """
    repository = (root or Path()).resolve()
    if not repository.is_dir():
        raise refuse("MF215", what="the repository's folder", path=repository)
    target = load_environment(repository, environment)
    server = choose_server(target.name, target.prefect_api_url, api_url)
    if start_local and server.api_url == target.prefect_api_url.rstrip("/") and is_local(server.api_url):
        start_server(server.api_url, on_start)
    with connected(server.api_url):
        yield target
