"""The example of docs/adding-a-flow.md, as somebody would copy it."""

from __future__ import annotations

import json
import re
import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import Command, Server
from tests.shops import Shop

PAGE = (Path(__file__).parents[3] / "docs/adding-a-flow.md").read_text()


class Rates(BaseHTTPRequestHandler):
    """A service that answers as the example's does."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.send_response(200 if query["base"] == ["EUR"] else 400)
        self.end_headers()
        self.wfile.write(json.dumps({"amount": 1.0, "base": "EUR", "rates": {query["symbols"][0]: 1.25}}).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_the_example_is_deployed_and_does_what_it_says(
    tmp_path: Path, server: Server, command: Command, prefect_server: None
) -> None:
    shop = Shop(tmp_path / "shop", server, command)
    for language in ("python", "yaml"):
        content = re.search(rf"```{language}\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
        assert content
        shop.write(content[1], content[2])
    shop.deploy("--flow", "exchange-rates", NO_COLOR="1")  # in a process of its own
    (deployment,) = shop.live().values()
    assert (deployment["name"], deployment["parameters"]) == (
        "exchange-rates-python-dev",
        {"currencies": ["USD", "GBP"]},
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Rates) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        flow = runpy.run_path(str(shop.root / "flows/exchange_rates/workflow.py"))["exchange_rates"]
        assert flow(["USD"], f"http://127.0.0.1:{service.server_port}") == {"USD": 1.25}
        service.shutdown()
