"""Deploys the same flows with stock Prefect and with meta-flows, and measures each as a whole process."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from pydantic import BaseModel

from benchmarks.floor import measure_floor
from benchmarks.repository import change_one_flow, write_repository
from benchmarks.server import Database, Server, started_server
from meta_flows.tasks.shell import SINGLE

Tool = Literal["stock", "meta-flows"]
Phase = Literal["cold", "unchanged", "one changed"]

PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
META_FLOWS = (sys.executable, "-m", "meta_flows")
COMMANDS: dict[Tool, tuple[str, ...]] = {
    "stock": (*PREFECT, "deploy", "--all", "--prefect-file", "prefect.yaml"),
    "meta-flows": (*META_FLOWS, "deploy"),
}
"""What a user of each tool types."""


class Measurement(BaseModel):
    """One deploy, from the start of its process to the end.

    Attributes:
        seconds: How long a user waits.
        cpu_seconds: Processor time of the process and its children.
        requests: HTTP requests by method, as the server counted them.
        scheduled_runs: Runs that were scheduled before.
        lost_runs: How many of those are gone afterwards, whether others took their place or not.
    """

    tool: Tool
    phase: Phase
    seconds: float
    cpu_seconds: float
    requests: dict[str, int]
    scheduled_runs: int
    lost_runs: int

    @property
    def request_count(self) -> int:
        """All requests, whatever their method."""
        return sum(self.requests.values())


class Floor(BaseModel):
    """How near our writes come to what the server needs for them.

    Attributes:
        seconds: What the same creations take a client that does nothing else.
        apply_seconds: What our own deploy took for them.
    """

    seconds: float
    apply_seconds: float


class Result(BaseModel):
    """All measurements for one number of flows on one database."""

    flows: int
    database: Database
    prefect: str = version("prefect")
    python: str = platform.python_version()
    cores: int = os.cpu_count() or 1
    measured: datetime
    measurements: list[Measurement]
    floors: list[Floor] = []

    def of(self, tool: Tool, phase: Phase) -> list[Measurement]:
        """One for each repetition."""
        return [item for item in self.measurements if (item.tool, item.phase) == (tool, phase)]


def benchmark(count: int, database: Database, repeat: int) -> Result:
    """Measure both tools, `repeat` times, each time on a new server.

    Raises:
        SystemExit: A deploy failed, or the two tools did not deploy the same.
    """
    found = [item for number in range(repeat) for item in _round(count, database, number)]
    return Result(
        flows=count,
        database=database,
        measured=datetime.now(timezone.utc),
        measurements=[item for item in found if isinstance(item, Measurement)],
        floors=[item for item in found if isinstance(item, Floor)],
    )


def _round(count: int, database: Database, number: int) -> Iterator[Measurement | Floor]:
    tools: list[Tool] = list(get_args(Tool))
    if number % 2:  # whoever is second finds a larger database
        tools.reverse()
    with TemporaryDirectory(prefix="bench-") as folder, started_server(Path(folder), database) as server:
        for tool in tools:  # both find bytecode compiled and the server's code loaded
            _measure(server, _prepared(Path(folder) / f"warm-{tool}", 1, server), tool, "cold")
        apply_seconds = 0.0
        roots = {tool: _prepared(Path(folder) / tool, count, server) for tool in tools}
        for phase in get_args(Phase):
            for tool in tools:
                if phase == "one changed":
                    change_one_flow(roots[tool])
                yield _measure(server, roots[tool], tool, phase)
                if phase == "cold" and tool == "meta-flows" and count > SINGLE:
                    apply_seconds = server.apply_seconds()
            _refuse_difference(server, roots)
            if phase == "cold" and count > SINGLE:  # fewer changes have a task run each
                server.settle()
                seconds = measure_floor(server, "meta-flows")
                yield Floor(seconds=round(seconds, 3), apply_seconds=round(apply_seconds, 3))


def _prepared(root: Path, count: int, server: Server) -> Path:
    """A repository that both tools can deploy, and the work pool that stock Prefect wants to find."""
    write_repository(root, count)
    _run((*META_FLOWS, "build", "--output", "prefect.yaml"), root, server)
    _run((*PREFECT, "work-pool", "create", root.name, "--type", "process"), root, server)
    return root


def _measure(server: Server, root: Path, tool: Tool, phase: Phase) -> Measurement:
    server.settle()
    before = server.scheduled_runs(root.name).keys()
    position, started = server.log.stat().st_size, time.monotonic()
    cpu_seconds = _run(COMMANDS[tool], root, server)
    seconds = time.monotonic() - started
    requests = dict(sorted(server.requests_since(position).items()))
    lost = before - server.scheduled_runs(root.name).keys()
    return Measurement(
        tool=tool,
        phase=phase,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu_seconds, 3),
        requests=requests,
        scheduled_runs=len(before),
        lost_runs=len(lost),
    )


def _run(command: tuple[str, ...], root: Path, server: Server) -> float:
    """Processor time of a command and of the children that it waited for."""
    with (root / "output.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=server.shell, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (root / "output.log").read_text()[-2000:]
        raise SystemExit(f"`{' '.join(command[2:])}` failed with exit code {process.returncode}:\n{said}")
    return usage.ru_utime + usage.ru_stime


OF_EACH = ("created", "updated", "status", "version")
"""What is another for every deployment; the version is a hash over the code, flow names included."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _refuse_difference(server: Server, roots: dict[Tool, Path]) -> None:
    """Make sure that both deployed the same, so that the comparison is one."""
    stock, ours = (
        [_comparable(deployment, roots[tool]) for deployment in server.deployments(tool)]
        for tool in ("stock", "meta-flows")
    )
    if stock != ours:
        different = next(
            (pair for pair in zip(stock, ours, strict=False) if pair[0] != pair[1]), (len(stock), len(ours))
        )
        raise SystemExit(f"the two tools did not deploy the same:\n{different[0]}\n{different[1]}")


def _comparable(value: Any, root: Path) -> Any:
    """An API answer without what is another for every object or repository."""
    if isinstance(value, dict):
        return {key: _comparable(content, root) for key, content in value.items() if key not in OF_EACH}
    if isinstance(value, list):
        return sorted((_comparable(item, root) for item in value), key=str)
    return UUID.sub("", value.replace(str(root), "").replace(root.name, "")) if isinstance(value, str) else value
