"""Prices from Yahoo Finance: daily bars as a second source, and the latest quotes."""

from prefect import flow
from pydantic import PositiveInt

from flows.trading.config import Symbol, TradingSettings
from flows.trading.storage import prepare_database
from flows.trading.tasks.data_ingestion_tasks import ingest_quote, ingest_symbol
from flows.trading.tasks.mapping import for_each_symbol
from flows.trading.vendors.yahoo import Yahoo


@flow(name="yahoo-history-ingestion")
def yahoo_history_ingestion(
    days_back: PositiveInt = 30, symbols: list[Symbol] | None = None, use_distributed: bool = False
) -> dict[str, int]:
    """Store the daily bars of the last days.

    Args:
        days_back: How many days are fetched again, since vendors correct what they sent; a longer gap is filled too.
        symbols: What to fetch in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster.

    Returns:
        How many bars were stored of each symbol.
    """
    settings = TradingSettings()
    prepare_database(settings.database_url)
    return for_each_symbol(
        ingest_symbol,
        symbols or settings.symbols,
        use_distributed=use_distributed,
        database=settings.database_url,
        vendor=Yahoo(str(settings.yahoo_url)),
        timeframe="1d",
        days_back=days_back,
    )


@flow(name="yahoo-quotes-ingestion")
def yahoo_quotes_ingestion(symbols: list[Symbol] | None = None, use_distributed: bool = False) -> dict[str, int]:
    """Store the latest price of each symbol.

    Args:
        symbols: What to fetch in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster.

    Returns:
        How many quotes were stored of each symbol.
    """
    settings = TradingSettings()
    prepare_database(settings.database_url)
    return for_each_symbol(
        ingest_quote,
        symbols or settings.symbols,
        use_distributed=use_distributed,
        database=settings.database_url,
        vendor=Yahoo(str(settings.yahoo_url)),
    )


if __name__ == "__main__":
    yahoo_quotes_ingestion()
