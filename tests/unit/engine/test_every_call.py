"""Every call of every command fails in every way: nothing is lost, and the next command puts it right.

A call is refused, is never answered again from there on, loses its answer, is cut off half-way, or is the last thing
that its process does. What then holds is the same for all commands; `check` says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meta_flows.models import Change, Resource
from tests.memory import PASS, Call, Fate, Killed, MemoryServer, MemoryStore, Rule, refused, unreachable
from tests.unit.engine.world import Ended, World, deployment, new_world

FOREIGN = ["project:other", "environment:development"]
DAILY = {"daily": {"schedule": {"cron": "0 6 * * *"}}}

BEFORE = [
    deployment("changed", description="old", parameters={"count": 1}, schedules=DAILY),
    deployment("same", schedules=DAILY),
    deployment("gone"),
    deployment("limited", schedules={"daily": {**DAILY["daily"], "max_scheduled_runs": 2, "active": False}}),
]
AFTER = [
    deployment("changed", parameters={"count": 2}, schedules={"hourly": {"schedule": {"interval": 3600}}}),
    deployment("same", schedules=DAILY),
    deployment("limited", schedules={"daily": {**DAILY["daily"], "active": False}}),
    deployment("new", work_queue_name="fast", job_variables={"env": {"A": "1"}}),
    deployment("adopted", description="ours"),
]


class Command(NamedTuple):
    """A command, in the state of a server in which it does much.

    Attributes:
        run: Runs it; what is passed makes calls fail.
        whole: Whether a failure undoes all of it.
    """

    run: Callable[[World, Rule], Ended]
    whole: bool = True


def deploy(world: World, rule: Rule = lambda _: PASS) -> Ended:
    return world.deploy(AFTER, rule, prune=True, adopt=True)


def meta_flow(name: str, **stated: Any) -> Resource:
    return deployment(name, tags=["environment:development", "project:shop-meta-flows"], **stated)


REGISTERED = (meta_flow("deploy-all"), meta_flow("of-an-earlier-version"), meta_flow("reconcile", schedules=DAILY))
TO_REGISTER = (meta_flow("deploy-all", version="2"), meta_flow("reconcile", schedules=DAILY), meta_flow("validate"))

COMMANDS = {
    "deploy": Command(deploy),
    "rollback": Command(lambda world, rule: world.rollback(rule)),
    "reconcile": Command(lambda world, rule: world.reconcile(rule)),
    "clean": Command(lambda world, rule: world.clean(rule), whole=False),
    "register": Command(lambda world, rule: world.register(TO_REGISTER, rule)),
    "deploy that continues": Command(deploy, whole=False),
}


def beginning(root: Path, name: str) -> World:
    """The state in which a command begins: something is released, an operator was there, others have something."""
    world = new_world(root, **({"on_failure": "continue"} if "continues" in name else {}))
    assert world.deploy(BEFORE).how == "succeeded"
    world.pass_time(100)
    for other in ("foreign", "adopted"):
        item = deployment(other, tags=FOREIGN if other == "foreign" else ["by-hand"], description="theirs")
        put(world.server, item)
    world.server.edit("deployment/same/same-dev", paused=True)
    if name == "register":
        assert world.register(REGISTERED).how == "succeeded"
    if name == "rollback":
        assert deploy(world).how == "succeeded"
    if name == "reconcile":
        world.server.edit("deployment/changed/changed-dev", description="by hand", parameters={"count": 9})
        del world.server.resources["deployment/gone/gone-dev"]
    world.pass_time(100)
    return world


def put(server: MemoryServer, item: Resource) -> None:
    """Put a deployment on the server as somebody else does."""
    MemoryStore(server, "others").create(
        Change(action="create", flow_name=item.flow_name, name=item.name, target=item.spec)
    )


FAULTS: dict[str, Callable[[], Fate]] = {
    "refused": lambda: Fate(reaches=False, answer=refused()),
    "answer lost": lambda: Fate(answer=unreachable()),
    "cut off": lambda: Fate(answer=unreachable(), halfway=True),
    "killed before": lambda: Fate(reaches=False, answer=Killed()),
    "killed after": lambda: Fate(answer=Killed()),
    "killed half-way": lambda: Fate(answer=Killed(), halfway=True),
}
FOR_EVER = {
    "never answered again": lambda: Fate(reaches=False, answer=unreachable()),
    "refused for ever": lambda: Fate(reaches=False, answer=refused()),
}


def at(number: int, fault: str) -> Rule:
    """A rule by which one call has a fault, and all later ones, too, where that is for ever."""

    def rule(call: Call) -> Fate:
        if fault in FOR_EVER:
            return FOR_EVER[fault]() if call.number >= number else PASS
        return FAULTS[fault]() if call.number == number else PASS

    return rule


def check(world: World, ended: Ended, before: dict[str, Any], after: dict[str, Any], *, whole: bool) -> None:
    """What holds after a command, whatever became of it."""
    now = world.server.snapshot()
    assert now["resources"]["deployment/foreign/foreign-dev"] == before["resources"]["deployment/foreign/foreign-dev"]
    if ended.how in ("refused", "nothing", "rolled-back"):
        assert now == before
    elif ended.how == "succeeded":
        assert now == after
    elif ended.how == "RolledBack":
        assert now["resources"] == before["resources"]
    elif ended.how == "RollbackIncomplete":
        assert whole
        assert ended.result
        assert ended.result.errors
        assert world.newest
        assert world.newest.unfinished
    elif ended.how == "failed":
        assert not whole
        assert world.newest
        assert world.newest.failures
    elif ended.how == "applying":  # not whole, and its record could not be closed: the report says so
        assert not whole
        assert ended.result
        assert ended.result.notes
    else:
        assert ended.how == "killed"
        if now not in (before, after):
            assert world.newest
            assert world.newest.unfinished


def cases() -> Iterator[Any]:
    for name in COMMANDS:
        for fault in (*FAULTS, *FOR_EVER):
            yield pytest.param(name, fault, id=f"{name}, {fault}")


@pytest.mark.parametrize(("name", "fault"), [*cases()])
def test_whatever_fails_wherever_nothing_is_lost_and_the_next_command_puts_it_right(
    name: str, fault: str, tmp_path: Path
) -> None:
    command = COMMANDS[name]
    start = beginning(tmp_path, name)
    before = start.server.snapshot()
    good = start.copy()
    perfect = command.run(good, lambda _: PASS)
    assert perfect.how == "succeeded"
    after = good.server.snapshot()
    assert after != before
    for call in perfect.store.calls:
        world = start.copy()
        ended = command.run(world, at(call.number, fault))
        try:
            if fault == "answer lost" and call.name in ("create", "update", "delete"):
                assert ended.how == "succeeded"  # the server is asked, and says that it was done
            check(world, ended, before, after, whole=command.whole)
            world.pass_time(200)
            settle(world, name, command, before, after)
        except AssertionError as error:
            raise AssertionError(
                f"{fault} at {call}: it ended as {ended.how}: {ended.error or ended.result}"
            ) from error


def settle(world: World, name: str, command: Command, before: dict[str, Any], after: dict[str, Any]) -> None:
    """The next command brings the server to where it should be; each time it is run it has less to do."""
    unfinished = world.newest is not None and world.newest.to_undo
    again = world.copy()
    if unfinished and name != "register":  # which no other command undoes: the next one goes on from it
        assert again.rollback().how == "rolled-back"
        assert again.server.snapshot()["resources"] == before["resources"]
    if unfinished and name == "deploy":
        again = world.copy()
        failing = command.run(again, lambda call: Fate(False, refused()) if call.about == "succeeded" else PASS)
        assert failing.how == "RolledBack"  # to before the one that was cut short, not to what that left
        assert again.server.snapshot()["resources"] == before["resources"]
    if name != "rollback":  # where it had succeeded, a second one goes further back
        ended = command.run(world, lambda _: PASS)
        if name == "reconcile" and unfinished:
            assert ended.how == "rolled-back"
            world.pass_time(200)
            ended = command.run(world, lambda _: PASS)
        assert ended.how in ("succeeded", "nothing"), ended
        assert world.server.snapshot() == after
        world.pass_time(200)
        assert command.run(world, lambda _: PASS).how == "nothing"
    assert all(expires <= world.server.clock for _, expires in world.server.leases.values())
