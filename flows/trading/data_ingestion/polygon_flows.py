"""Bars from Polygon.io: daily ones after the close, five-minute ones while the exchange is open."""

from prefect import flow
from pydantic import PositiveInt

from flows.trading.config import Symbol, TradingSettings, polygon_api_key
from flows.trading.storage import prepare_database
from flows.trading.tasks.data_ingestion_tasks import ingest_symbol
from flows.trading.tasks.mapping import for_each_symbol
from flows.trading.vendors.bars import Timeframe
from flows.trading.vendors.polygon import Polygon, space_requests_out


@flow(name="polygon-daily-ingestion")
def polygon_daily_ingestion(
    days_back: PositiveInt = 7, symbols: list[Symbol] | None = None, use_distributed: bool = False
) -> dict[str, int]:
    """Store the daily bars of the last days.

    Args:
        days_back: How many days are fetched again, since vendors correct what they sent; a longer gap is filled too.
        symbols: What to fetch in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster.

    Returns:
        How many bars were stored of each symbol.
    """
    return _ingest("1d", days_back, symbols, use_distributed)


@flow(name="polygon-intraday-ingestion")
def polygon_intraday_ingestion(
    days_back: PositiveInt = 1, symbols: list[Symbol] | None = None, use_distributed: bool = False
) -> dict[str, int]:
    """Store the five-minute bars of the last days.

    Args:
        days_back: How many days are fetched again, since vendors correct what they sent; a longer gap is filled too.
        symbols: What to fetch in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster.

    Returns:
        How many bars were stored of each symbol.
    """
    return _ingest("5m", days_back, symbols, use_distributed)


def _ingest(
    timeframe: Timeframe, days_back: int, symbols: list[Symbol] | None, use_distributed: bool
) -> dict[str, int]:
    settings = TradingSettings()
    polygon = Polygon(str(settings.polygon_url), polygon_api_key(settings))
    space_requests_out(polygon.limit, settings.polygon_requests_per_minute)
    prepare_database(settings.database_url)
    return for_each_symbol(
        ingest_symbol,
        symbols or settings.symbols,
        use_distributed=use_distributed,
        database=settings.database_url,
        vendor=polygon,
        timeframe=timeframe,
        days_back=days_back,
    )


if __name__ == "__main__":
    polygon_daily_ingestion()
