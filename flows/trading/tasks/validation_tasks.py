"""What can be wrong with stored bars, looked for symbol by symbol."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from prefect import task
from sqlalchemy import select

from flows.trading.market_calendar import midnight, today, trading_day, trading_days
from flows.trading.storage import bars, transaction
from flows.trading.vendors.bars import Timeframe

SPREAD = 1.4826
"""Makes a median absolute deviation comparable to a standard deviation."""
SMALLEST_DEVIATION = 0.005
"""Prices that hardly move would make an outlier of every step."""


class StoredBar(NamedTuple):
    """A bar as the database has it, of the day that it belongs to."""

    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None


class Finding(NamedTuple):
    """Something that is wrong: which check says so, of which day, and what it is."""

    check: str
    day: date
    detail: str


class Examined(NamedTuple):
    """A symbol's bars and what was found."""

    symbol: str
    bars: list[StoredBar]
    findings: list[Finding]

    def __str__(self) -> str:
        """What tables and logs say of it."""
        return f"{len(self.findings)} findings in {len(self.bars)} bars"


@task(task_run_name="validate {symbol}")
def validate_symbol(source: str, symbol: str, timeframe: Timeframe, days_back: int, outlier_limit: float) -> Examined:
    """Read the bars of the last days and look for everything that can be wrong with them."""
    last = today()
    columns = [bars.c.at, *(bars.c[name] for name in StoredBar._fields[1:])]
    query = select(*columns).where(
        bars.c.source == source,
        bars.c.symbol == symbol,
        bars.c.timeframe == timeframe,
        bars.c.at >= midnight(last - timedelta(days=days_back)),
    )
    with transaction() as connection:
        rows = connection.execute(query.order_by(bars.c.at)).all()
    found = [StoredBar(trading_day(row.at), *row[1:]) for row in rows]
    findings = [*gaps(found, last), *inconsistencies(found), *outliers(found, outlier_limit)]
    if timeframe == "1d":
        findings += duplicates(found)
    return Examined(symbol, found, sorted(findings, key=lambda finding: finding.day))


def gaps(found: Sequence[StoredBar], today: date) -> Iterator[Finding]:
    """Days since the first bar on which the exchange was open and nothing is stored; today may still come."""
    if not found:
        yield Finding("gap", today, "there are no bars at all")
        return
    there = {bar.day for bar in found}
    for day in trading_days(found[0].day, today - timedelta(days=1)):
        if day not in there:
            yield Finding("gap", day, "the exchange was open, and there is no bar")


def duplicates(found: Sequence[StoredBar]) -> Iterator[Finding]:
    """Days with more than one daily bar."""
    for day, count in Counter(bar.day for bar in found).items():
        if count > 1:
            yield Finding("duplicate", day, f"{count} daily bars")


def inconsistencies(found: Sequence[StoredBar]) -> Iterator[Finding]:
    """Bars whose prices contradict each other."""
    for bar in found:
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            prices = (
                f"open {_plain(bar.open)}, high {_plain(bar.high)}, low {_plain(bar.low)}, close {_plain(bar.close)}"
            )
            yield Finding("inconsistent", bar.day, f"low and high do not enclose the others: {prices}")
        if bar.vwap is not None and not bar.low <= bar.vwap <= bar.high:
            low, high = _plain(bar.low), _plain(bar.high)
            yield Finding("inconsistent", bar.day, f"average price {_plain(bar.vwap)} not within {low} to {high}")
        if bar.low <= 0 or bar.volume < 0:
            yield Finding("inconsistent", bar.day, f"low {_plain(bar.low)}, volume {_plain(bar.volume)}")


def _plain(value: Decimal) -> str:
    """A number without the zeros that it is stored with."""
    return f"{value.normalize():f}"


def outliers(found: Sequence[StoredBar], limit: float) -> Iterator[Finding]:
    """Closes that have moved by more than `limit` times what is usual, measured so that outliers do not count in it."""
    changes = [(after.day, float(after.close / before.close - 1)) for before, after in pairwise(found) if before.close]
    if changes:
        usual = median(change for _, change in changes)
        deviation = max(SPREAD * median(abs(change - usual) for _, change in changes), SMALLEST_DEVIATION)
        for day, change in changes:
            if abs(change - usual) > limit * deviation:
                yield Finding("outlier", day, f"the close has changed by {change:+.1%}")
