"""Whichever write of a deploy goes wrong, and however: all of it is done or nothing, and it can be gone on with."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any, NamedTuple

from tests.system.faults.conftest import DEPLOY, Lane, Lanes, on_each
from tests.system.faults.proxy import LOST_ANSWER, UNHEARD, Fate, for_ever, once, refused
from tests.system.faults.scene import Scene
from tests.system.faults.warm import Ended


class Case(NamedTuple):
    """A write and what happens to it."""

    number: int
    what: str
    fate: Fate = UNHEARD

    def __str__(self) -> str:
        return f"write {self.number} ({self.what})"


def cases(lanes: Lanes) -> list[Case]:
    """One for each write of the deploy."""
    return [Case(number, str(write)) for number, write in enumerate(lanes[0].writes, start=1)]


def opening(lane: Lane) -> int:
    """Number of the write that records what is about to be done."""
    return next(number for number, write in enumerate(lane.writes, start=1) if write.is_for_the_record)


def closing(lane: Lane) -> int:
    """Number of the write that records that all was done."""
    return max(number for number, write in enumerate(lane.writes, start=1) if write.is_for_the_record)


def last_run(scene: Scene) -> dict[str, Any]:
    """The newest run of a meta-flow, as the API has it."""
    (run,) = scene.server.post("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
    return dict(run)


def test_the_plan_has_ten_changes_and_an_undisturbed_deploy_makes_them_all(lanes: Lanes) -> None:
    lane = lanes[0]
    touched = {write.path.split("/")[3] for write in lane.writes if write.path.startswith("/api/deployments/")}
    assert len(touched) >= 9
    assert lane.after - lane.before
    added = set(lane.after.content) - set(lane.before.content)
    gone = set(lane.before.content) - set(lane.after.content)
    flow = lane.scene.flow_name
    assert {
        f"flow {flow('new')}",
        f"queue {lane.scene.project}/fast",
        f"deployment {flow('old-name')}/new-name-python-dev",
    } <= added
    assert {f"deployment {flow('old-name')}/old-name-python-dev", f"deployment {flow('gone')}/gone-python-dev"} <= gone
    assert f"deployment {flow('theirs')}/theirs" in lane.after.content
    pool = f"work pool {lane.scene.project}"
    assert (lane.before.content[pool]["description"], lane.after.content[pool]["description"]) == (
        "Told before.",
        "Told after.",
    )
    assert "by_hand" in lane.after.content[pool]["base_job_template"]["variables"]["properties"]


def test_killed_at_any_write_the_next_deploy_converges_and_a_rollback_brings_everything_back(lanes: Lanes) -> None:
    """A kill before a write is a kill after the one before it."""

    def check(lane: Lane, case: Case) -> str:
        scene = lane.start_over()
        run = scene.prepare(*DEPLOY)
        scene.proxy.start_over(once(case.number, case.fate._replace(strike=run.kill)))
        ended = run.start().wait()
        assert ended.code == -9, f"not killed but {ended.code}\n{ended.stderr}"
        scene.free_lock()
        killed = scene.save()
        if case.number <= opening(lane):
            return scene.take() - lane.before

        if case.number <= closing(lane) and case.fate is UNHEARD:
            ended = scene.run("rollback", "--json")
            assert ended.code == 0, f"rollback: {ended.stdout}\n{ended.stderr}"
            if wrong := scene.take() - lane.before:
                return f"rolled back\n{wrong}"
            scene.restore(killed)
        ended = scene.run(*DEPLOY)
        assert ended.code == 0, f"deploy: {ended.stdout}\n{ended.stderr}"
        if wrong := scene.take() - lane.after:
            return f"deployed again\n{wrong}"
        return ""

    last = cases(lanes)[-1]._replace(fate=LOST_ANSWER)
    on_each(lanes, [*cases(lanes), last], check)


def test_a_write_that_fails_for_ever_leaves_the_server_as_it_was(lanes: Lanes) -> None:
    """Each write in one of three ways; tests/unit/engine has every call in every way."""
    fates = cycle((refused(503), refused(422), LOST_ANSWER))
    failing = [case._replace(fate=next(fates)) for case in cases(lanes)]

    def check(lane: Lane, case: Case) -> str:
        scene = lane.start_over()
        write = lane.writes[case.number - 1]
        ended = scene.run(*DEPLOY, rule=for_ever(case.number, case.fate))
        if write.is_for_the_lock and case.number > opening(lane):  # what is deployed is deployed
            assert ended.code == 0, ended.stdout + ended.stderr
            return scene.take() - lane.after
        if ended.code == 0 and case.fate is LOST_ANSWER:  # the server was asked, and said that it had been done
            return scene.take() - lane.after
        return scene.take() - lane.before or _says_so(scene, lane, case, ended)

    on_each(lanes, failing, check)


def _says_so(scene: Scene, lane: Lane, case: Case, ended: Ended) -> str:
    """What is missing from how a failed deploy ended."""
    assert ended.code == 1, f"exit code {ended.code}\n{ended.stdout}{ended.stderr}"
    state = last_run(scene)["state"]
    assert state["type"] == "FAILED", state
    said = json.loads(ended.stdout)
    if case.number <= opening(lane):
        (error,) = said["errors"]
        assert error["message"] and error["remedy"]
        return ""
    assert (said["state"], state["name"]) == ("RolledBack", "RolledBack"), f"{said['state']}, run {state['name']}"
    assert said["refused"], "no cause"
    assert {outcome["state"] for outcome in said["outcomes"]} <= {"Unchanged", "RolledBack", "Failed", "NotTried"}
    return ""
