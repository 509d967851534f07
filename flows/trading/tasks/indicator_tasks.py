"""Indicators of one symbol, from the bars that are stored."""

from datetime import timedelta

from prefect import task
from sqlalchemy import select

from flows.trading.analytics.indicators import all_indicators
from flows.trading.market_calendar import midnight, today
from flows.trading.storage import bars, indicators, transaction, upsert
from flows.trading.vendors.bars import Timeframe


@task(task_run_name="indicators of {symbol}")
def compute_indicators(source: str, symbol: str, timeframe: Timeframe, days_back: int) -> int:
    """Compute every indicator over all bars of a symbol and store those of the last days; say how many."""
    key = {"source": source, "symbol": symbol, "timeframe": timeframe}
    query = select(bars.c.at, bars.c.close).where(*(bars.c[name] == value for name, value in key.items()))
    with transaction() as connection:
        found = connection.execute(query.order_by(bars.c.at)).all()
    moments, closes = [at for at, _ in found], [float(close) for _, close in found]
    since = midnight(today() - timedelta(days=days_back))
    rows = [
        {**key, "name": name, "at": at, "value": value}
        for name, values in all_indicators(closes).items()
        for at, value in zip(moments, values, strict=True)
        if value is not None and at >= since
    ]
    with transaction() as connection:
        upsert(connection, indicators, rows)
    return len(rows)
