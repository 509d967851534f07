"""One Prefect server for all runs of the example flows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from meta_flows.prefect_api.connection import connected
from tests.servers import Server

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def prefect_server(server: Server) -> Iterator[None]:
    """Runs of flows on the session's server; they send it no logs."""
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}), connected(server.api_url):
        yield


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the flows' shipped data where their defaults expect it."""
    folder = tmp_path_factory.mktemp("checkout")
    for slug in ("rpa1", "rpa2", "rpa3"):
        shutil.copytree(ROOT / "flows" / slug / "data", folder / "flows" / slug / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for setting in [name for name in os.environ if name.startswith("RPA")]:
            patch.delenv(setting)
        yield folder
