"""What all tests share: a clean shell, a real Prefect server, small repositories."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from prefect.logging.handlers import APILogWorker

from meta_flows.desired.parameter_schemas import importing
from tests.servers import Command, Server, run_meta_flows, started_server
from tests.shops import Shop

pytest_plugins = ("tests.deployed", "tests.desks", "tests.engines")
"""Fixtures that tests of a server share with tests of processes, containers and browsers."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With META_FLOWS_NO_SKIPS set, as in CI, a test that skips has failed: nothing goes untested there unnoticed."""
    report = yield
    if report.skipped and "META_FLOWS_NO_SKIPS" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


LONGEST_FIRST = (
    "operating/test_approval.py",
    "faults/test_signals.py",
    "operating/test_in_the_browser.py",
    "faults/test_every_write.py",
    "compose/test_stack.py",
    "operating/test_registering.py",
    "images/test_deploying.py",
    "images/test_runs.py",
    "flows/test_deployed.py",
    "checking/test_browser.py",
    "operating/test_remote.py",
    "operating/test_ticks.py",
    "prefect_versions/test_two_versions.py",
    "system/test_makefile.py",
)
"""Files that take minutes, in the order in which they begin, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in tests/system or takes more than Python, and begin with the files that take longest."""
    for item in items:
        if item.path.is_relative_to(SYSTEM) or not REAL.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("system")
    order = {name: position for position, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what `make test` leaves out."""
    if config.option.markexpr == "not system":
        terminalreporter.write_line(
            "left out: tests that take processes, workers, containers, browsers, PostgreSQL or a second version of"
            " Prefect; `make test-all` runs them too"
        )


SYSTEM = Path(__file__).parent / "system"

REAL = frozenset({"engine", "locked_registry", "postgresql", "registry", "unscheduled_server", "worker"})
"""Fixtures of programs that have to be installed, and of processes beside the one server."""


@pytest.fixture(scope="session", autouse=True)
def importer() -> Iterator[None]:
    """One process for all parameter schemas: commands in a test's own process cannot fork it from that."""
    with importing():
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server on SQLite for the whole session; tests keep apart by the project's name."""
    with started_server(tmp_path_factory.mktemp("server")) as running:
        yield running
        APILogWorker.drain_all(timeout=10)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`meta-flows` in the test's own folder, unless it is said where."""
    return partial(run_meta_flows, cwd=tmp_path)


@pytest.fixture
def shop(tmp_path: Path, server: Server, command: Command) -> Shop:
    """A repository with three flows, not deployed yet."""
    return Shop(tmp_path / "shop", server, command)
