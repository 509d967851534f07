"""Real workers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.servers import Server
from tests.waiting import wait_until


@contextmanager
def started_worker(
    command: list[str], pool: str, server: Server, folder: Path, **shell: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker for as long as the `with` lasts, from when its pool is ready.

    Args:
        command: What starts it.
        pool: Its pool; it may make it.
        server: Where the pool is.
        folder: Its working directory, with what it logs.
        **shell: Environment variables beside the test's own.
    """
    log = folder / "worker.log"
    with log.open("wb") as output:  # nobody would read a pipe, and it would fill up
        process = subprocess.Popen(
            # a shell's background job ignores SIGINT, as do its children, and such a worker outlives its first SIGTERM
            ["env", "--default-signal=INT", *command],
            cwd=folder,
            env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1", **shell},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        pools = server.post("/work_pools/filter", {"work_pools": {"name": {"any_": [pool]}}})
        return bool(pools) and pools[0]["status"] == "READY"

    try:
        wait_until(ready, timeout=240)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):  # one of Prefect 3.4 that has met an error does not end
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def prefect_worker(
    pool: str, server: Server, folder: Path, kind: str = "process"
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker as `prefect worker start` starts it."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind]
    command += ["--install-policy", "never"]
    return started_worker(command, pool, server, folder, PREFECT_API_URL=server.api_url)


def development_worker(
    root: Path, pool: str, server: Server, folder: Path, *, python: str = sys.executable, **shell: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker as `make worker` starts it in a repository."""
    command = [python, "-m", "meta_flows", "worker", "start", "--root", str(root), "--environment", "development"]
    return started_worker(command, pool, server, folder, **shell)
