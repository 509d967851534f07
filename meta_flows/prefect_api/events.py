"""Events that wait: what our own task runs tell the server must not keep it from doing what they ask of it.

The server handles everything in one process. The events of a task run cost it about as much as the write that the task
is there for, and on SQLite each of them can make a write fail (503). So they are sent once the writes are done.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events import Event
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker

LONGEST_SECONDS = 20.0
"""How long events wait at most, so that a long deploy can be watched in the UI."""

_go = threading.Event()


class _PatientClient(PrefectEventsClient):
    """Sends events as usual, but not while they are held."""

    async def emit(self, event: Event) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while not _go.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await super().emit(event)


@contextmanager
def events_held() -> Iterator[None]:
    """Let events wait until the context ends."""
    _go.clear()
    EventsWorker.set_client_override(_PatientClient)
    try:
        yield
    finally:
        EventsWorker.set_client_override(None)
        _go.set()
