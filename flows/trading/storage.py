"""The database: its tables, transactions on it, and writing a row anew instead of twice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from prefect import task
from pydantic import SecretStr
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    create_engine,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator, TypeEngine


class Exact(TypeDecorator[Decimal]):
    """A decimal number that comes back as it went in.

    NUMERIC where there is such a thing. SQLite has none and would make a binary fraction of it, so there it is a
    whole number of the smallest unit: it still sorts and sums up as it should.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, scale: int) -> None:
        super().__init__(precision=18, scale=scale)
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type that the database has."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric(18, self.scale))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """What is stored; a number that would lose digits is refused."""
        if value is None:
            return None
        units = value.scaleb(self.scale)
        if units != units.to_integral_value() or abs(units) >= 10**18:
            raise ValueError(f"{value} does not fit into {18 - self.scale} digits and {self.scale} decimals")
        return int(units) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """The number again."""
        return Decimal(value).scaleb(-self.scale) if value is not None and dialect.name == "sqlite" else value


class Instant(TypeDecorator[datetime]):
    """A point in time, in UTC; SQLite has no time zones, so it comes back with this one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC; a time without a time zone could be anything."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value and value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """With its time zone."""
        return value and (value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc))


PRICE, VOLUME = 8, 4
"""Decimals that are kept of a price and of a volume, which vendors state with fractions of shares."""

metadata = MetaData()
bars = Table(
    "bars",
    metadata,
    Column("source", String(20), primary_key=True),
    Column("symbol", String(15), primary_key=True),
    Column("timeframe", String(10), primary_key=True),
    Column("at", Instant, primary_key=True),
    *(Column(name, Exact(PRICE), nullable=False) for name in ("open", "high", "low", "close")),
    Column("volume", Exact(VOLUME), nullable=False),
    Column("vwap", Exact(PRICE)),
    Column("trades", Integer),
)
quotes = Table(
    "quotes",
    metadata,
    Column("source", String(20), primary_key=True),
    Column("symbol", String(15), primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("price", Exact(PRICE), nullable=False),
    Column("previous_close", Exact(PRICE)),
    Column("currency", String(3), nullable=False),
)
indicators = Table(
    "indicators",
    metadata,
    Column("source", String(20), primary_key=True),
    Column("symbol", String(15), primary_key=True),
    Column("timeframe", String(10), primary_key=True),
    Column("name", String(30), primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("value", Float, nullable=False),
)

INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@contextmanager
def transaction(database: SecretStr) -> Iterator[Connection]:
    """A transaction of its own: all that happens in it is kept, or nothing.

    The URL is handed from the flow to its tasks: the processes of a Dask cluster have other settings than the run.
    """
    engine = create_engine(database.get_secret_value(), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows; one that is there under its primary key is written anew."""
    if rows:
        statement = INSERTS[connection.dialect.name](table)
        values = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=table.primary_key, set_=values), rows)


@task(task_run_name="prepare the database", retries=3, retry_delay_seconds=1)
def prepare_database(database: SecretStr) -> None:
    """Create what is missing; retried, since two first runs at once would both create it."""
    url = make_url(database.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    with transaction(database) as connection:
        metadata.create_all(connection)
