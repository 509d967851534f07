"""One Prefect server for all runs of the example flows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_LOGGING_LEVEL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def prefect_server() -> Iterator[None]:
    """A server of these tests' own; it is gone, with its settings, when other tests run."""
    quiet = {
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        PREFECT_SERVER_LOGGING_LEVEL: "CRITICAL",
    }
    with temporary_settings(quiet), prefect_test_harness(server_startup_timeout=120):
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
