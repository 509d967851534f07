"""When what was done cannot be taken back either, and when faults pass by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.faults.conftest import DEPLOY, Lane, Lanes, on_each
from tests.system.faults.proxy import PASS, UNHEARD, Fate, Proxy, Request, refused, transient
from tests.system.faults.scene import POOL_AFTER, POOL_BEFORE, Scene
from tests.system.faults.test_every_write import last_run


def test_what_cannot_be_restored_is_named_and_a_rollback_mends_it_later(lanes: Lanes) -> None:
    lane = lanes[0]
    scene = lane.start_over()
    live = {item["name"].removesuffix("-python-dev"): item for item in scene.server.deployments(scene.project).values()}
    stuck, broken = (f"/api/deployments/{live[name]['id']}" for name in ("fields", "moved"))
    seen: list[Request] = []

    def rule(request: Request) -> Fate:
        if request.path == stuck and request.method == "PATCH":
            seen.append(request)
            return PASS if request.repeats(seen[0]) else refused(422)
        return refused(422) if request.path == broken and request.method == "PATCH" else PASS

    ended = scene.run(*DEPLOY, rule=rule)
    assert ended.code == 1
    result = json.loads(ended.stdout)
    state = last_run(scene)["state"]
    assert (result["state"], state["name"], state["type"]) == ("RollbackIncomplete", "RollbackIncomplete", "FAILED")
    codes = [(error["code"], error["message"]) for error in result["refused"]]
    left = [message for code, message in codes if code == "MF511"]
    assert len(left) == 1
    assert f"'{scene.flow_name('fields')}/fields-python-dev'" in left[0]
    assert any(code == "MF503" and f"{scene.flow_name('moved')}/moved-python-dev" in text for code, text in codes)
    assert all(error["remedy"] for error in result["refused"])
    outcomes = {outcome["name"].removesuffix("-python-dev"): outcome["state"] for outcome in result["outcomes"]}
    assert outcomes["fields"] == "NotRestored"
    assert outcomes["adopted"] == "RolledBack"

    now = scene.take()
    assert now - lane.before
    fields = f"deployment {scene.flow_name('fields')}/fields-python-dev"
    assert {**now.content, fields: lane.before.content[fields]} == lane.before.content

    ended = scene.run("rollback", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert not scene.take() - lane.before


def test_a_fifth_of_all_requests_failing_now_and_then_does_not_fail_a_deploy(lanes: Lanes) -> None:
    """Requests are tried again as often as by default; a short time-out saves waiting for those that hang."""

    def check(lane: Lane, seed: int) -> str:
        scene = lane.start_over()
        patient = {"PREFECT_CLIENT_MAX_RETRIES": "5", "PREFECT_API_REQUEST_TIMEOUT": "2"}
        ended = scene.run(*DEPLOY, rule=transient(seed, 0.2), **patient)
        assert ended.code == 0, ended.stdout + ended.stderr
        assert json.loads(ended.stdout)["state"] == "Deployed"
        return scene.take() - lane.after

    on_each(lanes, (1, 2), check)


def test_a_work_pool_that_a_killed_deploy_made_is_undone_with_it_or_taken_over(lanes: Lanes, tmp_path: Path) -> None:
    server = lanes[0].scene.server
    with Proxy(server.api_url) as proxy:
        scene = Scene(tmp_path, server, proxy)
        scene.write_pool(**POOL_BEFORE)
        scene.write_flows({"new": {}})
        before = scene.take()

        def cut_short() -> None:
            run = scene.prepare(*DEPLOY)
            kill = UNHEARD._replace(strike=run.kill)
            proxy.start_over(lambda request: kill if str(request) == "POST /api/deployments/" else PASS)
            assert run.start().wait().code == -9
            scene.free_lock()
            assert f"work pool {scene.project}" in scene.take().content

        cut_short()
        ended = scene.run("rollback", "--json")
        assert ended.code == 0, ended.stdout + ended.stderr
        assert not scene.take() - before

        cut_short()
        scene.write_pool(**POOL_AFTER)
        assert [pool["state"] for pool in scene.deploy()["outcomes"] if pool["type"] == "work_pool"] == ["Updated"]
        assert scene.take().content[f"work pool {scene.project}"]["description"] == "Told after."
