"""Approval: a plan that somebody has to answer for, in the UI or on the terminal, before anything is written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.desks import Desk
from tests.waiting import wait_until

Worker = subprocess.Popen[bytes]


@pytest.fixture
def careful(desk: Desk) -> Desk:
    """A desk whose development environment wants every plan approved."""
    desk.write("environments/development.yaml", {"require_approval": True})
    return desk


def test_nothing_is_written_before_the_approval_and_the_plan_is_carried_out_after_it(
    careful: Desk, worker: Worker
) -> None:
    run = careful.start("deploy-all-dev")
    assert careful.settled(run) == "Suspended"
    assert careful.live() == {}
    careful.answer(run, decision="approve", name="Ada", reason="looked at it")
    assert careful.settled(run) == "Deployed"
    assert len(careful.live()) == 3
    assert careful.release()["approval"] == "approved by Ada: looked at it"
    assert len(careful.artifacts(run, "plan")) == 1


def test_the_form_sums_up_the_plan_and_links_to_all_of_it(careful: Desk, worker: Worker) -> None:
    pool = {"name": careful.pool, "concurrency_limit": 5}
    careful.write("environments/development.yaml", {"require_approval": True, "work_pools": {"python": pool}})
    run = careful.start("deploy-all-dev", flows=["a"], adopt=True)
    assert careful.settled(run) == "Suspended"
    asked: dict[str, Any] = {
        item["key"].rpartition("-")[2]: item["value"]
        for item in careful.server.post(f"/flow_runs/{run}/input/filter", {"prefix": "suspended", "limit": 10})
    }
    assert "1 to create" in asked["description"]
    assert "a-python-dev" in asked["description"]
    assert f"work pool {careful.pool}" in asked["description"]
    assert "concurrency_limit: null → 5" in asked["description"]
    [plan] = careful.artifacts(run, "plan")  # before it was suspended
    assert f"/artifacts/artifact/{plan['id']})" in asked["description"]
    assert "Planned: development" in plan["data"] and "a-python-dev" in plan["data"]
    wait_until(lambda: any("(1 create, 1 update) needs an answer: open http" in line for line in careful.logs(run)))
    careful.answer(run, decision="reject")
    assert careful.settled(run) == "Rejected"
    assert len(careful.artifacts(run, "plan")) == 1


def test_an_answer_without_a_decision_decides_nothing(careful: Desk, worker: Worker) -> None:
    run = careful.start("deploy-all-dev", flows=["a"])
    assert careful.settled(run) == "Suspended"
    for fields in ({}, {"name": "Ada"}, {"decision": "yes"}, {"approve": True}):
        assert careful.resume(run, **fields)["status"] == "REJECT"
    assert careful.state(run) == "Suspended"
    careful.answer(run, decision="approve")
    assert careful.settled(run) == "Deployed"


def test_a_rejection_is_recorded_with_its_reason_and_leaves_everything_as_it_is(careful: Desk, worker: Worker) -> None:
    careful.deploy("--yes")
    careful.write("flows/a/deployment.yaml", {"parameters": {"count": 9}})
    run = careful.start("deploy-all-dev")
    careful.settled(run)
    careful.answer(run, decision="reject", name="Bob", reason="not on a Friday")
    assert careful.settled(run) == "Rejected"
    assert careful.live()["a-python-dev"]["parameters"] == {"count": 2}
    record = careful.release()
    assert (record["state"], record["approval"]) == ("rejected", "rejected by Bob: not on a Friday")
    assert json.loads(careful.meta_flows("reconcile", "--json").stdout)["state"] == "InSync"


@pytest.mark.parametrize("ending", ["Rejected", "Failed"])
def test_a_run_that_is_retried_asks_again(careful: Desk, worker: Worker, ending: str) -> None:
    if ending == "Failed":
        careful.write("environments/development.yaml", {"require_approval": True, "approval_timeout": 2})
    run = careful.start("deploy-all-dev")
    assert careful.settled(run) == "Suspended"
    if ending == "Rejected":
        careful.answer(run, decision="reject")
    wait_until(lambda: careful.state(run) == ending, timeout=120)
    careful.write("environments/development.yaml", {"require_approval": True})
    retry = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    careful.server.post(f"/flow_runs/{run}/set_state", {"state": retry})  # as the button of the UI does
    assert careful.settled(run) == "Suspended"
    assert careful.live() == {}
    careful.answer(run, decision="approve")
    assert careful.settled(run) == "Deployed"
    wait_until(lambda: sum("needs an answer" in line for line in careful.logs(run)) == 2)


def test_a_plan_that_nobody_answers_in_time_is_not_carried_out(careful: Desk, worker: Worker) -> None:
    careful.write("environments/development.yaml", {"require_approval": True, "approval_timeout": 2})
    run = careful.start("deploy-all-dev")
    assert careful.settled(run) == "Suspended"
    wait_until(lambda: careful.state(run) == "Failed", timeout=60)
    assert careful.live() == {}


def test_a_plan_that_changed_while_it_waited_is_asked_about_again(careful: Desk, worker: Worker) -> None:
    run = careful.start("deploy-all-dev")
    careful.settled(run)
    careful.add_flow("d")
    careful.answer(run, decision="approve", name="Ada")
    wait_until(lambda: sum("needs an answer" in line for line in careful.logs(run)) == 2, timeout=120)
    assert careful.settled(run) == "Suspended"
    assert careful.live() == {}
    careful.answer(run, decision="approve", name="Ada", reason="d as well")
    assert careful.settled(run) == "Deployed"
    assert len(careful.live()) == 4


def test_a_waiting_run_frees_its_worker_and_harms_no_other_deploy(careful: Desk, worker: Worker) -> None:
    first = careful.start("deploy-all-dev", flows=["a"])
    assert careful.settled(first) == "Suspended"
    wait_until(lambda: not careful.is_executed(first))
    second = careful.start("deploy-all-dev", flows=["b"])  # of the same deployment, which runs one at a time
    assert careful.settled(second) == "Suspended"
    careful.answer(second, decision="approve")
    assert careful.settled(second) == "Deployed"
    careful.answer(first, decision="approve")
    assert careful.settled(first) in ("Deployed", "Suspended")
    assert set(careful.live()) <= {"a-python-dev", "b-python-dev"}


def test_a_rollback_is_asked_about_too(careful: Desk, worker: Worker) -> None:
    careful.deploy("--yes")
    careful.write("flows/a/deployment.yaml", {"parameters": {"count": 9}})
    careful.deploy("--yes")
    run = careful.start("rollback-dev")
    assert careful.settled(run) == "Suspended"
    careful.answer(run, decision="approve")
    assert careful.settled(run) == "Restored"
    assert careful.live()["a-python-dev"]["parameters"] == {"count": 2}


def test_production_is_emptied_from_the_ui_only_when_its_name_is_typed(desk: Desk, worker: Worker) -> None:
    desk.deploy("-e", "production")
    desk.register("-e", "production")
    for typed, ending, left in (("staging", "Failed", 3), ("production", "Cleaned", 0)):
        run = desk.start("clean-deployments-prod", "production")
        assert desk.settled(run) == "Suspended"
        desk.answer(run, environment=typed)
        assert desk.settled(run) == ending
        assert len(desk.live()) == left


@pytest.mark.parametrize("command", ["deploy", "clean", "rollback"])
def test_without_a_terminal_a_yes_is_needed(careful: Desk, command: str) -> None:
    careful.deploy("--yes")
    careful.write("flows/a/deployment.yaml", {"parameters": {"count": 9}})
    if command == "rollback":
        careful.deploy("--yes")
    before = careful.live()
    done = careful.meta_flows(command)
    assert done.returncode == 1
    assert "MF508" in done.stderr
    assert careful.live() == before
    assert careful.meta_flows(command, "--yes").returncode == 0
    assert careful.live() != before


def test_a_deploy_of_what_is_in_sync_asks_nobody(careful: Desk) -> None:
    careful.deploy("--yes")
    assert careful.deploy()["state"] == "InSync"


def _read_all(terminal: int) -> None:
    with suppress(OSError):  # the other end is closed
        while os.read(terminal, 4096):
            pass


@pytest.mark.parametrize(("answer", "left", "code"), [("y", 3, 0), ("n", 0, 1)])
def test_on_a_terminal_the_plan_is_shown_and_the_answer_counts(
    careful: Desk, answer: str, left: int, code: int
) -> None:
    process, terminal = _at_a_terminal(careful)
    shown = _read_until(terminal, "Carry out this plan?")
    assert "a-python-dev" in shown
    assert careful.live() == {}
    assert _answered(process, terminal, answer) == code
    assert len(careful.live()) == left
    assert careful.release()["state"] == {"y": "succeeded", "n": "rejected"}[answer]


def test_on_a_terminal_what_is_not_refused_can_be_approved(careful: Desk) -> None:
    careful.write("flows/a/deployment.yaml", {"parameters": {"unknown": 1}})
    process, terminal = _at_a_terminal(careful)
    assert "MF" in _read_until(terminal, "Carry out this plan?")
    assert _answered(process, terminal, "y") == 1
    assert set(careful.live()) == {"b-python-dev", "c-python-dev"}


def test_on_a_terminal_a_release_that_was_left_open_is_closed_without_a_question(careful: Desk) -> None:
    """Killed after its last write: nothing differs, but the next reconcile would undo it."""
    careful.deploy("--yes")
    careful.leave_unfinished()
    process, terminal = _at_a_terminal(careful)
    assert _answered(process, terminal, "n") == 0
    assert careful.release()["state"] == "succeeded"
    assert json.loads(careful.meta_flows("reconcile", "--json").stdout)["state"] == "InSync"
    assert len(careful.live()) == 3


def _at_a_terminal(desk: Desk) -> tuple[Worker, int]:
    """A deploy by hand, and where one types and reads."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "meta_flows", "deploy"],
        cwd=desk.root,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    return process, ours


def _read_until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def _answered(process: Worker, terminal: int, answer: str) -> int:
    """The exit code after an answer."""
    os.write(terminal, f"{answer}\n".encode())
    reader = threading.Thread(target=_read_all, args=(terminal,), daemon=True)  # or it could not write any more
    reader.start()
    return process.wait(120)


def test_reconcile_cannot_deploy_a_branch_past_the_approval(careful: Desk) -> None:
    source = {"type": "git", "repository": "https://git.example.com/flows.git", "branch": "main"}
    careful.write("environments/development.yaml", {"require_approval": True, "source": source})
    done = careful.meta_flows("reconcile", "--policy", "deploy")
    assert done.returncode == 1
    assert "MF521" in done.stderr
