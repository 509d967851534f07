"""How far a long step is: an artifact that moves in the Prefect UI, a bar on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.prefect_api.connection import translate_http_errors

Watcher = Callable[[str, int, int], None]
"""What is told: what is being done, how much of it is done, out of how many."""

SECONDS_BETWEEN = 3.0
"""How often the UI is told at most; what takes less time than that has no artifact at all."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Let a watcher in this process see the progress of what runs in it."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[], None]]:
    """Tell how far something is; call what this yields once for each part that is done.

    Args:
        doing: What is being done, e.g. `apply to staging`.
        total: How many parts there are.
    """
    watcher, told, done = _watcher.get(), time.monotonic(), 0
    artifact: UUID | None = None

    def tell() -> None:
        nonlocal artifact
        percent = 100 * done / total
        with suppress(MetaFlowsError), translate_http_errors():  # a step does not fail for want of a picture of it
            if artifact:
                update_progress_artifact(artifact, percent)
            else:
                artifact = cast(UUID, create_progress_artifact(percent, description=f"{doing}: {total} in all"))

    def advance() -> None:
        nonlocal told, done
        done += 1
        if watcher:
            watcher(doing, done, total)
        if time.monotonic() - told > SECONDS_BETWEEN:
            tell()
            told = time.monotonic()

    if watcher and total:
        watcher(doing, 0, total)
    yield advance
    if artifact:
        tell()
