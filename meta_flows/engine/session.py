"""What every function of the engine works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from meta_flows.engine.lock import Lock
from meta_flows.engine.store import Store
from meta_flows.models import Change

T = TypeVar("T")

Write = Callable[[Change, Callable[[], None]], BaseException | None]
"""Makes one change by calling a function, and returns what that raised."""


class Shell(Protocol):
    """How steps are carried out and shown: as task runs in Prefect, just so in a test."""

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Carry out a step under a name."""

    def changes(self, count: int, carry_out: Callable[[Write], None]) -> None:
        """Carry out some changes by a function that is handed how to make one.

        Args:
            count: How many of them write something.
            carry_out: Makes them one after the other.
        """

    def log(self, level: int, message: str) -> None:
        """Say something, at a level of `logging`."""


class Session(NamedTuple):
    """The server, how steps are shown there, and the lock that makes us its only writer."""

    store: Store
    shell: Shell
    lock: Lock
