"""A shop to examine, and servers that say what a test wants them to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.shops import Shop

Rewrite = Callable[[str, dict[str, str], bytes], bytes]
"""What is done to an answer: its path, its headers, which may be changed, and its body."""


@contextmanager
def rewritten(api_url: str, rewrite: Rewrite) -> Iterator[str]:
    """The address of an API that answers as another one does, with the answers rewritten."""
    upstream = api_url.removesuffix("/api")

    class Proxy(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told = httpx.request(
                self.command, f"{upstream}{self.path}", headers={"content-type": "application/json"}, content=body
            )
            headers = {key: told.headers[key] for key in ("content-type", "date")}
            content = rewrite(self.path, headers, told.content)
            self.send_response_only(told.status_code)
            for key, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = answer  # noqa: N815  # what http.server calls

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}/api"
    finally:
        proxy.shutdown()
        proxy.server_close()


class Findings:
    """What doctor said.

    Attributes:
        code: What it ended with.
        text: All of it.
    """

    def __init__(self, shop: Shop, *words: str, **shell: str) -> None:
        done = shop.meta_flows("doctor", "--json", *words, **shell)
        self.code, self.text = done.returncode, done.stdout + done.stderr
        self.found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]

    def of(self, check: str) -> list[tuple[str, str | None]]:
        """Status and code of each line of a check."""
        return [(item["status"], item["code"]) for item in self.found if item["check"] == check]

    @property
    def wrong(self) -> set[tuple[str, str, str]]:
        """Check, status and code of each line that is not ok."""
        return {(item["check"], item["status"], item["code"]) for item in self.found if item["status"] != "ok"}
