"""Polygon and Yahoo on this machine: a server that speaks their formats and gives their errors."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import compress
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from flows.trading.market_calendar import today, trading_days

KEY = "key-of-the-tests"
NEW_YORK = ZoneInfo("America/New_York")


class Answer(NamedTuple):
    """What the server says in place of what it has."""

    status: int
    body: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody writes to it


def milliseconds(day: date, at: time = time()) -> int:
    """A moment of a day in New York, as Polygon writes it."""
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * 1000


def aggregates(first: date, last: date, price: float = 100.0) -> list[dict[str, Any]]:
    """Daily bars of all trading days, each of another price."""
    return [
        {
            "t": milliseconds(day),
            "o": price + number / 100,
            "h": round(price + number / 100 + 1.5, 4),
            "l": round(price + number / 100 - 1.25, 4),
            "c": round(price + number / 100 + 0.1234, 4),
            "v": 70790813 + number,
            "vw": round(price + number / 100 + 0.0625, 4),
            "n": 1000 + number,
        }
        for number, day in enumerate(trading_days(first, last))
    ]


class Vendors:
    """Both services, with what a test wants them to have.

    Attributes:
        bars: Polygon's aggregates, by symbol.
        charts: Yahoo's charts, by symbol.
        page_size: How many aggregates Polygon gives at a time.
        answers: What is said instead, one for each request, by symbol.
        asked: How many requests there were, by symbol.
        paths: All of them.
        queries: What each of them asked for besides.
        times: When each came, in seconds of a clock that does not jump.
        impatient: Requests that came before a Retry-After was over.
        gate: Requests wait while it is closed.
        waiting: Whether one does.
        closes_after: The number of requests after which it closes.
    """

    def __init__(self) -> None:
        days = (today() - timedelta(days=40), today() - timedelta(days=1))
        self.bars = {symbol: aggregates(*days, price) for symbol, price in (("AAPL", 100.0), ("MSFT", 400.0))}
        self.charts: dict[str, Any] = {}
        self.page_size = 5
        self.answers: dict[str, deque[Answer | None]] = {}
        self.asked: Counter[str] = Counter()
        self.paths: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.times: list[float] = []
        self.impatient: list[str] = []
        self.waiting = False
        self.closes_after: int | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def says(self, symbol: str, *answers: Answer | None) -> None:
        """Have the next requests for a symbol answered so; None is the usual answer."""
        self.answers[symbol] = deque(answers)

    def answer(self, path: str, query: dict[str, str], key: str) -> Answer:
        """What a GET is answered with."""
        parts = path.strip("/").split("/")
        symbol = parts[3]
        self.paths.append(path)
        self.queries.append(query)
        self.times.append(monotonic())
        self.asked[symbol] += 1
        if self.answers.get(symbol) and (special := self.answers[symbol].popleft()):
            return special
        return self.polygon(parts, query, key) if parts[0] == "v2" else self.yahoo(symbol, query)

    def polygon(self, parts: list[str], query: dict[str, str], key: str) -> Answer:
        """`/v2/aggs/ticker/{symbol}/range/{multiplier}/{timespan}/{from}/{to}`, a page at a time."""
        _, _, _, symbol, _, multiplier, timespan, first, last = parts
        if key != f"Bearer {KEY}":
            return Answer(401, json.dumps({"status": "ERROR", "request_id": "r1", "error": "Unknown API Key"}))
        begin, end = milliseconds(date.fromisoformat(first)), milliseconds(date.fromisoformat(last), time(23, 59, 59))
        found = [bar for bar in self.bars.get(symbol, ()) if "t" not in bar or begin <= bar["t"] <= end]
        start = int(query.get("cursor", "0"))
        body: dict[str, Any] = {"ticker": symbol, "status": "OK", "adjusted": True, "queryCount": len(found)}
        if page := found[start : start + self.page_size]:
            body |= {"results": page, "resultsCount": len(page)}
        if start + self.page_size < len(found):
            following = f"/v2/aggs/ticker/{symbol}/range/{multiplier}/{timespan}/{first}/{last}"
            body["next_url"] = f"https://api.polygon.io{following}?cursor={start + self.page_size}"
        return Answer(200, json.dumps(body))

    def yahoo(self, symbol: str, query: dict[str, str]) -> Answer:
        """`/v8/finance/chart/{symbol}`, of the period that is asked for."""
        if symbol in self.charts:
            chart = self.charts[symbol]
            if "period1" in query and chart.get("timestamp"):
                begin, end = int(query["period1"]), int(query["period2"])
                wanted = [begin <= moment < end for moment in chart["timestamp"]]
                [columns] = chart["indicators"]["quote"]
                within = {
                    name: column and list(compress(column, wanted) if len(column) == len(wanted) else column)
                    for name, column in columns.items()
                }
                moments = list(compress(chart["timestamp"], wanted))
                chart = {**chart, "timestamp": moments, "indicators": {"quote": [within]}}
            return Answer(200, json.dumps({"chart": {"result": [chart], "error": None}}))
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return Answer(404, json.dumps({"chart": {"result": None, "error": error}}))


@contextmanager
def serving() -> Iterator[Vendors]:
    """Both services for as long as the `with` lasts."""
    vendors = Vendors()
    not_before: dict[str, datetime] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if vendors.closes_after is not None and vendors.asked.total() >= vendors.closes_after:
                vendors.gate.clear()
                vendors.waiting = True
            assert vendors.gate.wait(60)
            parts = urlsplit(self.path)
            if datetime.now() < not_before.pop(parts.path, datetime.min):
                vendors.impatient.append(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answer = vendors.answer(parts.path, query, self.headers.get("Authorization", ""))
            if seconds := answer.headers.get("Retry-After"):
                not_before[parts.path] = datetime.now() + timedelta(seconds=float(seconds))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body.encode())))
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendors.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield vendors
    finally:
        vendors.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
