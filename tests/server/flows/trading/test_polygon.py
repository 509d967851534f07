"""Bars from Polygon: page by page into either database, whatever the service answers on the way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from itertools import pairwise

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from flows.trading.data_ingestion.polygon_flows import polygon_daily_ingestion, polygon_intraday_ingestion
from flows.trading.market_calendar import midnight, today, trading_days
from flows.trading.vendors.fetching import pause
from flows.trading.vendors.polygon import Polygon
from tests.server.flows.trading.conftest import rows
from tests.server.flows.trading.vendors import KEY, Answer, Vendors, aggregates, milliseconds

DAYS = 28


def days_of(vendors: Vendors) -> int:
    return len(trading_days(today() - timedelta(days=DAYS), today() - timedelta(days=1)))


def test_every_bar_of_every_page_is_stored_exactly_as_it_was_sent(vendors: Vendors, on_each: str) -> None:
    assert polygon_daily_ingestion(days_back=DAYS) == {"AAPL": days_of(vendors), "MSFT": days_of(vendors)}
    stored = rows(on_each)
    sent = [bar for symbol in ("AAPL", "MSFT") for bar in vendors.bars[symbol][-days_of(vendors) :]]
    assert [(row["at"].timestamp() * 1000, row["trades"]) for row in stored] == [(bar["t"], bar["n"]) for bar in sent]
    for name, key in {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw"}.items():
        assert [row[name] for row in stored] == [Decimal(str(bar[key])) for bar in sent]
    assert vendors.asked["AAPL"] == -(-days_of(vendors) // vendors.page_size)
    assert [query for query in vendors.queries if "cursor" not in query] == 2 * [
        {"adjusted": "true", "sort": "asc", "limit": "50000"}
    ]


def test_twice_is_as_good_as_once(vendors: Vendors, on_each: str) -> None:
    first = (polygon_daily_ingestion(days_back=DAYS), rows(on_each))
    assert (polygon_daily_ingestion(days_back=DAYS), rows(on_each)) == first


def test_a_bar_that_the_vendor_corrects_is_written_anew(vendors: Vendors, on_each: str) -> None:
    polygon_daily_ingestion(days_back=DAYS)
    vendors.bars["AAPL"][-3]["c"] = 100.2
    polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])
    assert [row["close"] for row in rows(on_each) if row["symbol"] == "AAPL"][-3] == Decimal("100.2")


def test_after_a_split_the_bars_from_before_are_adjusted_too(vendors: Vendors, on_each: str) -> None:
    polygon_daily_ingestion(days_back=DAYS)
    last = today() - timedelta(days=1)
    vendors.bars["AAPL"] = aggregates(today() - timedelta(days=40), last, price=50.0)
    polygon_daily_ingestion(days_back=3)
    closes = {symbol: [row["close"] for row in rows(on_each) if row["symbol"] == symbol] for symbol in vendors.bars}
    assert len(closes["AAPL"]) == days_of(vendors)
    assert max(closes["AAPL"]) < 60
    assert min(closes["MSFT"]) > 390


def test_a_gap_longer_than_days_back_is_filled(vendors: Vendors, on_sqlite: str) -> None:
    everything = vendors.bars["AAPL"]
    vendors.bars["AAPL"] = everything[:-12]
    polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])
    vendors.bars["AAPL"] = everything
    polygon_daily_ingestion(days_back=1, symbols=["AAPL"])
    assert len(rows(on_sqlite)) == days_of(vendors)


def test_a_split_is_seen_though_only_the_end_of_what_is_stored_is_fetched_again(
    vendors: Vendors, on_sqlite: str
) -> None:
    days = (today() - timedelta(days=40), today() - timedelta(days=1))
    vendors.bars["AAPL"] = aggregates(*days)[:-12]
    polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])
    vendors.bars["AAPL"] = aggregates(*days, price=25.0)
    polygon_daily_ingestion(days_back=1, symbols=["AAPL"])
    stored = rows(on_sqlite)
    assert len(stored) == days_of(vendors)
    assert max(row["close"] for row in stored) < 30


def test_a_split_before_the_history_that_a_plan_gives_is_named_with_what_to_do(
    vendors: Vendors, on_sqlite: str
) -> None:
    polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])
    before = rows(on_sqlite)
    vendors.bars["AAPL"] = aggregates(today() - timedelta(days=40), today() - timedelta(days=1), price=25.0)
    vendors.says("AAPL", None, Answer(403, '{"status":"NOT_AUTHORIZED"}'))
    with pytest.raises(RuntimeError, match=r"from before a split of AAPL.*market-data-cleanup.*NOT_AUTHORIZED"):
        polygon_daily_ingestion(days_back=5, symbols=["AAPL"])
    assert rows(on_sqlite) == before


@pytest.mark.parametrize("answers", [[None], [None] * 2], ids=["before the first older page", "between two"])
def test_older_bars_come_all_at_once_so_that_there_is_never_a_hole_before_the_newer_ones(
    vendors: Vendors, on_each: str, answers: list[Answer | None]
) -> None:
    polygon_daily_ingestion(days_back=7, symbols=["AAPL"])
    before = rows(on_each)
    vendors.says("AAPL", *answers, Answer(403, "the end"))
    with pytest.raises(RuntimeError, match="the end"):
        polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])
    assert rows(on_each) == before
    vendors.says("AAPL")
    assert polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"]) == {"AAPL": days_of(vendors)}
    assert len(rows(on_each)) == days_of(vendors)


def test_five_minute_bars_keep_their_time(vendors: Vendors, on_sqlite: str) -> None:
    bar = vendors.bars["AAPL"][-1]
    moments = [bar["t"] + minutes * 60_000 for minutes in (570, 575, 580)]
    vendors.bars["AAPL"] = [{**bar, "t": moment} for moment in moments]
    assert polygon_intraday_ingestion(days_back=7, symbols=["AAPL"]) == {"AAPL": 3}
    assert [row["at"].timestamp() * 1000 for row in rows(on_sqlite)] == moments
    assert {row["timeframe"] for row in rows(on_sqlite)} == {"5m"}
    assert "/range/5/minute/" in vendors.paths[0]


def test_days_without_trades_are_no_error(vendors: Vendors, on_sqlite: str) -> None:
    vendors.bars["AAPL"] = []
    assert polygon_daily_ingestion(symbols=["AAPL"]) == {"AAPL": 0}


def test_a_bar_that_lacks_a_field_costs_that_bar_only(vendors: Vendors, on_sqlite: str) -> None:
    good = days_of(vendors)
    del vendors.bars["AAPL"][-2]["c"]
    vendors.bars["AAPL"][-3]["l"] = None
    vendors.bars["AAPL"][-4]["l"] = 1e-9
    vendors.bars["AAPL"].append({**vendors.bars["AAPL"][-1], "t": None})
    vendors.bars["AAPL"][-6]["t"] += 0.0
    del vendors.bars["AAPL"][-1]["t"]
    assert polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"]) == {"AAPL": good - 3}


def test_volume_and_average_price_may_be_missing_or_fractions(vendors: Vendors, on_sqlite: str) -> None:
    del vendors.bars["AAPL"][-1]["vw"]
    vendors.bars["AAPL"][-1]["v"] = 7.0790813e7
    polygon_daily_ingestion(symbols=["AAPL"])
    newest = rows(on_sqlite)[-1]
    assert (newest["vwap"], newest["volume"]) == (None, 70790813)


def test_too_many_requests_are_repeated_when_the_service_says_so(vendors: Vendors, on_sqlite: str) -> None:
    vendors.says("AAPL", Answer(429, headers={"Retry-After": "1"}), None, Answer(429, headers={"Retry-After": "0"}))
    assert polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"]) == {"AAPL": days_of(vendors)}
    assert vendors.impatient == []


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("0.5", 0.5), (None, 60), ("soon", 60), ("100000", 100_000), ("-3", 0)]
)
def test_retry_after_is_a_number_of_seconds_and_else_a_minute(header: str | None, seconds: float) -> None:
    assert pause(header) == seconds


def test_who_wants_more_patience_than_a_run_has_is_not_asked_again(vendors: Vendors, on_sqlite: str) -> None:
    vendors.says("AAPL", Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(RuntimeError, match="none is wanted for the next 3600 s"):
        polygon_daily_ingestion(symbols=["AAPL"])
    assert vendors.asked["AAPL"] == 1


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True)
    assert 90 < pause(later) <= 100


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(502, "<html>"), Answer(200, '{"results": [{"o": 1'), Answer(200)]
)
def test_what_passes_is_tried_again(vendors: Vendors, on_sqlite: str, answer: Answer) -> None:
    vendors.says("AAPL", answer, None, answer)
    assert polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"]) == {"AAPL": days_of(vendors)}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again_and_not_shown(vendors: Vendors, on_sqlite: str, status: int) -> None:
    vendors.says("AAPL", Answer(status, '{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}'))
    with pytest.raises(RuntimeError, match=f"refused with {status}.*not entitled") as refused:
        polygon_daily_ingestion(symbols=["AAPL"])
    assert "key-of" not in str(refused.value)
    assert vendors.asked["AAPL"] == 1


def test_one_symbol_that_fails_does_not_keep_the_others_from_being_stored(vendors: Vendors, on_sqlite: str) -> None:
    vendors.says("AAPL", *[Answer(503)] * 4)
    with pytest.raises(RuntimeError, match=r"1 of 2 symbols failed: AAPL: .* failed with 503"):
        polygon_daily_ingestion(days_back=DAYS)
    assert {row["symbol"] for row in rows(on_sqlite)} == {"MSFT"}


def test_the_key_may_be_in_a_secret_block(vendors: Vendors, on_sqlite: str, shell: pytest.MonkeyPatch) -> None:
    shell.delenv("TRADING_POLYGON_API_KEY")
    shell.setenv("TRADING_POLYGON_API_KEY_BLOCK", "polygon-of-the-tests")
    with pytest.raises(ValueError, match="create the Secret block 'polygon-of-the-tests'"):
        polygon_daily_ingestion(symbols=["AAPL"])
    Secret(value="key-of-the-tests").save("polygon-of-the-tests", overwrite=True)
    assert polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"]) == {"AAPL": days_of(vendors)}


def test_the_key_goes_to_no_other_host_than_the_configured_one(vendors: Vendors, on_sqlite: str) -> None:
    polygon_daily_ingestion(days_back=DAYS, symbols=["AAPL"])  # next_url names api.polygon.io
    assert vendors.asked["AAPL"] > 1


def test_requests_are_spaced_out_by_the_prefect_server(
    vendors: Vendors, on_sqlite: str, shell: pytest.MonkeyPatch
) -> None:
    shell.setenv("TRADING_POLYGON_REQUESTS_PER_MINUTE", "120")
    vendors.page_size = 2
    polygon_daily_ingestion(days_back=7)
    assert min(later - sooner for sooner, later in pairwise(sorted(vendors.times))) > 0.4
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(Polygon("", SecretStr(KEY)).limit)
    assert (limit.limit, limit.slot_decay_per_second) == (1, 2.0)


def test_a_daily_bar_is_stored_under_midnight_in_new_york(vendors: Vendors, on_sqlite: str) -> None:
    day = trading_days(today() - timedelta(days=7), today() - timedelta(days=1))[-1]
    vendors.bars["AAPL"] = [{**aggregates(day, day)[0], "t": milliseconds(day) + 4 * 3_600_000}]
    polygon_daily_ingestion(symbols=["AAPL"])
    assert [row["at"] for row in rows(on_sqlite)] == [midnight(day)]
