"""A run that is killed half-way, and the run after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows.trading.data_ingestion.polygon_flows import polygon_daily_ingestion
from tests.server.flows.trading.conftest import rows
from tests.server.flows.trading.vendors import Vendors
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
RUN = "from flows.trading.data_ingestion.polygon_flows import polygon_daily_ingestion as f; f(days_back=28)"


@pytest.mark.parametrize("requests", [2, 5, 7])
def test_after_a_kill_and_another_run_nothing_is_missing_and_nothing_is_there_twice(
    vendors: Vendors, on_each: str, shell: pytest.MonkeyPatch, tmp_path: Path, requests: int
) -> None:
    """The vendor keeps it waiting after so many requests; then it is killed with all of its threads."""
    vendors.closes_after = requests
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": PREFECT_API_URL.value()}
    process = subprocess.Popen([sys.executable, "-c", RUN], env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until(lambda: not vendors.gate.is_set() and vendors.waiting, timeout=180)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    half = rows(on_each)
    vendors.closes_after = None
    vendors.gate.set()

    counts = polygon_daily_ingestion(days_back=28)
    whole = rows(on_each)
    assert len(half) < len(whole) == sum(counts.values())

    clean = f"sqlite:///{tmp_path}/clean.db"
    shell.setenv("TRADING_DATABASE_URL", clean)
    assert polygon_daily_ingestion(days_back=28) == counts
    assert whole == rows(clean)
