"""What runs of the trading flows need, whoever starts them."""

from tests.server.flows.conftest import prefect_server
from tests.server.flows.trading.conftest import database, postgresql, shell, sqlite, vendors

__all__ = ["database", "postgresql", "prefect_server", "shell", "sqlite", "vendors"]
