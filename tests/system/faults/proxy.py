"""A reverse proxy before a Prefect server that records every request and makes chosen ones fail."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import h11
import httpx

DESCRIBED = ("deployments", "flows", "work_pools", "work_queues", "v2/concurrency_limits", "block_documents")
"""Collections whose objects a deploy describes; all others keep the books of runs."""

META_FLOWS = ("deploy-all", "rollback", "clean-deployments", "reconcile", "check-ui")
"""Flows that Prefect registers because they run here; to the server they are books, too."""

READS = ("filter", "paginate", "count", "get_scheduled_flow_runs", "get_runs")
"""Last parts of paths that are read by POST."""

BRINGS_NOTHING = (204, 304)
"""Statuses of answers without a body."""

HOP_BY_HOP = {b"connection", b"transfer-encoding", b"content-length", b"keep-alive"}


class Request(NamedTuple):
    """One request as the proxy saw it.

    Attributes:
        number: Which write it is, from 1, a repetition having the same; None for what a deploy is not about.
        again: Whether it is such a repetition.
        at: When it arrived, on the clock of `time.monotonic`.
    """

    method: str
    path: str
    body: bytes
    number: int | None = None
    again: bool = False
    at: float = 0.0

    @property
    def is_for_the_lock(self) -> bool:
        """Whether it makes, takes or gives back the deploy's lock."""
        return self.path.startswith("/api/v2/concurrency_limits")

    @property
    def is_for_the_record(self) -> bool:
        """Whether it changes the record of a release."""
        return self.path.startswith("/api/block_documents")

    def repeats(self, other: Request) -> bool:
        """Whether this is the same request once more."""
        return self[:3] == other[:3]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Fate(NamedTuple):
    """What becomes of a request.

    Attributes:
        reaches: Whether the server gets it.
        answer: A status in place of the server's answer; `cut` drops the connection, `hang` leaves the client waiting.
        strike: Done after the server has dealt with it, if it gets it, and before any answer; it may take its time.
    """

    reaches: bool = True
    answer: int | Literal["cut", "hang"] | None = None
    strike: Callable[[], None] | None = None


Rule = Callable[[Request], Fate]

PASS = Fate()
LOST_ANSWER = Fate(answer="cut")
UNHEARD = Fate(reaches=False, answer="cut")


def pass_all(_: Request) -> Fate:
    """No fault."""
    return PASS


def refused(status: int) -> Fate:
    """Answered with a status; the server never sees it."""
    return Fate(reaches=False, answer=status)


def once(number: int, fate: Fate) -> Rule:
    """The n-th write meets a fate, no other request does, a repetition of it neither."""
    return lambda request: fate if request.number == number and not request.again else PASS


def for_ever(number: int, fate: Fate) -> Rule:
    """The n-th write meets a fate, and so does every repetition of it."""
    struck: list[Request] = []

    def rule(request: Request) -> Fate:
        if request.number == number:
            struck.append(request)
        return fate if any(request.repeats(other) for other in struck) else PASS

    return rule


def transient(seed: int, share: float) -> Rule:
    """A share of all requests fails in a way that passes; a status, which asks to be tried again at once, mostly."""
    chance = random.Random(seed)
    fates = [*map(refused, (502, 503, 429) * 2), UNHEARD, LOST_ANSWER, Fate(answer="hang")]
    return lambda _: chance.choice(fates) if chance.random() < share else PASS


def is_write(request: Request) -> bool:
    """Whether a request changes what a deploy is about; a lease's renewals come with time, not with the plan."""
    path = request.path.removeprefix("/api/").rstrip("/")
    if request.method == "GET" or path.rpartition("/")[2] in (*READS, "renew"):
        return False
    if path == "flows" and json.loads(request.body)["name"] in META_FLOWS:
        return False
    return path.startswith(DESCRIBED)


class _Answer(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes


FAULT = b'{"detail": "injected by the proxy"}'


class Proxy:
    """Stands before a server for as long as the `with` lasts.

    Attributes:
        api_url: The API's address through the proxy.
        rule: What becomes of each request.
        requests: Every request since the last `start_over`, in the order of arrival.
        writes: Those of them that change what a deploy is about.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.start_over()

    def start_over(self, rule: Rule = pass_all) -> None:
        """Forget what was seen, and follow another rule."""
        self.rule = rule
        self.requests: list[Request] = []
        self.writes: list[Request] = []

    def counts(self) -> Counter[str]:
        """How many requests there were of each kind, whatever object they were about; logs come as time goes by."""
        kinds = (re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "*", str(request)) for request in self.requests)
        return Counter(kind for kind in kinds if "/logs" not in kind)

    def __enter__(self) -> Proxy:
        ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(ready),))
        self._thread.start()
        assert ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _main(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._serve(reader, writer)
            except (OSError, h11.ProtocolError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                connections.discard(task)
                writer.transport.abort()

        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as self._client:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self.api_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
            ready.set()
            await self._stop.wait()
            server.close()
            for task in list(connections):
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until it is closed or a fault closes it."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while (asked := await self._receive(connection, reader)) is not None:
            head, body = asked
            fate = self.rule(self._seen(head, body))
            if any(name == b"upgrade" for name, _ in head.headers):
                if fate is PASS:
                    await self._tunnel(head, reader, writer)
                return
            answer = await self._forward(head, body) if fate.reaches else None
            if fate.strike:
                await self._loop.run_in_executor(None, fate.strike)
            if fate.answer == "hang":
                await reader.read()
            if fate.answer in ("cut", "hang"):
                return
            if answer is None or fate.answer:
                asked_again = [(b"content-type", b"application/json"), (b"retry-after", b"0")]
                answer = _Answer(int(fate.answer or 500), asked_again, FAULT)
            length = [] if answer.status in BRINGS_NOTHING else [(b"content-length", b"%d" % len(answer.content))]
            for part in (
                h11.Response(status_code=answer.status, headers=[*answer.headers, *length]),
                h11.Data(answer.content),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(part) or b"")
            await writer.drain()

    async def _receive(
        self, connection: h11.Connection, reader: asyncio.StreamReader
    ) -> tuple[h11.Request, bytes] | None:
        """The next request on a connection and its body; None when there is none any more."""
        if connection.our_state is not h11.IDLE:
            if connection.our_state is not h11.DONE:
                return None
            connection.start_next_cycle()
        head, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, body
            else:
                return None

    def _seen(self, head: h11.Request, body: bytes) -> Request:
        request = Request(head.method.decode(), urlsplit(head.target.decode()).path, body, at=time.monotonic())
        if is_write(request):
            last = self.writes[-1] if self.writes else None
            if last is not None and request.repeats(last):
                request = last._replace(again=True, at=request.at)
            else:
                request = request._replace(number=1 + (last.number or 0 if last else 0))
            self.writes.append(request)
        self.requests.append(request)
        return request

    async def _forward(self, head: h11.Request, body: bytes) -> _Answer:
        """The server's answer; while its SQLite is locked it is asked again, so that all faults are those injected."""
        url = f"http://{self._upstream.netloc}{head.target.decode()}"
        headers = [(name, value) for name, value in head.headers if name not in HOP_BY_HOP]
        for pause in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 0):
            request = self._client.build_request(head.method.decode(), url, headers=headers, content=body)
            response = await self._client.send(request, stream=True)
            content = b"".join([part async for part in response.aiter_raw()])
            await response.aclose()
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(pause)
        kept = [(name, value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
        return _Answer(response.status_code, kept, content)

    async def _tunnel(self, head: h11.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let a websocket through, byte for byte."""
        above_reader, above_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        lines = [b"%s %s HTTP/1.1" % (head.method, head.target), *(b"%s: %s" % header for header in head.headers)]
        above_writer.write(b"\r\n".join([*lines, b"", b""]))

        async def pipe(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                drain.write(data)
                await drain.drain()

        pipes = [asyncio.create_task(pipe(reader, above_writer)), asyncio.create_task(pipe(above_reader, writer))]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
        finally:
            for task in pipes:
                task.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            above_writer.close()
