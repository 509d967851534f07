"""Technical indicators of all symbols."""

from typing import Literal

from prefect import flow
from pydantic import PositiveInt

from flows.trading.config import Symbol, TradingSettings
from flows.trading.storage import prepare_database
from flows.trading.tasks.indicator_tasks import compute_indicators
from flows.trading.tasks.mapping import for_each_symbol
from flows.trading.vendors.bars import Timeframe


@flow(name="technical-indicators")
def technical_indicators(
    days_back: PositiveInt | None = None,
    timeframe: Timeframe = "1d",
    source: Literal["polygon", "yahoo"] = "polygon",
    symbols: list[Symbol] | None = None,
    use_distributed: bool = False,
) -> dict[str, int]:
    """Compute SMA, EMA, RSI, MACD and Bollinger bands from all bars that are stored, and store what has changed.

    Args:
        days_back: Of how many days the values are stored; of all, unless given. Retention may keep fewer.
        timeframe: Length of the bars.
        source: Whose bars.
        symbols: What to compute in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster: it is the processor that this takes.

    Returns:
        How many values were stored of each symbol.
    """
    settings = TradingSettings()
    prepare_database(settings.database_url)
    return for_each_symbol(
        compute_indicators,
        symbols or settings.symbols,
        use_distributed=use_distributed,
        database=settings.database_url,
        source=source,
        timeframe=timeframe,
        days_back=days_back,
    )


if __name__ == "__main__":
    technical_indicators()
