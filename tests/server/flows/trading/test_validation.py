"""What the validation flow finds in stored bars, and how it reports it."""

from __future__ import annotations

from base64 import b64decode
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest
from prefect.client.orchestration import get_client
from sqlalchemy import create_engine, delete

from flows.trading.data_ingestion.charts import line_chart
from flows.trading.data_ingestion.validation_flows import market_data_validation
from flows.trading.market_calendar import midnight, sessions, today, trading_days
from flows.trading.storage import bars as table
from tests.server.flows.trading.conftest import write


@pytest.fixture
def bars() -> list[dict[str, Any]]:
    """Bars without any fault, of a price that moves a little."""
    days = trading_days(today() - timedelta(days=60), today() - timedelta(days=1))
    return [daily(day, Decimal(100 + number % 3)) for number, day in enumerate(days)]


def daily(day: date, close: Decimal, **values: Any) -> dict[str, Any]:
    return {
        "source": "polygon",
        "symbol": "AAPL",
        "timeframe": "1d",
        "at": midnight(day),
        "open": close,
        "high": close + 1,
        "low": close - 1,
        "close": close,
        "volume": Decimal(1000),
        "vwap": close,
        "trades": 10,
        **values,
    }


def validate(**parameters: Any) -> dict[str, int]:
    found: dict[str, int] = market_data_validation(symbols=["AAPL"], **parameters)["AAPL"]
    return found


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        answer = client.request("GET", f"/artifacts/{key}/latest")  # type: ignore[arg-type]
    return str(answer.json()["data"])


def report() -> str:
    return artifact("market-data-polygon-1d")


def test_good_bars_are_found_to_be_good(on_each: str, bars: list[dict[str, Any]]) -> None:
    write(on_each, *bars)
    assert validate(strict=True) == {}


def test_a_trading_day_without_a_bar_is_a_gap_and_a_weekend_is_none(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    write(on_sqlite, *bars[:10], *bars[12:])
    assert validate() == {"gap": 2}


def test_no_bars_at_all_are_a_gap(on_sqlite: str) -> None:
    assert validate() == {"gap": 1}


def test_a_gap_at_the_beginning_of_what_is_looked_at_is_found_where_older_bars_are_there(
    on_sqlite: str, bars: list[dict[str, Any]]
) -> None:
    days = len(trading_days(today() - timedelta(days=20), today() - timedelta(days=1)))
    write(on_sqlite, *bars[:5], *bars[-2:])
    assert validate(days_back=20) == {"gap": days - 2}
    assert validate(days_back=3650)["gap"] == len(bars) - 7


def test_of_five_minute_bars_a_gap_is_half_an_hour_of_a_session_without_any(on_each: str) -> None:
    opens, closes = sessions(today() - timedelta(days=14), today() - timedelta(days=1))[-1]
    count = (closes - opens) // timedelta(minutes=5)
    new = [
        {**daily(opens.date(), Decimal(100)), "timeframe": "5m", "at": opens + number * timedelta(minutes=5)}
        for number in range(-2, count + 6)  # some before the opening and after the close
    ]
    write(on_each, *new[:10], *new[15:])
    assert validate(timeframe="5m", days_back=14) == {}
    engine = create_engine(on_each)
    with engine.begin() as connection:
        connection.execute(delete(table).where(table.c.at >= new[10]["at"], table.c.at < new[17]["at"]))
        connection.execute(delete(table).where(table.c.at >= new[-20]["at"]))
    engine.dispose()
    assert validate(timeframe="5m", days_back=14) == {"gap": 2}
    begin, end = (new[index]["at"].strftime("%H:%M") for index in (9, 17))
    assert f"there is no bar from {begin} to {end}" in artifact("market-data-polygon-5m")


def test_the_other_source_is_looked_at_by_itself(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    write(on_sqlite, *bars, *({**bar, "source": "yahoo"} for bar in bars[:10] + bars[11:]))
    assert validate() == {}
    assert validate(source="yahoo") == {"gap": 1}


def test_two_daily_bars_of_one_day_are_duplicates(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    write(on_sqlite, *bars, {**bars[5], "at": bars[5]["at"] + timedelta(hours=9)})
    assert validate() == {"duplicate": 1}


def test_a_jump_and_the_way_back_are_outliers(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    day = bars[20]["at"]
    bars[20] = {**daily(today(), Decimal(1000)), "at": day}
    write(on_sqlite, *bars)
    assert validate() == {"outlier": 2}
    assert validate(outlier_limit=100_000) == {}


@pytest.mark.parametrize(
    "prices",
    [{"high": Decimal(90)}, {"low": Decimal(110)}, {"vwap": Decimal(150)}, {"volume": Decimal(-1)}],
    ids=lambda prices: next(iter(prices)),
)
def test_prices_that_contradict_each_other_are_found(
    on_sqlite: str, bars: list[dict[str, Any]], prices: dict[str, Decimal]
) -> None:
    write(on_sqlite, *bars[:5], {**bars[5], **prices}, *bars[6:])
    assert "inconsistent" in validate()


def test_strict_fails_the_run(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    write(on_sqlite, *bars[:10], *bars[11:])
    with pytest.raises(ValueError, match="1 findings in"):
        validate(strict=True)


def test_the_report_shows_numbers_findings_and_a_chart(on_sqlite: str, bars: list[dict[str, Any]]) -> None:
    write(on_sqlite, *bars[:10], *bars[11:])
    validate()
    page = report()
    assert f"| AAPL | {len(bars) - 1} | 1 |" in page
    assert f"- {bars[10]['at'].date()}: gap: the exchange was open, and there is no bar" in page
    head, _, chart = page.partition("![closes of AAPL](data:image/svg+xml;base64,")
    svg = b64decode(chart.partition(")")[0]).decode()
    assert f">{bars[0]['at'].date()}<" in svg
    assert f">{bars[-1]['at'].date()}<" in svg
    assert "StoredBar" not in head + str(artifact("market-data-validation"))


def test_prices_are_reported_without_the_zeros_that_they_are_stored_with(
    on_sqlite: str, bars: list[dict[str, Any]]
) -> None:
    write(on_sqlite, *bars[:5], {**bars[5], "low": Decimal("200.5")}, *bars[6:])
    validate()
    assert "low 200.5, close" in report()


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [3.0, 1.0, 2.0]])
def test_a_chart_is_svg_with_a_point_for_each_value(values: list[float]) -> None:
    kind, _, content = line_chart("A & B", values, marked=range(len(values))).partition(",")
    svg = ElementTree.fromstring(b64decode(content))
    names = {"svg": "http://www.w3.org/2000/svg"}
    line = svg.find("svg:polyline", names)
    assert kind == "data:image/svg+xml;base64"
    assert line is not None
    assert len(line.attrib["points"].split()) == len(values)
    assert len(svg.findall("svg:circle", names)) == len(values)
