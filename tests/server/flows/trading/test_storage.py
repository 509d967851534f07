"""What goes into the database comes out of it, on either kind."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import create_engine, func, select
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import StatementError

from flows.trading.market_calendar import NEW_YORK, sessions, trading_days
from flows.trading.storage import PRICE, Exact, bars, prepare_database
from tests.server.flows.trading.conftest import rows, write

AT = datetime(2026, 3, 2, tzinfo=timezone.utc)


def bar(**values: Any) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal(1))
    return {"source": "s", "symbol": "A", "timeframe": "1d", "at": AT, **prices, "vwap": None, "trades": None, **values}


@pytest.mark.parametrize("price", ["0.00000001", "189.98", "0.1", "1234567890.12345678", "9999999999.99999999"])
def test_a_price_is_kept_to_the_last_digit(database: str, price: str) -> None:
    """0.1 has no exact binary form, and the longer ones have more digits than a float."""
    write(database, bar(close=Decimal(price)))
    assert [row["close"] for row in rows(database)] == [Decimal(price)]


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=PRICE))
def test_sqlite_keeps_every_price(price: Decimal) -> None:
    dialect = sqlite_dialect.dialect()
    stored = Exact(PRICE).process_bind_param(price, dialect)
    assert isinstance(stored, int)
    assert Exact(PRICE).process_result_value(stored, dialect) == price


@pytest.mark.parametrize("price", ["0.000000001", "10000000000", "NaN"])
def test_a_price_that_would_lose_digits_is_refused(database: str, price: str) -> None:
    with pytest.raises((StatementError, ArithmeticError)):
        write(database, bar(close=Decimal(price)))
    assert rows(database) == []


def test_prices_sort_and_sum_up_as_numbers(database: str) -> None:
    prices = [Decimal("9.5"), Decimal("10.25"), Decimal("100.125")]
    write(database, *(bar(at=AT + timedelta(days=day), close=price) for day, price in enumerate(prices)))
    engine = create_engine(database)
    with engine.connect() as connection:
        found = connection.execute(select(func.max(bars.c.close), func.sum(bars.c.close))).one()
        above = connection.scalars(select(bars.c.close).where(bars.c.close > Decimal("9.6"))).all()
    engine.dispose()
    assert tuple(found) == (prices[-1], sum(prices))
    assert sorted(above) == prices[1:]


def test_a_time_is_the_same_moment_in_any_time_zone(database: str) -> None:
    write(database, bar(at=AT), bar(at=AT.astimezone(NEW_YORK)), bar(at=AT + timedelta(hours=1)))
    assert [row["at"] for row in rows(database)] == [AT, AT + timedelta(hours=1)]


def test_a_time_without_a_time_zone_is_refused(database: str) -> None:
    with pytest.raises(StatementError, match="has no time zone"):
        write(database, bar(at=AT.replace(tzinfo=None)))


def test_what_is_there_is_written_anew(database: str) -> None:
    write(database, bar(), bar(symbol="B"))
    write(database, bar(close=Decimal(2)))
    assert [(row["symbol"], row["close"]) for row in rows(database)] == [("A", 2), ("B", 1)]


def test_the_exchange_is_closed_on_its_holidays_and_on_days_of_mourning() -> None:
    week = [day.isoformat() for day in trading_days(AT.date().replace(2025, 1, 6), AT.date().replace(2025, 1, 10))]
    assert week == ["2025-01-06", "2025-01-07", "2025-01-08", "2025-01-10"]
    days = [day.isoformat() for day in trading_days(AT.date().replace(2026, 6, 18), AT.date().replace(2026, 7, 6))]
    assert {"2026-06-19", "2026-07-03"}.isdisjoint(days)
    assert len(days) == 11


def test_on_half_days_the_exchange_closes_at_one() -> None:
    week = sessions(AT.date().replace(2026, 11, 25), AT.date().replace(2026, 11, 27))
    hours = [(opens.isoformat()[:16], closes.isoformat()[11:16]) for opens, closes in week]
    assert hours == [("2026-11-25T09:30", "16:00"), ("2026-11-27T09:30", "13:00")]


def test_a_database_is_made_with_its_folder_and_may_be_there_already(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/not/there/trading.db"
    for _ in range(2):
        prepare_database.fn(SecretStr(url))
    assert rows(url) == []
