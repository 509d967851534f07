"""The server that `meta-flows server start` starts on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.servers import Command, free_port


class LocalServer:
    """An address on this machine, and the commands for it."""

    def __init__(self, command: Command, home: Path) -> None:
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.pid_file = home / f"meta-flows-server-{self.port}.pid"
        self._command, self._home = command, home

    def run(self, word: str) -> str:
        """`server start` or `server stop`; what it prints."""
        words = ("server", word, "--api-url", self.api_url)
        done = self._command(*words, cwd=self._home, PREFECT_HOME=str(self._home), PREFECT_SERVER_UI_ENABLED="false")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().removeprefix(f"{self.api_url} ")

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health").is_success
        except httpx.HTTPError:
            return False


@pytest.fixture
def local(command: Command, tmp_path: Path) -> Iterator[LocalServer]:
    server = LocalServer(command, tmp_path)
    yield server
    server.run("stop")


def test_of_two_starts_at_once_one_starts_a_server_which_a_stop_ends_even_if_it_hangs(local: LocalServer) -> None:
    with ThreadPoolExecutor() as threads:
        said = sorted(threads.map(local.run, ["start", "start"]))
    assert said == ["started", "was up already"]
    assert local.answers()
    os.kill(int(local.pid_file.read_text()), signal.SIGSTOP)
    assert local.run("stop") == "stopped"
    assert not local.answers()
    assert local.run("stop") == "was not started by us"


def test_a_pid_file_that_a_start_left_empty_is_no_server(local: LocalServer) -> None:
    local.pid_file.touch()
    assert local.run("stop") == "was not started by us"
