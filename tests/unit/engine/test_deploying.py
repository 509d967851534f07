"""What a deploy, a rollback, a clean and a repair come to on a server in memory."""

from __future__ import annotations

from collections.abc import Callable

from tests.memory import PASS, Call, Fate, Killed, refused
from tests.unit.engine.world import World, deployment


def test_a_deploy_creates_what_is_desired_and_the_next_one_has_nothing_to_do(world: World) -> None:
    first = world.deploy([deployment("a"), deployment("b", schedules={"daily": {"schedule": {"cron": "0 6 * * *"}}})])
    assert first.how == "succeeded"
    assert {*world.server.resources} == {"deployment/a/a-dev", "deployment/b/b-dev", "work_pool/dev-python"}
    again = world.deploy([deployment("a"), deployment("b", schedules={"daily": {"schedule": {"cron": "0 6 * * *"}}})])
    assert again.how == "nothing"
    assert all(call.is_read for call in again.store.calls)


def test_a_rejected_plan_is_recorded_and_nothing_else_is_written(world: World) -> None:
    world.approve = lambda proposal: proposal._replace(blocked="Rejected")
    assert world.deploy([deployment("a")]).how == "nothing"
    assert world.server.resources == {}
    assert [release.state for release in world.server.releases()] == ["rejected"]


def test_a_rollback_makes_the_release_before_current_again(world: World) -> None:
    world.deploy([deployment("a")])
    before = world.server.snapshot()
    world.pass_time(10)
    world.deploy([deployment("a", description="new"), deployment("b")])
    world.pass_time(10)
    assert world.rollback().how == "succeeded"
    assert world.server.snapshot()["resources"] == before["resources"]


def test_clean_deletes_what_is_ours_and_nothing_else(world: World) -> None:
    world.deploy([deployment("a"), deployment("b")])
    world.server.edit("deployment/b/b-dev", tags=["project:other", "environment:development"])
    world.pass_time(10)
    assert world.clean().how == "succeeded"
    assert {*world.server.resources} == {"deployment/b/b-dev", "work_pool/dev-python"}


def test_a_clean_that_was_killed_is_gone_back_from_to_the_current_release(world: World) -> None:
    world.deploy([deployment("a")])
    world.pass_time(10)
    world.deploy([deployment("a", description="second"), deployment("b")])
    before = world.server.snapshot()["resources"]
    world.pass_time(10)

    def rule(call: Call) -> Fate:
        return Fate(answer=Killed()) if call.name == "delete" else PASS

    assert world.clean(rule).how == "killed"
    world.pass_time(200)
    assert world.rollback().how == "succeeded"
    assert world.server.snapshot()["resources"] == before


def test_what_a_killed_deploy_wrote_is_undone_though_the_next_one_was_to_delete_it(world: World) -> None:
    world.deploy([deployment("a", description="first"), deployment("b")])
    before = world.server.snapshot()["resources"]
    world.pass_time(10)
    killed = world.deploy(
        [deployment("a", description="second"), deployment("b", description="second")],
        lambda call: Fate(answer=Killed()) if call.name == "update" else PASS,
    )
    assert killed.how == "killed"
    world.pass_time(200)
    failed = world.deploy(
        [deployment("b", description="third")],
        lambda call: Fate(False, refused()) if call.name == "update" and "/b" in call.about else PASS,
        prune=True,
    )
    assert failed.how == "RolledBack"
    assert world.server.snapshot()["resources"] == before


def test_reconcile_brings_back_what_was_changed_and_what_was_deleted(world: World) -> None:
    world.deploy([deployment("a", description="ours"), deployment("b")])
    before = world.server.snapshot()
    world.server.edit("deployment/a/a-dev", description="by hand")
    del world.server.resources["deployment/b/b-dev"]
    world.pass_time(10)
    assert world.reconcile().how == "succeeded"
    assert world.server.snapshot()["resources"] == before["resources"]


def test_reconcile_leaves_alone_what_another_project_has_taken_over(world: World) -> None:
    """Two projects would overwrite each other for ever."""
    world.deploy([deployment("a")])
    world.server.edit("deployment/a/a-dev", tags=["project:other", "environment:development"], description="theirs")
    taken = world.server.snapshot()
    world.pass_time(10)
    ended = world.reconcile()
    assert ended.how == "nothing"
    assert world.server.snapshot() == taken


def test_the_lock_of_an_earlier_version_is_waited_for(make_world: Callable[..., World]) -> None:
    world = make_world(lock_wait=5)
    world.server.limits["deploy-shop-development"] = "old"
    world.server.leases["theirs"] = ("old", world.server.clock + 3600)
    ended = world.deploy([deployment("a")])
    assert ended.error
    assert ended.error.errors[0].code == "MF512"
