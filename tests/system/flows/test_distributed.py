"""The same results on a Dask cluster, and without one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from dask.distributed import Client
from prefect.settings import PREFECT_API_URL

from flows.trading.analytics.indicator_flows import technical_indicators
from flows.trading.data_ingestion.polygon_flows import polygon_daily_ingestion
from flows.trading.data_ingestion.validation_flows import market_data_validation
from flows.trading.storage import indicators
from tests.server.flows.trading.conftest import rows
from tests.server.flows.trading.vendors import Answer, Vendors

ROOT = Path(__file__).parents[3]


def test_results_are_the_same_with_and_without(
    vendors: Vendors, on_sqlite: str, shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads = on_sqlite
    dask = f"sqlite:///{tmp_path}/dask.db?timeout=60"
    results = []
    for use_distributed, url in ((False, threads), (True, dask)):
        shell.setenv("TRADING_DATABASE_URL", url)
        ingested = polygon_daily_ingestion(days_back=40, use_distributed=use_distributed)
        computed = technical_indicators(days_back=40, use_distributed=use_distributed)
        validated = market_data_validation(days_back=40, use_distributed=use_distributed)
        results.append((ingested, computed, validated, rows(url), rows(url, indicators)))
    assert results[0] == results[1]
    assert all(results[0][:2])
    assert results[0][3]


@pytest.fixture(autouse=True)
def known_to_processes(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's address where processes of a cluster find it, as a worker's runs have it."""
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))


CLUSTER = """
from dask.distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    input()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Address of a cluster whose processes know the server, none of the run's settings, and work in another folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADING_")}
    process = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n{indent(CLUSTER, '    ')}"],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("\n", timeout=60)


def test_a_cluster_that_is_there_works_on_the_runs_database(
    vendors: Vendors, on_sqlite: str, shell: pytest.MonkeyPatch, cluster: str
) -> None:
    shell.setenv("TRADING_DASK_SCHEDULER", cluster)
    with Client(cluster) as client:  # type: ignore[no-untyped-call]
        before = client.run_on_scheduler(transitions)
        assert polygon_daily_ingestion(days_back=20, symbols=["AAPL"], use_distributed=True)["AAPL"]
        counts = technical_indicators(symbols=["AAPL"], use_distributed=True)
        assert counts == {"AAPL": len(rows(on_sqlite, indicators))}
        assert market_data_validation(days_back=20, symbols=["AAPL"], use_distributed=True) == {"AAPL": {}}
        assert client.run_on_scheduler(transitions) > before
    assert rows(on_sqlite)


def transitions(dask_scheduler: Any) -> int:
    """How much a cluster has done."""
    return int(dask_scheduler.transition_counter)


def test_a_symbol_that_fails_on_the_cluster_is_named(vendors: Vendors, on_sqlite: str) -> None:
    vendors.says("MSFT", Answer(403, "not entitled"))
    with pytest.raises(RuntimeError, match=r"1 of 2 symbols failed: MSFT: .*not entitled"):
        polygon_daily_ingestion(use_distributed=True)
    assert {row["symbol"] for row in rows(on_sqlite)} == {"AAPL"}


def test_without_dask_threads_do_the_work_and_the_log_says_so(
    vendors: Vendors, on_sqlite: str, shell: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shell.setitem(sys.modules, "prefect_dask", None)
    shell.setitem(sys.modules, "prefect_dask.task_runners", None)
    with caplog.at_level(logging.WARNING):
        assert polygon_daily_ingestion(symbols=["AAPL"], use_distributed=True)["AAPL"]
    assert "pip install prefect-dask" in caplog.text
    assert {row["close"] > Decimal(1) for row in rows(on_sqlite)} == {True}
