"""Indicators, against TA-Lib's and through the flow."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
import pytest
import talib

from flows.trading.analytics import indicators
from flows.trading.analytics.indicator_flows import technical_indicators
from flows.trading.analytics.indicators import Values
from flows.trading.market_calendar import midnight, today, trading_days
from tests.server.flows.trading.conftest import rows, write

RANDOM = Random(7)
WALK = [100 * value for value in accumulate((1 + RANDOM.gauss(0, 0.02) for _ in range(400)), lambda x, y: x * y)]
SERIES = [WALK, WALK[:20], WALK[:34], WALK[:5], [], [50.0 + number for number in range(60)], [5.0] * 60]


def assert_same(ours: Values, theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == math.isnan(other)
        assert mine is None or math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-6)


each = pytest.mark.parametrize("closes", SERIES, ids=lambda closes: str(len(closes)))


@each
def test_moving_averages_are_those_of_ta_lib(closes: list[float]) -> None:
    assert_same(indicators.sma(closes, 20), talib.SMA(np.array(closes), 20))
    assert_same(indicators.ema(closes, 20), talib.EMA(np.array(closes), 20))


@each
def test_macd_is_that_of_ta_lib(closes: list[float]) -> None:
    for ours, theirs in zip(indicators.macd(closes), talib.MACD(np.array(closes)), strict=True):
        assert_same(ours, theirs)


@each
def test_bollinger_bands_are_those_of_ta_lib(closes: list[float]) -> None:
    upper, _, lower = talib.BBANDS(np.array(closes), 20, 2, 2)
    assert_same(indicators.bollinger(closes)[0], upper)
    assert_same(indicators.bollinger(closes)[1], lower)


@pytest.mark.parametrize("closes", SERIES[:-1], ids=lambda closes: str(len(closes)))
def test_rsi_is_that_of_ta_lib(closes: list[float]) -> None:
    assert_same(indicators.rsi(closes), talib.RSI(np.array(closes), 14))


def test_rsi_of_a_price_that_stands_still_is_neither_high_nor_low() -> None:
    """TA-Lib says 0 there, as if it only fell."""
    assert indicators.rsi([5.0] * 20)[-1] == 50


def bars_of(days: list[date], closes: list[float]) -> list[dict[str, Any]]:
    """A bar of each day, all of its prices the same."""
    key = {"source": "polygon", "symbol": "AAPL", "timeframe": "1d", "vwap": None, "trades": None, "volume": Decimal(1)}
    prices = [round(Decimal(close), 4) for close in closes[: len(days)]]
    return [
        {**key, "at": midnight(day), **dict.fromkeys(("open", "high", "low", "close"), price)}
        for day, price in zip(days, prices, strict=True)
    ]


def test_values_of_the_last_days_are_stored_computed_from_all_bars(on_each: str, shell: pytest.MonkeyPatch) -> None:
    from flows.trading.storage import indicators as table

    days = trading_days(today() - timedelta(days=120), today())
    new = bars_of(days, WALK)
    prices = [bar["close"] for bar in new]
    write(on_each, *new)
    counts = technical_indicators(days_back=7, symbols=["AAPL"])
    stored = rows(on_each, table)
    recent = [day for day in days if day >= today() - timedelta(days=7)]
    assert counts == {"AAPL": 8 * len(recent)} == {"AAPL": len(stored)}
    found = {row["at"]: row["value"] for row in stored if row["name"] == "rsi_14"}
    expected = talib.RSI(np.array([float(price) for price in prices]), 14)[-len(recent) :]
    assert list(found) == [midnight(day) for day in recent]
    assert list(found.values()) == pytest.approx(list(expected))
    assert technical_indicators(days_back=7, symbols=["AAPL"]) == {"AAPL": 0}
    assert rows(on_each, table) == stored


def test_values_of_long_ago_change_with_the_bars_that_they_are_made_of(on_each: str) -> None:
    from flows.trading.storage import indicators as table

    days = trading_days(today() - timedelta(days=150), today() - timedelta(days=60))
    write(on_each, *bars_of(days, WALK))
    technical_indicators(symbols=["AAPL"])
    write(on_each, *bars_of(days, [close / 4 for close in WALK]))
    assert technical_indicators(symbols=["AAPL"])["AAPL"]
    stored = {row["at"]: row["value"] for row in rows(on_each, table) if row["name"] == "sma_20"}
    expected = talib.SMA(np.array([float(round(Decimal(close / 4), 4)) for close in WALK[: len(days)]]), 20)[19:]
    assert list(stored.values()) == pytest.approx(list(expected))


def test_a_symbol_without_bars_has_no_indicators(on_sqlite: str) -> None:
    assert technical_indicators(symbols=["NONE"]) == {"NONE": 0}
