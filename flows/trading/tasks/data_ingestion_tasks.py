"""Bringing bars and quotes of many symbols into the database, so that it may end at any time and begin again."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from flows.trading.market_calendar import today, trading_day
from flows.trading.storage import bars, quotes, transaction, upsert
from flows.trading.vendors.bars import Bar, Timeframe, Vendor
from flows.trading.vendors.fetching import VendorUnavailable
from flows.trading.vendors.yahoo import Yahoo

PAUSES = [5.0, 20.0, 60.0]
"""Seconds before each further try."""
RESTATED = Decimal("0.01")
"""A close that changes by more than this share afterwards has been adjusted for a split; corrections are smaller."""


def may_succeed_later(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: not where the vendor has refused."""
    return isinstance(state.result(raise_on_failure=False), VendorUnavailable | OperationalError)


@task(task_run_name="ingest {symbol}", retries=3, retry_delay_seconds=PAUSES, retry_condition_fn=may_succeed_later)
def ingest_symbol(vendor: Vendor, symbol: str, timeframe: Timeframe, days_back: int) -> int:
    """Store the bars of the last days, and of all days since the newest bar that is stored; say how many.

    Each page is a transaction, oldest first. So what a killed run leaves behind has no holes, and the next run goes on
    where it ended. Vendors adjust old prices for each split: where stored prices have changed since, all that is stored
    is fetched again.
    """
    last = today()
    first = last - timedelta(days=days_back)
    oldest, newest = stored_days(vendor.name, symbol, timeframe)
    first = min(first, newest or first)
    count = store_pages(vendor, symbol, timeframe, first, last, only_as_stored=True)
    if count is None:
        get_run_logger().info("%s was split: everything since %s is fetched again", symbol, oldest)
        count = store_pages(vendor, symbol, timeframe, min(first, oldest or first), last)
    return count or 0


def stored_days(source: str, symbol: str, timeframe: Timeframe) -> tuple[date | None, date | None]:
    """The days of the oldest and the newest stored bar."""
    key = (bars.c.source == source, bars.c.symbol == symbol, bars.c.timeframe == timeframe)
    with transaction() as connection:
        found = connection.execute(select(func.min(bars.c.at), func.max(bars.c.at)).where(*key)).one()
    oldest, newest = (at and trading_day(at) for at in found)
    return oldest, newest


def store_pages(
    vendor: Vendor, symbol: str, timeframe: Timeframe, first: date, last: date, *, only_as_stored: bool = False
) -> int | None:
    """Fetch the bars of these days and store them page by page; say how many.

    Args:
        vendor: Where they come from.
        symbol: Whose they are.
        timeframe: Their length.
        first: The first day.
        last: The last day.
        only_as_stored: Give up at the first page that states other prices than are stored, with None.
    """
    count = 0
    for page in vendor.pages(symbol, timeframe, first, last):
        for fault in page.faults:
            get_run_logger().warning("%s sent a bar that cannot be used: %s", vendor.name, fault)
        key = {"source": vendor.name, "symbol": symbol, "timeframe": timeframe}
        with transaction() as connection:
            if only_as_stored and is_restated(connection, key, page.bars):
                return None
            upsert(connection, bars, [{**key, **bar.model_dump()} for bar in page.bars])
        count += len(page.bars)
    return count


def is_restated(connection: Connection, key: Mapping[str, str], fetched: Sequence[Bar]) -> bool:
    """Whether stored closes are not what they were; the newest one is left out, for its interval may go on."""
    if not fetched:
        return False
    stored = select(bars.c.at, bars.c.close).where(*(bars.c[name] == value for name, value in key.items()))
    rows = connection.execute(stored.where(bars.c.at >= fetched[0].at, bars.c.at <= fetched[-1].at))
    closes = dict(sorted(tuple(row) for row in rows)[:-1])
    return any(abs(bar.close / closes[bar.at] - 1) > RESTATED for bar in fetched if bar.at in closes)


@task(task_run_name="quote {symbol}", retries=3, retry_delay_seconds=PAUSES, retry_condition_fn=may_succeed_later)
def ingest_quote(vendor: Yahoo, symbol: str) -> int:
    """Store the latest price of a symbol."""
    quote = vendor.quote(symbol)
    with transaction() as connection:
        upsert(connection, quotes, [{"source": vendor.name, "symbol": symbol, **quote.model_dump()}])
    return 1
