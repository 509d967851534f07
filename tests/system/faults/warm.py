"""Run `meta-flows` in processes that have imported it already: forked from one that did nothing else."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

IMPORTS = (
    "fastapi.applications",
    "meta_flows.cli",
    "meta_flows.cli.deploying",
    "prefect._vendor.croniter",
    "prefect.blocks.system",
    "prefect.flow_engine",
    "prefect.main",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "prefect.workers.process",
    "prefect.workers.utilities",
)
"""What every command imports sooner or later."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*IMPORTS])


_one_at_a_time = threading.Lock()
"""Starting a process looks after all others; two who look after one would each get half of how it ended."""


class Ended(NamedTuple):
    """How a command ended; a negative code is the signal that ended it."""

    code: int
    stdout: str
    stderr: str


class Run:
    """One command in a process of its own.

    Args:
        words: What follows `meta-flows`.
        cwd: Where.
        shell: Environment variables beside the test's own.
        output: Folder for what it prints.
    """

    def __init__(self, words: tuple[str, ...], cwd: Path, shell: Mapping[str, str], output: Path) -> None:
        folder = Path(tempfile.mkdtemp(dir=output))
        self._files = folder / "stdout", folder / "stderr"
        self._process = FORKS.Process(target=_main, args=(words, cwd, {**os.environ, **shell}, *self._files))

    def start(self) -> Run:
        """Start it."""
        with _one_at_a_time:
            self._process.start()
        return self

    def kill(self, way: signal.Signals = signal.SIGKILL) -> None:
        """End it with a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, way)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return bool(wait([self._process.sentinel], 0))

    def wait(self, timeout: float = 120) -> Ended:
        """Wait for its end."""
        over = wait([self._process.sentinel], timeout)
        stdout, stderr = (file.read_text() for file in self._files)
        if not over:
            self.kill()
            raise AssertionError(f"not over after {timeout} s\n{stderr}")
        with _one_at_a_time:
            self._process.join()
        assert self._process.exitcode is not None
        return Ended(self._process.exitcode, stdout, stderr)


def _main(words: tuple[str, ...], cwd: Path, environment: Mapping[str, str], stdout: Path, stderr: Path) -> None:
    from prefect.context import refresh_global_settings_context

    from meta_flows.cli import main

    for descriptor, file in enumerate((stdout, stderr), start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background ignores it
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    refresh_global_settings_context()

    try:
        main(list(words))
    finally:
        atexit._run_exitfuncs()  # a forked process skips them, and Prefect sends its last logs and events there
