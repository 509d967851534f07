"""A signal at a random moment, to any command that writes, with another writer beside it now and then."""

from __future__ import annotations

import json
import random
import signal
import time
from sqlite3 import Connection
from typing import NamedTuple

import pytest

from tests.system.faults.conftest import DEPLOY, Lane, Lanes, on_each
from tests.system.faults.proxy import Fate, Proxy, once
from tests.system.faults.scene import Scene
from tests.system.faults.snapshot import Snapshot
from tests.waiting import wait_until

COMMANDS = {
    "deploy": DEPLOY,
    "rollback": ("rollback", "--json"),
    "clean": ("clean", "--json"),
    "reconcile": ("reconcile", "--json", "--policy", "repair"),
}
LOCK_SECONDS = 3
"""After how long a run counts its lock as lost here."""


class Start(NamedTuple):
    """A state of a server in which a command has much to do, and what is there once it has done it."""

    saved: Connection
    before: Snapshot
    after: Snapshot
    writes: int


class Case(NamedTuple):
    """What is struck by which signal, and when."""

    seed: int
    command: str
    signal: signal.Signals
    at: float
    another_writer: bool

    def __str__(self) -> str:
        writer = ", another one writes" if self.another_writer else ""
        return f"{self.seed}: {self.command}, {self.signal.name} at {self.at:.2f}{writer}"


def random_case(seed: int) -> Case:
    chosen = random.Random(seed)
    way = chosen.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP])
    return Case(seed, chosen.choice([*COMMANDS]), way, chosen.random(), chosen.random() < 1 / 3)


def measured(scene: Scene, command: str) -> Start:
    saved, before = scene.save(), scene.take()
    ended = scene.run(*COMMANDS[command])
    assert ended.code == 0, ended.stdout + ended.stderr
    return Start(saved, before, scene.take(), len([write for write in scene.proxy.writes if not write.again]))


@pytest.fixture(scope="module")
def starts(lanes: Lanes) -> dict[str, Start]:
    """One for each command; they are as good for the other lane, whose server has stored the same."""
    scene = lanes[0].start_over()
    found = {"deploy": measured(scene, "deploy"), "rollback": measured(scene, "rollback")}
    scene = lanes[0].start_over()
    found["clean"] = measured(scene, "clean")
    scene = lanes[0].start_over()
    for deployment in scene.server.deployments(scene.project).values():
        scene.server.patch(f"/deployments/{deployment['id']}", {"description": "By hand.", "version": "by hand"})
    found["reconcile"] = measured(scene, "reconcile")
    return found


def newest(scene: Scene) -> str:
    """State of the newest release."""
    return str(json.loads(scene.run("releases", "--json").stdout)["releases"][0]["state"])


def strike(lane: Lane, case: Case, start: Start) -> str:
    """Run a command that a signal meets; gives what is wrong afterwards."""
    scene = lane.scene
    scene.restore(start.saved)
    scene.free_lock()
    number = 1 + int(case.at * start.writes)
    run = scene.prepare(*COMMANDS[case.command], DEPLOY_LOCK_SECONDS=str(LOCK_SECONDS))
    struck: list[float] = []

    def hit() -> None:
        run.kill(case.signal)
        struck.append(time.monotonic())

    scene.proxy.start_over(once(number, Fate(strike=hit)))
    run.start()
    others = False
    if case.signal is signal.SIGSTOP:
        wait_until(lambda: bool(struck) or run.is_over)
        if struck:
            scene.free_lock()
            others = case.another_writer and another_deploys(scene)
            wait_until(lambda: time.monotonic() > struck[0] + LOCK_SECONDS + 1)
            run.kill(signal.SIGCONT)
    run.wait()
    scene.free_lock()
    if others:  # what they deployed stands, but for the one change that was cut off in the middle of its requests
        ended = scene.run(*DEPLOY)
        changed = [row for row in json.loads(ended.stdout)["outcomes"] if row["state"] != "Unchanged"]
        return "" if ended.code == 0 and len(changed) <= 1 else ended.stdout
    return settled(scene, case, start)


def another_deploys(scene: Scene) -> bool:
    """Deploy what the repository has by a way of its own, to the end; whether there was anything to do."""
    with Proxy(scene.server.api_url) as proxy:
        ended = scene.prepare(*DEPLOY, "--api-url", proxy.api_url).start().wait()
    assert ended.code == 0, ended.stdout + ended.stderr
    return bool(json.loads(ended.stdout)["state"] == "Deployed")


def settled(scene: Scene, case: Case, start: Start) -> str:
    """What is wrong once the next command has been run: all is as before, or as the command was to make it."""
    state = newest(scene)
    if state in ("applying", "incomplete"):
        undone = scene.run("rollback", "--json") if case.command != "clean" else scene.run(*COMMANDS["clean"])
        assert undone.code == 0, undone.stdout + undone.stderr
        expected = start.after if case.command == "clean" else start.before
        return scene.take() - expected
    now = scene.take()
    if case.command == "clean" and state == "failed":
        ended = scene.run(*COMMANDS["clean"])
        assert ended.code == 0, ended.stdout + ended.stderr
        return scene.take() - start.after
    return now - start.before and now - start.after


def test_a_signal_at_any_moment_loses_nothing(lanes: Lanes, starts: dict[str, Start]) -> None:
    cases = [random_case(seed) for seed in range(100)]
    on_each(lanes, cases, lambda lane, case: strike(lane, case, starts[case.command]))
