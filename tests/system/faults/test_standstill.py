"""A Prefect server on SQLite that stands still as a whole, as busy ones do.

In the event loop Python's garbage collector waits for a connection, and that waits for a transaction of the same event
loop, until SQLite's timeout ends both.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from tests.servers import started_server
from tests.shops import Shop
from tests.waiting import wait_until

BUSY_TIMEOUT = 60
"""Seconds; Prefect's own for SQLite."""


def test_a_deploy_keeps_its_lock_while_its_server_stands_still(
    tmp_path: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    starting = started_server(tmp_path)
    with starting as server:
        shop = Shop(tmp_path / "shop", server, command)

        def stand_still() -> None:
            wait_until(lambda: server.deployments(shop.project))
            starting.process.send_signal(signal.SIGSTOP)
            time.sleep(BUSY_TIMEOUT + 1)
            starting.process.send_signal(signal.SIGCONT)

        fault = threading.Thread(target=stand_still)
        fault.start()
        try:
            assert shop.deploy()["state"] == "Deployed"
        finally:
            fault.join()
