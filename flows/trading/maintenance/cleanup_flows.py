"""Deleting what is older than the environment keeps."""

from datetime import timedelta
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, Field, PositiveInt, SecretStr
from sqlalchemy import ColumnElement, Table, delete, func, select

from flows.trading.config import TradingSettings
from flows.trading.market_calendar import midnight, today
from flows.trading.storage import bars, indicators, prepare_database, quotes, transaction


class RetentionPolicy(BaseModel, frozen=True, extra="forbid"):
    """For how many days data is kept; no number, for ever."""

    daily_bars: PositiveInt | None = Field(default=None, description="Daily bars")
    intraday_bars: PositiveInt | None = Field(default=90, description="Shorter bars")
    quotes: PositiveInt | None = Field(default=30, description="Quotes")
    indicators: PositiveInt | None = Field(default=365, description="Indicators")


KEPT: dict[str, tuple[Table, tuple[ColumnElement[bool], ...]]] = {
    "daily_bars": (bars, (bars.c.timeframe == "1d",)),
    "intraday_bars": (bars, (bars.c.timeframe != "1d",)),
    "quotes": (quotes, ()),
    "indicators": (indicators, ()),
}


@task(task_run_name="clean up {name}")
def clean_up(name: str, days: int, dry_run: bool, database: SecretStr) -> dict[str, Any]:
    """Count what is older than so many days, and delete it unless this is a dry run."""
    table, conditions = KEPT[name]
    before = today() - timedelta(days=days)
    old = (*conditions, table.c.at < midnight(before))
    with transaction(database) as connection:
        rows = connection.scalar(select(func.count()).select_from(table).where(*old))
        if not dry_run:
            connection.execute(delete(table).where(*old))
    return {"what": name, "before": str(before), "rows": rows or 0}


@flow(name="market-data-cleanup")
def market_data_cleanup(
    retention: RetentionPolicy = RetentionPolicy(),  # noqa: B008 - it is frozen
    dry_run: bool = True,
) -> dict[str, int]:
    """Delete what is older than the retention policy keeps; a dry run, which is the default, only says how much it is.

    Args:
        retention: For how many days each kind of data is kept.
        dry_run: Delete nothing.

    Returns:
        How many rows of each kind were too old.
    """
    database = TradingSettings().database_url
    prepare_database(database)
    limits = {name: days for name, days in retention.model_dump().items() if days}
    futures = [clean_up.submit(name, days, dry_run, database) for name, days in limits.items()]
    table = [future.result() for future in futures]
    verb = "would be deleted" if dry_run else "were deleted"
    create_table_artifact(table, key="market-data-cleanup", description=f"Rows that {verb}")
    get_run_logger().info("%d rows %s", sum(row["rows"] for row in table), verb)
    return {row["what"]: row["rows"] for row in table}


if __name__ == "__main__":
    market_data_cleanup()
