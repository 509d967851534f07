"""A writer that lost the lock: it never writes again, and undoes nothing that another run has done since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.memory import PASS, Call, Fate, Rule, refused
from tests.unit.engine.test_every_call import AFTER, BEFORE, beginning, deploy
from tests.unit.engine.world import Ended, World, deployment

ASLEEP = 100
"""Longer than the lease."""

THEIRS = [deployment("changed", description="theirs", parameters={"count": 7}), deployment("theirs")]


def sleeping_at(world: World, number: int, others: list[Ended]) -> Rule:
    """The process sleeps before one of its calls until its lease has run out, and another run deploys meanwhile."""

    def rule(call: Call) -> Fate:
        if call.number == number:
            world.pass_time(ASLEEP)
            others.append(world.deploy(THEIRS, adopt=True))
        return PASS

    return rule


def lock_taken(ended: Ended) -> int:
    return next(call.number for call in ended.store.calls if call.name == "acquire") + 1


def closed_at(ended: Ended) -> int:
    """The call that records the release as succeeded: it is, and what others do from then on comes after it."""
    return next(call.number for call in ended.store.calls if call.about == "succeeded")


def test_whenever_a_deploy_falls_asleep_what_another_one_then_deploys_stays(tmp_path: Path) -> None:
    start = beginning(tmp_path, "deploy")
    perfect = deploy(start.copy())
    for number in range(lock_taken(perfect), closed_at(perfect)):
        world, others = start.copy(), list[Ended]()
        ended = deploy(world, sleeping_at(world, number, others))
        call = perfect.store.calls[number]
        assert [other.how for other in others] == ["succeeded"], call
        written = [by for by, what in world.server.written if what.startswith(("create", "update ", "delete "))]
        theirs = others[0].store.run_id
        ours_after = written[written.index(theirs) :].count(ended.store.run_id)
        assert ours_after <= 1, call  # the write at hand can't be called back
        assert ended.how in ("refused", "RollbackIncomplete", "applying"), call
        errors = ended.error.errors if ended.error else ended.result.errors if ended.result else ()
        assert "MF519" in [error.code for error in errors], call
        assert "MF502" not in [error.code for error in errors], call  # what others wrote is no fault of this deploy
        world.pass_time(200)
        assert world.deploy(THEIRS, adopt=True).how in ("nothing", "succeeded"), call
        assert world.server.resources["deployment/changed/changed-dev"].spec["parameters"] == {"count": 7}, call
        assert world.newest
        assert world.newest.state == "succeeded", call


def test_a_deploy_that_falls_asleep_in_the_middle_of_a_change_does_not_finish_it(world: World) -> None:
    """A change may take several requests: of the fields, and of each schedule."""
    world.deploy(BEFORE)
    world.pass_time(100)
    theirs = deployment("changed", description="theirs", schedules={"theirs": {"schedule": {"cron": "0 1 * * *"}}})

    def sleep() -> None:
        world.pass_time(ASLEEP)
        assert world.deploy([theirs]).how == "succeeded"

    def rule(call: Call) -> Fate:
        return Fate(between=sleep) if call.name == "update" and "changed" in call.about else PASS

    ended = world.deploy(AFTER, rule, adopt=True)
    assert ended.how == "RollbackIncomplete"
    now = world.server.resources["deployment/changed/changed-dev"].spec
    assert (now["description"], [*now["schedules"]]) == ("theirs", ["theirs"])


@pytest.mark.parametrize("seconds", [20, 60, 89])
def test_a_deploy_that_sleeps_for_less_than_its_lease_goes_on(tmp_path: Path, seconds: float) -> None:
    start = beginning(tmp_path, "deploy")
    perfect = deploy(start.copy())
    for number in range(lock_taken(perfect), len(perfect.store.calls)):
        world = start.copy()

        def rule(call: Call, world: World = world, number: int = number) -> Fate:
            if call.number == number:
                world.pass_time(seconds)
            return PASS

        assert deploy(world, rule).how == "succeeded", perfect.store.calls[number]


def test_a_lease_that_the_server_still_renews_is_held_however_old_it_is(world: World) -> None:
    """A server that stands still does not end leases either."""

    def rule(call: Call) -> Fate:
        if call.name == "create":
            world.pass_time(ASLEEP)
            world.server.leases = {at: (of, until + ASLEEP) for at, (of, until) in world.server.leases.items()}
        return PASS

    assert world.deploy([deployment("a"), deployment("b")], rule).how == "succeeded"


def test_a_lock_that_was_freed_by_hand_is_noticed_within_the_heartbeat(world: World) -> None:
    world.deploy(BEFORE)
    world.pass_time(100)

    def rule(call: Call) -> Fate:
        if call.name == "create":
            world.server.limits.clear()
            world.pass_time(16)
        return PASS

    ended = world.deploy(AFTER, rule, adopt=True)
    assert ended.how == "RollbackIncomplete"
    assert [call.name for call in ended.store.calls].count("create") == 1
    assert "delete" not in [call.name for call in ended.store.calls]


def test_a_lease_that_could_not_be_renewed_in_its_time_is_lost_though_writes_still_arrive(world: World) -> None:
    def rule(call: Call) -> Fate:
        if call.name == "create":
            world.pass_time(50)
        return (
            Fate(reaches=False, answer=refused()) if call.name in ("find_limit", "renew") and call.number > 6 else PASS
        )

    ended = world.deploy([deployment("a"), deployment("b")], rule)
    assert ended.how == "RollbackIncomplete"
    assert ended.result
    assert [error.code for error in ended.result.errors] == ["MF519"]


def test_a_release_that_another_run_has_closed_meanwhile_is_not_undone(world: World) -> None:
    """The lock was freed by hand a moment ago, so that nothing has told of it yet."""
    world.deploy(BEFORE)
    world.pass_time(100)

    def rule(call: Call) -> Fate:
        if call.name == "create" and "new" in call.about:
            world.server.limits.clear()
            assert world.deploy(THEIRS, adopt=True).how == "succeeded"
            return Fate(reaches=False, answer=refused())
        return PASS

    ended = world.deploy(AFTER, rule, adopt=True)
    assert ended.how == "RollbackIncomplete"
    assert world.server.resources["deployment/changed/changed-dev"].spec["parameters"] == {"count": 7}


def test_a_renewal_that_is_refused_does_not_stop_a_deploy_whose_lease_is_young(world: World) -> None:
    def rule(call: Call) -> Fate:
        if call.name == "create":
            world.pass_time(20)
        return Fate(reaches=False, answer=refused()) if call.name == "renew" else PASS

    assert world.deploy([deployment("a")], rule).how == "succeeded"


@pytest.mark.parametrize(
    ("edit", "kept"),
    [
        (lambda world: world.server.edit("deployment/changed/changed-dev", paused=True), "paused"),
        (lambda world: world.server.edit("deployment/changed/changed-dev", description="urgent"), "description"),
    ],
)
def test_what_an_operator_changes_during_a_deploy_that_fails_stays_and_is_reported(
    world: World, edit: Callable[[World], None], kept: str
) -> None:
    """An emergency pause is the best reason not to undo something."""
    world.deploy(BEFORE)
    world.pass_time(100)

    def rule(call: Call) -> Fate:
        if call.name == "update" and "changed" in call.about:
            return PASS
        if call.name == "create" and "new" in call.about:
            edit(world)
            return Fate(reaches=False, answer=refused())
        return PASS

    before = world.server.snapshot()["resources"]["deployment/changed/changed-dev"]
    ended = world.deploy(AFTER, rule, adopt=True)
    assert ended.how == "RolledBack"
    after = world.server.snapshot()["resources"]["deployment/changed/changed-dev"]
    assert {key for key in after if after[key] != before[key]} == {kept}
    assert ended.result
    assert [note for note in ended.result.notes if kept in note]


def test_what_another_project_takes_over_during_a_deploy_that_fails_is_not_undone(world: World) -> None:
    world.deploy(BEFORE)
    world.pass_time(100)

    def rule(call: Call) -> Fate:
        if call.name == "create" and "new" in call.about:
            world.server.edit("deployment/changed/changed-dev", tags=["project:other"])
            return Fate(reaches=False, answer=refused())
        return PASS

    ended = world.deploy(AFTER, rule, adopt=True)
    assert ended.how == "RolledBack"
    assert world.server.resources["deployment/changed/changed-dev"].spec["parameters"] == {"count": 2}
    assert ended.result
    assert [note for note in ended.result.notes if "its owner" in note]


def test_a_database_too_busy_for_signs_of_life_costs_no_lock(tmp_path: Path) -> None:
    world = beginning(tmp_path, "deploy")
    perfect = deploy(world.copy())
    tagged = next(call.number for call in perfect.store.calls if call.name == "tag_run")

    def rule(call: Call) -> Fate:
        world.pass_time(6)
        return Fate(reaches=False, answer=refused()) if call.name == "tag_run" and call.number > tagged else PASS

    assert deploy(world, rule).how == "succeeded"
    assert len([call for call in perfect.store.calls if call.name != "tag_run"]) * 6 > ASLEEP
