"""One real server for all tests of this folder, without what deploys do not need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import QUIET, Server, started_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server on SQLite for the whole session; tests keep apart by the project's name.

    It stores no events and no task runs: while it does, its SQLite refuses writes, and now and then stands still.
    """
    with started_server(tmp_path_factory.mktemp("server"), **QUIET) as running:
        yield running
