"""The example automation is one that a real server takes, and it tells somebody about drift."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.shops import Shop
from tests.waiting import wait_until

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "notify.yaml"


@contextmanager
def listening(heard: list[dict[str, Any]]) -> Iterator[str]:
    """A web hook on this machine that keeps what it is sent; its address."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Hook) as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{hook.server_port}"
        finally:
            hook.shutdown()


def test_drift_reaches_the_person_whom_the_example_automation_tells(shop: Shop, tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    shop.deploy()
    with listening(heard) as address:
        message = {"subject": "{{subject}}", "body": "{{body}}"}
        with temporary_settings({PREFECT_API_URL: shop.server.api_url}):
            block = CustomWebhookNotificationBlock(name="test", url=address, json_data=message)
            block_id = block.save(f"{shop.project}-hook")
        example = EXAMPLE.read_text(encoding="utf-8")
        automation = tmp_path / EXAMPLE.name
        automation.write_text(
            example.replace("rpa-flows.production", f"{shop.project}.development").replace(
                "00000000-0000-0000-0000-000000000000", str(block_id)
            )
        )
        created = subprocess.run(
            [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(automation)],
            env={**os.environ, "PREFECT_API_URL": shop.server.api_url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert created.returncode == 0, created.stdout + created.stderr

        deployment = shop.live()["a-python-dev"]
        shop.server.patch(f"/deployments/{deployment['id']}", {"parameters": {"count": 9}})

        def told() -> list[dict[str, Any]]:
            """Looks again until the automation is known to the server, which takes it a moment."""
            done = shop.meta_flows("reconcile", "--policy", "report")
            assert done.returncode == 0, done.stderr
            return heard

        wait_until(told)
    assert heard[0] == {
        "subject": f"{shop.project} development: Drifted",
        "body": "1 to update, 2 unchanged (meta-flows.drift.found)",
    }
