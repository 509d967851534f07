"""Show the progress of a long step: in the Prefect UI by an artifact, and in this process by a watcher, e.g. a bar."""

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
"""Called with what is being done, how many parts of it are done, and how many there are."""

SECONDS_BETWEEN = 3.0
"""Shortest time between two updates of the artifact; a step that takes less has none."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call a watcher with the progress of all that runs within this context."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[], None]]:
    """Show the progress of a step, e.g. `build images`; call the yielded function once for each part that is done."""
    watcher, updated, done = _watcher.get(), time.monotonic(), 0
    artifact: UUID | None = None

    def update() -> None:
        nonlocal artifact
        percent = 100 * done / total
        with suppress(MetaFlowsError), translate_http_errors():  # no step fails because its progress cannot be shown
            if artifact:
                update_progress_artifact(artifact, percent)
            else:
                artifact = cast(UUID, create_progress_artifact(percent, description=f"{doing}: {total} in all"))

    def advance() -> None:
        nonlocal updated, done
        done += 1
        if watcher:
            watcher(doing, done, total)
        if time.monotonic() - updated > SECONDS_BETWEEN:
            update()
            updated = time.monotonic()

    if watcher and total:
        watcher(doing, 0, total)
    yield advance
    if artifact:
        update()
