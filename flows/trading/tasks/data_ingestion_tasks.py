"""Bringing bars and quotes of many symbols into the database, so that it may end at any time and begin again."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from pydantic import SecretStr
from sqlalchemy import ColumnElement, Connection, and_, func, select
from sqlalchemy.exc import OperationalError

from flows.trading.market_calendar import today, trading_day, trading_days
from flows.trading.storage import bars, quotes, transaction, upsert
from flows.trading.vendors.bars import Bar, Page, Timeframe, Vendor
from flows.trading.vendors.fetching import VendorError, VendorUnavailable
from flows.trading.vendors.yahoo import Yahoo

PAUSES = [5.0, 20.0, 60.0]
"""Seconds before each further try."""
RESTATED = Decimal("0.01")
"""A close that changes by more than this share afterwards has been adjusted for a split; corrections are smaller."""


def may_succeed_later(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: not where the vendor has refused."""
    return isinstance(state.result(raise_on_failure=False), VendorUnavailable | OperationalError)


@task(task_run_name="ingest {symbol}", retries=3, retry_delay_seconds=PAUSES, retry_condition_fn=may_succeed_later)
def ingest_symbol(vendor: Vendor, symbol: str, timeframe: Timeframe, days_back: int, database: SecretStr) -> int:
    """Store the bars of the last days, and of all days since the newest bars that are stored; say how many.

    What is stored never has a hole, wherever a run is killed: bars that follow are stored page by page, oldest first,
    and bars from before the oldest one all at once. Vendors adjust old prices for each split: where stored prices have
    changed since, all that is stored is fetched again.
    """
    series = Series(vendor, symbol, timeframe, database)
    last = today()
    first = last - timedelta(days=days_back)
    stored = stored_days(series)
    if stored is None:
        return store_pages(series, first, last) or 0
    oldest, newest = stored
    count = store_pages(series, min(max(first, oldest), newest), last, only_as_stored=True)
    if count is None:
        get_run_logger().info("%s was split: everything since %s is fetched again", symbol, oldest)
        try:
            return store_pages(series, min(first, oldest), last) or 0
        except VendorUnavailable:
            raise
        except VendorError as refused:
            raise VendorError(
                f"prices since {oldest} are from before a split of {symbol}, and {vendor.name} does not give them "
                f"anew: delete what it does not reach with market-data-cleanup, or get a longer history. {refused}"
            ) from refused
    if first < oldest and trading_days(first, oldest - timedelta(days=1)):
        before = [page_of(series, page) for page in vendor.pages(symbol, timeframe, first, oldest - timedelta(days=1))]
        with transaction(database) as connection:
            upsert(connection, bars, list(chain.from_iterable(before)))
        count += sum(map(len, before))
    return count


class Series(NamedTuple):
    """The bars of a symbol, and where they are kept."""

    vendor: Vendor
    symbol: str
    timeframe: Timeframe
    database: SecretStr

    @property
    def key(self) -> dict[str, str]:
        """What all of its rows share."""
        return {"source": self.vendor.name, "symbol": self.symbol, "timeframe": self.timeframe}

    @property
    def condition(self) -> ColumnElement[bool]:
        """What selects them."""
        return and_(*(bars.c[name] == value for name, value in self.key.items()))


def stored_days(series: Series) -> tuple[date, date] | None:
    """The days of the oldest stored bar and of the last but one, which can tell whether prices were restated."""
    with transaction(series.database) as connection:
        oldest = connection.scalar(select(func.min(bars.c.at)).where(series.condition))
        newest = connection.scalars(select(bars.c.at).where(series.condition).order_by(bars.c.at.desc()).limit(2)).all()
    return (trading_day(oldest), trading_day(newest[-1])) if oldest else None


def store_pages(series: Series, first: date, last: date, *, only_as_stored: bool = False) -> int | None:
    """Fetch the bars of these days and store them page by page; say how many.

    Args:
        series: Whose they are.
        first: The first day.
        last: The last day.
        only_as_stored: Give up at the first page that states other prices than are stored, with None.
    """
    count = 0
    for page in series.vendor.pages(series.symbol, series.timeframe, first, last):
        rows = page_of(series, page)
        with transaction(series.database) as connection:
            if only_as_stored and is_restated(connection, series, page.bars):
                return None
            upsert(connection, bars, rows)
        count += len(rows)
    return count


def page_of(series: Series, page: Page) -> list[dict[str, Any]]:
    """The rows of a page; what cannot be used is told."""
    for fault in page.faults:
        get_run_logger().warning("%s sent a bar that cannot be used: %s", series.vendor.name, fault)
    return [{**series.key, **bar.model_dump()} for bar in page.bars]


def is_restated(connection: Connection, series: Series, fetched: Sequence[Bar]) -> bool:
    """Whether stored closes are not what they were; the newest one is left out, for its interval may go on."""
    if not fetched:
        return False
    stored = select(bars.c.at, bars.c.close).where(series.condition)
    rows = connection.execute(stored.where(bars.c.at >= fetched[0].at, bars.c.at <= fetched[-1].at))
    closes = dict(sorted(tuple(row) for row in rows)[:-1])
    return any(abs(bar.close / closes[bar.at] - 1) > RESTATED for bar in fetched if bar.at in closes)


@task(task_run_name="quote {symbol}", retries=3, retry_delay_seconds=PAUSES, retry_condition_fn=may_succeed_later)
def ingest_quote(vendor: Yahoo, symbol: str, database: SecretStr) -> int:
    """Store the latest price of a symbol."""
    quote = vendor.quote(symbol)
    with transaction(database) as connection:
        upsert(connection, quotes, [{"source": vendor.name, "symbol": symbol, **quote.model_dump()}])
    return 1
