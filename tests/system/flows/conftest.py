"""What runs of the trading flows need in any process."""

from tests.server.flows.conftest import prefect_server
from tests.server.flows.trading.conftest import database, on_each, on_sqlite, postgresql, shell, sqlite, vendors

__all__ = ["database", "on_each", "on_sqlite", "postgresql", "prefect_server", "shell", "sqlite", "vendors"]
