"""Bars and quotes from Yahoo's charts."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from flows.trading.data_ingestion.yahoo_flows import yahoo_history_ingestion, yahoo_quotes_ingestion
from flows.trading.market_calendar import midnight, today, trading_days
from flows.trading.storage import quotes
from tests.server.flows.trading.conftest import rows
from tests.server.flows.trading.vendors import Answer, Vendors

OPENING = timedelta(hours=9, minutes=30)
NAMES = ("open", "high", "low", "close", "volume")


def chart(days: list[date], **meta: Any) -> dict[str, Any]:
    """A chart as Yahoo gives it: 32-bit prices, stamped with the opening."""
    count = len(days)
    columns = {
        "open": [189.3300018310547] * count,
        "high": [191.0500030517578] * count,
        "low": [188.82000732421875] * count,
        "close": [189.97999572753906] * count,
        "volume": [24048300] * count,
    }
    return {
        "meta": {
            "currency": "USD",
            "symbol": "AAPL",
            "regularMarketTime": 1700859601,
            "regularMarketPrice": 189.97,
            "chartPreviousClose": 191.31,
            "priceHint": 2,
            **meta,
        },
        "timestamp": [int((midnight(day) + OPENING).timestamp()) for day in days],
        "indicators": {"quote": [columns], "adjclose": [{"adjclose": [189.2] * count}]},
    }


@pytest.fixture
def days() -> list[date]:
    return trading_days(today() - timedelta(days=20), today() - timedelta(days=1))


def ingest(**parameters: Any) -> Any:
    return yahoo_history_ingestion(symbols=["AAPL"], **parameters)


def test_bars_are_stored_by_day_with_the_price_behind_the_binary_fraction(
    vendors: Vendors, on_each: str, days: list[date]
) -> None:
    vendors.charts["AAPL"] = chart(days)
    assert ingest() == ingest() == {"AAPL": len(days)}
    stored = rows(on_each)
    assert [row["at"] for row in stored] == [midnight(day) for day in days]
    prices = {tuple(row[name] for name in NAMES) for row in stored}
    assert prices == {(Decimal("189.33"), Decimal("191.05"), Decimal("188.82"), Decimal("189.98"), 24048300)}


def test_a_day_without_trades_is_left_out(vendors: Vendors, on_sqlite: str, days: list[date]) -> None:
    vendors.charts["AAPL"] = chart(days)
    for column in vendors.charts["AAPL"]["indicators"]["quote"][0].values():
        column[3] = None
    assert ingest() == {"AAPL": len(days) - 1}


def test_half_a_candle_costs_that_one_only(vendors: Vendors, on_sqlite: str, days: list[date]) -> None:
    vendors.charts["AAPL"] = chart(days)
    vendors.charts["AAPL"]["indicators"]["quote"][0]["close"][3] = None
    assert ingest() == {"AAPL": len(days) - 1}


def test_without_volumes_no_candle_can_be_used_and_the_log_says_so(
    vendors: Vendors, on_sqlite: str, days: list[date], caplog: pytest.LogCaptureFixture
) -> None:
    vendors.charts["AAPL"] = chart(days)
    del vendors.charts["AAPL"]["indicators"]["quote"][0]["volume"]
    with caplog.at_level(logging.WARNING):
        assert ingest() == {"AAPL": 0}
    assert caplog.text.count("a bar that cannot be used: AAPL at") == len(days)


def test_columns_of_different_lengths_are_refused(vendors: Vendors, on_sqlite: str, days: list[date]) -> None:
    vendors.charts["AAPL"] = chart(days)
    vendors.charts["AAPL"]["indicators"]["quote"][0]["low"].pop()
    with pytest.raises(RuntimeError, match="chart of AAPL has columns of different lengths"):
        ingest()
    assert rows(on_sqlite) == []


@pytest.mark.parametrize(
    ("sent", "price"),
    [(0.1283479928970337, "0.128348"), (3.380249977111816, "3.38025"), (0.000012340000000222, "0.00001234")],
)
def test_small_prices_keep_all_digits_that_a_binary_fraction_of_32_bits_has(
    vendors: Vendors, on_sqlite: str, days: list[date], sent: float, price: str
) -> None:
    vendors.charts["AAPL"] = chart(days[-1:])
    for name in NAMES[:4]:
        vendors.charts["AAPL"]["indicators"]["quote"][0][name] = [sent]
    ingest()
    assert [row["close"] for row in rows(on_sqlite)] == [Decimal(price)]


def test_a_class_of_shares_has_a_dash_at_yahoo_and_a_point_here(
    vendors: Vendors, on_sqlite: str, days: list[date]
) -> None:
    vendors.charts["BRK-B"] = chart(days)
    assert yahoo_history_ingestion(symbols=["BRK.B"]) == {"BRK.B": len(days)}
    assert {row["symbol"] for row in rows(on_sqlite)} == {"BRK.B"}


def test_only_the_days_that_are_wanted_are_asked_for(vendors: Vendors, on_sqlite: str, days: list[date]) -> None:
    vendors.charts["AAPL"] = chart(days)
    ingest(days_back=7)
    wanted = [day for day in days if day >= today() - timedelta(days=7)]
    assert [row["at"] for row in rows(on_sqlite)] == [midnight(day) for day in wanted]
    assert [query["interval"] for query in vendors.queries] == ["1d"]


def test_the_running_day_replaces_itself(vendors: Vendors, on_sqlite: str, days: list[date]) -> None:
    """During the session its time stamp is the last trade's."""
    vendors.charts["AAPL"] = chart(days)
    vendors.charts["AAPL"]["timestamp"][-1] += 3600
    ingest()
    vendors.charts["AAPL"]["timestamp"][-1] += 60
    vendors.charts["AAPL"]["indicators"]["quote"][0]["close"][-1] = 190.5
    ingest()
    stored = rows(on_sqlite)
    assert (len(stored), stored[-1]["close"]) == (len(days), Decimal("190.5"))


def test_a_period_without_any_day_is_no_error(vendors: Vendors, on_sqlite: str) -> None:
    empty = chart([])
    del empty["timestamp"]
    empty["indicators"] = {"quote": [{}], "adjclose": [{}]}
    vendors.charts["AAPL"] = empty
    assert ingest() == {"AAPL": 0}
    vendors.charts["AAPL"] = {**empty, "timestamp": None}
    assert ingest() == {"AAPL": 0}


def test_after_a_split_the_bars_from_before_are_adjusted_too(
    vendors: Vendors, on_sqlite: str, days: list[date]
) -> None:
    vendors.charts["AAPL"] = chart(days)
    ingest()
    for name in NAMES[:4]:
        column = vendors.charts["AAPL"]["indicators"]["quote"][0][name]
        column[:] = [value / 4 for value in column]
    ingest(days_back=3)
    stored = rows(on_sqlite)
    assert {round(row["close"], 4) for row in stored} == {Decimal("47.495")}
    assert len(stored) == len(days)


def test_an_unknown_symbol_is_named_with_what_yahoo_says(vendors: Vendors, on_sqlite: str) -> None:
    with pytest.raises(RuntimeError, match=r"AAPL: .*refused with 404: .*may be delisted"):
        ingest()
    assert vendors.asked["AAPL"] == 1


@pytest.mark.parametrize("body", ['{"chart": {"result": null, "error": null}}', '{"finance": {}}', "[]", "null"])
def test_an_answer_without_a_chart_is_not_tried_again(vendors: Vendors, on_sqlite: str, body: str) -> None:
    vendors.says("AAPL", Answer(200, body))
    with pytest.raises(RuntimeError, match="/v8/finance/chart/AAPL answered"):
        ingest()
    assert vendors.asked["AAPL"] == 1


def test_quotes_are_stored_once_for_each_time_of_trade(vendors: Vendors, on_each: str) -> None:
    vendors.charts["AAPL"] = chart([])
    assert yahoo_quotes_ingestion(symbols=["AAPL"]) == {"AAPL": 1}
    yahoo_quotes_ingestion(symbols=["AAPL"])
    [quote] = rows(on_each, quotes)
    assert quote == {
        "source": "yahoo",
        "symbol": "AAPL",
        "at": datetime.fromtimestamp(1700859601, timezone.utc),
        "price": Decimal("189.97"),
        "previous_close": Decimal("191.31"),
        "currency": "USD",
    }


def test_a_quote_that_lacks_its_price_says_so(vendors: Vendors, on_sqlite: str) -> None:
    vendors.charts["AAPL"] = chart([])
    del vendors.charts["AAPL"]["meta"]["regularMarketPrice"]
    with pytest.raises(RuntimeError, match="quote of AAPL is not usable: regularMarketPrice"):
        yahoo_quotes_ingestion(symbols=["AAPL"])
