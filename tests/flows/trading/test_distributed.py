"""The same results on a Dask cluster, and without one."""

from __future__ import annotations

import logging
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from flows.trading.analytics.indicator_flows import technical_indicators
from flows.trading.data_ingestion.polygon_flows import polygon_daily_ingestion
from flows.trading.data_ingestion.validation_flows import market_data_validation
from flows.trading.storage import indicators
from tests.flows.trading.conftest import rows
from tests.flows.trading.vendors import Answer, Vendors


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
