"""What can be wrong with stored bars, looked for symbol by symbol."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from prefect import task
from pydantic import SecretStr
from sqlalchemy import and_, func, select

from flows.trading.market_calendar import NEW_YORK, midnight, sessions, today, trading_day
from flows.trading.storage import bars, transaction
from flows.trading.vendors.bars import Timeframe

SPREAD = 1.4826
"""Makes a median absolute deviation comparable to a standard deviation."""
SMALLEST_DEVIATION = 0.005
"""Prices that hardly move would make an outlier of every step."""
QUIET = timedelta(minutes=30)
"""How long nobody may trade before it is a gap: no bar is made of no trade."""


class StoredBar(NamedTuple):
    """A bar as the database has it."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None

    @property
    def day(self) -> date:
        """The day that it belongs to."""
        return trading_day(self.at)


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
def validate_symbol(
    source: str, symbol: str, timeframe: Timeframe, days_back: int, outlier_limit: float, database: SecretStr
) -> Examined:
    """Read the bars of the last days and look for everything that can be wrong with them."""
    last = today()
    since = last - timedelta(days=days_back)
    series = and_(bars.c.source == source, bars.c.symbol == symbol, bars.c.timeframe == timeframe)
    query = select(*(bars.c[name] for name in StoredBar._fields)).where(series, bars.c.at >= midnight(since))
    with transaction(database) as connection:
        oldest = connection.scalar(select(func.min(bars.c.at)).where(series))
        found = [StoredBar(*row) for row in connection.execute(query.order_by(bars.c.at))]
    findings = [*inconsistencies(found), *outliers(found, outlier_limit)]
    if oldest is None:
        findings += [Finding("gap", last, "there are no bars at all")]
    else:  # today may still come
        findings += gaps(found, max(since, trading_day(oldest)), last - timedelta(days=1), timeframe)
    if timeframe == "1d":
        findings += duplicates(found)
    return Examined(symbol, found, sorted(findings, key=lambda finding: finding.day))


def gaps(found: Sequence[StoredBar], first: date, last: date, timeframe: Timeframe) -> Iterator[Finding]:
    """Days on which the exchange was open and nothing is stored; of shorter bars, long parts of such days too."""
    by_day = {day: [bar.at for bar in same] for day, same in groupby(found, lambda bar: bar.day)}
    for opens, closes in sessions(first, last):
        day = opens.date()
        if day not in by_day:
            yield Finding("gap", day, "the exchange was open, and there is no bar")
        elif timeframe != "1d":
            inside = [at for at in by_day[day] if opens <= at < closes]
            for before, after in pairwise([opens, *inside, closes]):
                if after - before > QUIET:
                    times = " to ".join(f"{at.astimezone(NEW_YORK):%H:%M}" for at in (before, after))
                    yield Finding("gap", day, f"the exchange was open, and there is no bar from {times}")


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
