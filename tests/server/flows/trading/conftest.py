"""Vendors, databases and settings for runs of the trading flows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, select

from benchmarks.server import started_database
from flows.trading import storage
from flows.trading.tasks import data_ingestion_tasks
from tests.server.flows.trading.vendors import KEY, Vendors, serving


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    """Polygon and Yahoo, new for each test."""
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server of these tests' own, in a folder that another user than root can reach."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        try:
            url = stack.enter_context(started_database(folder, "postgresql"))
        except SystemExit as missing:
            pytest.skip(str(missing))
        yield str(url).replace("asyncpg", "psycopg")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/trading.db?timeout=60"
    url = str(request.getfixturevalue("postgresql"))
    engine = create_engine(url)
    storage.metadata.drop_all(engine)
    engine.dispose()
    return url


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """An empty SQLite database, where it makes no difference which it is."""
    return f"sqlite:///{tmp_path}/trading.db?timeout=60"


@pytest.fixture
def shell(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The settings of a run, but for the database; tests may change them."""
    for name in [name for name in os.environ if name.startswith("TRADING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRADING_POLYGON_URL", vendors.url)
    monkeypatch.setenv("TRADING_POLYGON_API_KEY", KEY)
    monkeypatch.setenv("TRADING_POLYGON_REQUESTS_PER_MINUTE", "60000")
    monkeypatch.setenv("TRADING_YAHOO_URL", vendors.url)
    for task in (data_ingestion_tasks.ingest_symbol, data_ingestion_tasks.ingest_quote):
        monkeypatch.setattr(task, "retry_delay_seconds", [0.0, 0.0, 0.0])
    yield monkeypatch


@pytest.fixture
def on_each(shell: pytest.MonkeyPatch, database: str, prefect_server: None) -> str:
    """Runs of flows on each kind of database."""
    shell.setenv("TRADING_DATABASE_URL", database)
    return database


@pytest.fixture
def on_sqlite(shell: pytest.MonkeyPatch, sqlite: str, prefect_server: None) -> str:
    """Runs of flows on SQLite."""
    shell.setenv("TRADING_DATABASE_URL", sqlite)
    return sqlite


def rows(url: str, table: Table = storage.bars) -> list[dict[str, Any]]:
    """All rows of a table, in the order of its key."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        result = [dict(row) for row in found]
    engine.dispose()
    return result


def write(url: str, *new: dict[str, Any], table: Table = storage.bars) -> None:
    """Put rows into a database."""
    engine = create_engine(url)
    storage.metadata.create_all(engine)
    with engine.begin() as connection:
        storage.upsert(connection, table, new)
    engine.dispose()
