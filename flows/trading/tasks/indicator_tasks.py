"""Indicators of one symbol, from the bars that are stored."""

from datetime import datetime, timedelta, timezone

from prefect import task
from pydantic import SecretStr
from sqlalchemy import select

from flows.trading.analytics.indicators import all_indicators
from flows.trading.market_calendar import midnight, today
from flows.trading.storage import bars, indicators, transaction, upsert
from flows.trading.vendors.bars import Timeframe


@task(task_run_name="indicators of {symbol}")
def compute_indicators(
    source: str, symbol: str, timeframe: Timeframe, days_back: int | None, database: SecretStr
) -> int:
    """Compute every indicator over all bars of a symbol and store what is new or has changed; say how many values.

    A split or a gap that was filled changes values of long ago too, so all of them are compared with what is stored.
    """
    key = {"source": source, "symbol": symbol, "timeframe": timeframe}
    since = midnight(today() - timedelta(days=days_back)) if days_back else datetime.min.replace(tzinfo=timezone.utc)
    closes_of = select(bars.c.at, bars.c.close).where(*(bars.c[name] == value for name, value in key.items()))
    values_of = select(indicators.c.name, indicators.c.at, indicators.c.value)
    values_of = values_of.where(*(indicators.c[name] == value for name, value in key.items()))
    with transaction(database) as connection:
        found = connection.execute(closes_of.order_by(bars.c.at)).all()
        stored = {(name, at): value for name, at, value in connection.execute(values_of)}
    moments, closes = [at for at, _ in found], [float(close) for _, close in found]
    rows = [
        {**key, "name": name, "at": at, "value": value}
        for name, values in all_indicators(closes).items()
        for at, value in zip(moments, values, strict=True)
        if value is not None and at >= since and stored.get((name, at)) != value
    ]
    with transaction(database) as connection:
        upsert(connection, indicators, rows)
    return len(rows)
