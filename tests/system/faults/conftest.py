"""Two scenes in which the same happens, so that every write can have its fault in half the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest

from tests.system.faults.proxy import Request
from tests.system.faults.scene import Scene, set_up, started_scene
from tests.system.faults.snapshot import Snapshot

T = TypeVar("T")

MEMORY = Path("/dev/shm")
"""Where a server's database costs no waiting for a disk, on Linux."""

DEPLOY = ("deploy", "--json", "--adopt", "--prune", "--prune-limit", "1")


class Lane:
    """A scene that can be brought back to its beginning, and how it ends without faults.

    Attributes:
        scene: The scene.
        before: What is on the server at the beginning.
        after: What is there after a deploy without faults.
        writes: The writes of that deploy, in order.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        set_up(scene)
        scene.free_lock()  # leases outlive what is restored, and must not run out on a lock of later
        self._beginning = scene.save()
        self.before: Snapshot = scene.take()
        ended = scene.run(*DEPLOY)
        assert ended.code == 0, ended.stdout + ended.stderr
        self.after: Snapshot = scene.take()
        self.writes: list[Request] = [write for write in scene.proxy.writes if not write.again]

    def beside(self, scene: Scene) -> Lane:
        """The same in another scene that is like this one's."""
        lane = copy(self)
        lane.scene = scene
        return lane

    def start_over(self) -> Scene:
        """The scene, brought back to its beginning."""
        self.scene.restore(self._beginning)
        return self.scene


Lanes = Sequence[Lane]


@pytest.fixture(scope="package")
def lanes(importer: None) -> Iterator[Lanes]:
    """Two of them, each with a server of its own."""
    with ExitStack() as stack:
        home = MEMORY if MEMORY.is_dir() else None
        folders = [Path(stack.enter_context(TemporaryDirectory(dir=home))) for _ in range(2)]
        first = Lane(stack.enter_context(started_scene(folders[0])))
        yield [first, first.beside(stack.enter_context(started_scene(folders[1], like=first.scene)))]


def on_each(lanes: Lanes, cases: Iterable[T], check: Callable[[Lane, T], str]) -> None:
    """Check every case on whichever lane is free.

    Args:
        lanes: The lanes.
        cases: What to check.
        check: Gives what is wrong; empty when nothing is.
    """
    waiting: SimpleQueue[T] = SimpleQueue()
    for case in cases:
        waiting.put(case)
    assert not waiting.empty()

    def work(lane: Lane) -> list[str]:
        wrong: list[str] = []
        while not waiting.empty():
            case = waiting.get()
            try:
                found = check(lane, case)
            except AssertionError as error:
                found = str(error)
            wrong += [f"{case}: {found}"] if found else []
        return wrong

    with ThreadPoolExecutor(len(lanes)) as threads:
        wrong = [message for lane in threads.map(work, lanes) for message in lane]
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
