"""Several deploys at once."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meta_flows.engine import Timing
from tests.system.faults.conftest import DEPLOY, Lane, Lanes
from tests.system.faults.proxy import LOST_ANSWER, PASS, Fate, Proxy, Request
from tests.system.faults.warm import Run
from tests.waiting import wait_until


@contextmanager
def another_proxy(lane: Lane) -> Iterator[Proxy]:
    """A way of its own to a lane's server, to tell two writers apart."""
    with Proxy(lane.scene.server.api_url) as proxy:
        yield proxy


def deploy_through(lane: Lane, proxy: Proxy, *words: str) -> Run:
    """A deploy that goes through a proxy, to be started."""
    return lane.scene.prepare("deploy", "--json", "--adopt", "--api-url", proxy.api_url, *words)


def changes(proxy: Proxy) -> list[Request]:
    """The writes that went through a proxy, without those for the lock."""
    return [write for write in proxy.writes if not write.is_for_the_lock]


class Gate:
    """Holds up the first write of a deployment until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def rule(self, request: Request) -> Fate:
        if request.path.startswith("/api/deployments/") and request.number and not self.reached.is_set():
            self.reached.set()
            return Fate(reaches=True, strike=lambda: assert_true(self.opened.wait(120)))
        return PASS


def assert_true(found: bool) -> None:
    assert found


def finished(run: Run) -> dict[str, Any]:
    """The result of a run that must succeed."""
    ended = run.wait()
    assert ended.code == 0, ended.stdout + ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def looks_at_the_lock(proxy: Proxy) -> Callable[[], bool]:
    """Whether a deploy has found the lock taken and come back to look again."""
    return lambda: sum("/v2/concurrency_limits/" in request.path for request in proxy.requests) >= 4


def test_a_second_deploy_of_an_environment_waits_until_the_first_has_ended(lanes: Lanes) -> None:
    """The second one then plans anew, and so writes the release that is its own."""
    lane, gate = lanes[0], Gate()
    lane.start_over()
    with another_proxy(lane) as one, another_proxy(lane) as two:
        one.start_over(gate.rule)
        first = deploy_through(lane, one).start()
        assert gate.reached.wait(60)
        second = deploy_through(lane, two, "--flow", "fields", "--parameter", "count=77").start()
        wait_until(looks_at_the_lock(two))
        assert changes(two) == []
        gate.opened.set()
        assert finished(first)["state"] == "Deployed"
        assert finished(second)["state"] == "Deployed"
        assert changes(one)[-1].at < changes(two)[0].at
    live = lane.scene.server.deployments(lane.scene.project)["fields-python-dev"]
    assert live["parameters"]["count"] == 77


def test_deploys_that_are_started_together_write_one_after_the_other(lanes: Lanes) -> None:
    lane = lanes[1]
    lane.start_over()
    with another_proxy(lane) as one, another_proxy(lane) as two:
        runs = [
            deploy_through(lane, proxy, "--flow", "fields", "--parameter", f"count={count}").start()
            for count, proxy in enumerate((one, two), start=70)
        ]
        for run in runs:
            finished(run)
        first, second = sorted((changes(one), changes(two)), key=lambda writes: writes[0].at)
        assert len(first) > 2
        assert len(second) > 2
        assert first[-1].at < second[0].at


def test_two_environments_do_not_wait_for_each_other(lanes: Lanes) -> None:
    lane, gate = lanes[0], Gate()
    lane.start_over()
    lane.scene.write("environments/staging.yaml", {})
    with another_proxy(lane) as one, another_proxy(lane) as two:
        one.start_over(gate.rule)
        held = deploy_through(lane, one).start()
        assert gate.reached.wait(60)
        assert (
            finished(deploy_through(lane, two, "--environment", "staging", "--flow", "same").start())["state"]
            == "Deployed"
        )
        gate.opened.set()
        assert finished(held)["state"] == "Deployed"


def test_a_deploy_whose_lock_somebody_freed_writes_nothing_more(lanes: Lanes) -> None:
    """It ends with the change at hand, leaves the rest as it is, and the next deploy goes on from there."""
    lane, gate = lanes[0], Gate()
    scene = lane.start_over()
    with another_proxy(lane) as proxy:
        proxy.start_over(gate.rule)
        run = deploy_through(lane, proxy, "--prune", "--prune-limit", "1").start()
        assert gate.reached.wait(60)
        last_look = time.monotonic()
        scene.free_lock()
        wait_until(lambda: time.monotonic() > last_look + Timing().beat + 1)
        at_hand = changes(proxy)[-1].path
        gate.opened.set()
        ended = run.wait()
        assert ended.code == 1, ended.stdout + ended.stderr
        assert [error["code"] for error in json.loads(ended.stdout)["refused"]] == ["MF519"]
        later = [write for write in changes(proxy) if write.at > last_look]
    assert all(write.path.startswith(at_hand) for write in later), later
    assert scene.run(*DEPLOY).code == 0
    assert not scene.take() - lane.after


def test_a_lock_whose_answer_was_lost_does_not_keep_us_out(lanes: Lanes) -> None:
    """The slot is taken then, by nobody who has a name; ours is the only run that wants it."""
    scene = lanes[1].start_over()
    lost: list[Request] = []

    def rule(request: Request) -> Fate:
        if request.path.endswith("/increment-with-lease") and not lost:
            lost.append(request)
            return LOST_ANSWER
        return PASS

    ended = scene.run(*DEPLOY, rule=rule, PREFECT_CLIENT_MAX_RETRIES="5")
    assert lost
    assert ended.code == 0, ended.stdout + ended.stderr
    assert not scene.take() - lanes[1].after


def test_a_deploy_that_is_stopped_with_ctrl_c_says_where_to_look_and_the_next_one_finishes_its_work(
    lanes: Lanes,
) -> None:
    lane, gate = lanes[1], Gate()
    scene = lane.start_over()
    with another_proxy(lane) as proxy:
        proxy.start_over(gate.rule)
        run = deploy_through(lane, proxy).start()
        assert gate.reached.wait(60)
        run.kill(signal.SIGINT)
        gate.opened.set()
        ended = run.wait()
    assert ended.code == 130, ended.stdout + ended.stderr
    assert "meta-flows releases" in ended.stderr
    assert json.loads(scene.run("releases", "--json").stdout)["releases"][0]["state"] != "succeeded"
    assert scene.run(*DEPLOY).code == 0
