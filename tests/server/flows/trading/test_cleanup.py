"""Deleting by policy, and saying so first."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.trading.maintenance.cleanup_flows import RetentionPolicy, market_data_cleanup
from flows.trading.market_calendar import midnight, today
from flows.trading.storage import indicators, quotes
from tests.server.flows.trading.conftest import rows, write

POLICY = RetentionPolicy(daily_bars=None, intraday_bars=10, quotes=5, indicators=20)


def fill(url: str) -> None:
    """A row of each kind for each of the last 30 days."""
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal(1))
    for days in range(30):
        key: dict[str, Any] = {"source": "s", "symbol": "A", "at": midnight(today() - timedelta(days=days))}
        bar = {**key, **prices, "vwap": None, "trades": None}
        write(url, {**bar, "timeframe": "1d"}, {**bar, "timeframe": "5m"})
        write(url, {**key, "price": Decimal(1), "previous_close": None, "currency": "USD"}, table=quotes)
        write(url, {**key, "timeframe": "1d", "name": "rsi_14", "value": 1.0}, table=indicators)


def counts(url: str) -> dict[str, int]:
    bars = rows(url)
    return {
        "daily_bars": sum(row["timeframe"] == "1d" for row in bars),
        "intraday_bars": sum(row["timeframe"] == "5m" for row in bars),
        "quotes": len(rows(url, quotes)),
        "indicators": len(rows(url, indicators)),
    }


def test_a_dry_run_counts_and_deletes_nothing(on_each: str) -> None:
    fill(on_each)
    assert market_data_cleanup(POLICY) == {"intraday_bars": 19, "quotes": 24, "indicators": 9}
    assert set(counts(on_each).values()) == {30}


def test_a_kind_of_data_that_does_not_exist_is_refused_and_nothing_is_deleted(on_sqlite: str) -> None:
    """Its misspelt name would otherwise stand for the default."""
    fill(on_sqlite)
    with pytest.raises(ParameterTypeError, match="intraday_bar"):
        market_data_cleanup({"intraday_bar": 365}, dry_run=False)  # type: ignore[call-overload]
    assert set(counts(on_sqlite).values()) == {30}


def test_what_is_older_than_the_policy_keeps_is_deleted_and_nothing_else(on_each: str) -> None:
    fill(on_each)
    assert market_data_cleanup(POLICY, dry_run=False) == {"intraday_bars": 19, "quotes": 24, "indicators": 9}
    assert counts(on_each) == {"daily_bars": 30, "intraday_bars": 11, "quotes": 6, "indicators": 21}
    assert market_data_cleanup(POLICY, dry_run=False) == {"intraday_bars": 0, "quotes": 0, "indicators": 0}
