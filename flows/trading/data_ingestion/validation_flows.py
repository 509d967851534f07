"""Whether what is stored can be trusted."""

from collections import Counter
from collections.abc import Collection
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import PositiveFloat, PositiveInt

from flows.trading.config import Symbol, TradingSettings
from flows.trading.data_ingestion.charts import line_chart
from flows.trading.storage import prepare_database
from flows.trading.tasks.mapping import for_each_symbol
from flows.trading.tasks.validation_tasks import Examined, validate_symbol
from flows.trading.vendors.bars import Timeframe

LISTED = 20
"""How many findings of a symbol the report names; the number of all of them is in its table."""


@flow(name="market-data-validation")
def market_data_validation(
    days_back: PositiveInt = 90,
    timeframe: Timeframe = "1d",
    source: Literal["polygon", "yahoo"] = "polygon",
    outlier_limit: PositiveFloat = 10,
    strict: bool = False,
    symbols: list[Symbol] | None = None,
    use_distributed: bool = False,
) -> dict[str, dict[str, int]]:
    """Look for gaps, duplicates, outliers and contradictions, and write a report with a chart of each symbol.

    Args:
        days_back: How many days are looked at.
        timeframe: Length of the bars.
        source: Whose bars.
        outlier_limit: How many times the usual deviation a close may move.
        strict: Fail the run when anything is found.
        symbols: What to look at in place of TRADING_SYMBOLS.
        use_distributed: Spread the symbols over a Dask cluster.

    Returns:
        How often each check found something, for each symbol.
    """
    settings = TradingSettings()
    prepare_database(settings.database_url)
    examined: dict[str, Examined] = for_each_symbol(
        validate_symbol,
        symbols or settings.symbols,
        use_distributed=use_distributed,
        database=settings.database_url,
        source=source,
        timeframe=timeframe,
        days_back=days_back,
        outlier_limit=outlier_limit,
    )
    counts = {symbol: dict(Counter(finding.check for finding in item.findings)) for symbol, item in examined.items()}
    create_markdown_artifact(
        report(examined.values()), key=f"market-data-{source}-{timeframe}", description="What is wrong with stored bars"
    )
    found = sum(len(item.findings) for item in examined.values())
    message = f"{found} findings in {sum(len(item.bars) for item in examined.values())} bars"
    if found and strict:
        raise ValueError(message)
    get_run_logger().log(30 if found else 20, message)
    return counts


def report(examined: Collection[Examined]) -> str:
    """A page for the Prefect UI: numbers, then for each symbol a chart of its closes and what is wrong."""
    lines = ["| symbol | bars | findings |", "| --- | ---: | ---: |"]
    lines += [f"| {item.symbol} | {len(item.bars)} | {len(item.findings)} |" for item in examined]
    for item in examined:
        days = {finding.day for finding in item.findings}
        marked = [index for index, bar in enumerate(item.bars) if bar.day in days]
        ends = (str(item.bars[0].day), str(item.bars[-1].day)) if item.bars else ("", "")
        chart = line_chart("close", [float(bar.close) for bar in item.bars], marked, ends)
        lines += ["", f"## {item.symbol}", "", f"![closes of {item.symbol}]({chart})", ""]
        lines += [f"- {finding.day}: {finding.check}: {finding.detail}" for finding in item.findings[:LISTED]]
    return "\n".join(lines)


if __name__ == "__main__":
    market_data_validation()
