"""Whatever two writers, an operator, faults and kills do in whatever order: nothing is lost."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meta_flows.models import Resource
from tests.budgets import examples
from tests.memory import PASS, Call, Fate
from tests.unit.engine.test_every_call import FAULTS, FOR_EVER, FOREIGN, at, put
from tests.unit.engine.world import Ended, deployment, new_world

NAMES = ("a", "b", "c")
pytestmark = pytest.mark.hypothesis

resources = st.builds(
    deployment,
    st.sampled_from(NAMES),
    description=st.sampled_from(["one", "two"]),
    parameters=st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 1), max_size=2),
    schedules=st.dictionaries(
        st.sampled_from(["daily", "hourly"]), st.just({"schedule": {"cron": "0 6 * * *"}}), max_size=2
    ),
)
wanted = st.lists(resources, min_size=1, max_size=3, unique_by=lambda item: item.name)
places = st.integers(0, 40)
faults = st.sampled_from([*FAULTS, *FOR_EVER])


class Histories(RuleBasedStateMachine):
    """A server, and whatever happens to it."""

    @initialize()
    def begin(self) -> None:
        self._folder = TemporaryDirectory()
        self.world = new_world(Path(self._folder.name))
        put(self.world.server, deployment("foreign", tags=FOREIGN, work_pool_name="theirs"))
        self.foreign = self.world.server.snapshot()["resources"]

    def teardown(self) -> None:
        self._folder.cleanup()

    def after(self, ended: Ended) -> None:
        """Hold what a command says against the server."""
        if ended.how == "RollbackIncomplete":
            assert ended.result
            assert ended.result.errors
        self.world.pass_time(200)

    @rule(desired=wanted, prune=st.booleans())
    def deploy(self, desired: list[Resource], prune: bool) -> None:
        ended = self.world.deploy(desired, prune=prune)
        assert ended.how in ("succeeded", "nothing"), ended
        self.after(ended)
        assert self.world.deploy(desired, prune=prune).how == "nothing"
        for item in desired:
            live = self.world.server.resources[item.address]
            assert {key: live.spec[key] for key in ("description", "parameters")} == {
                key: item.spec[key] for key in ("description", "parameters")
            } or live.spec["parameters"].items() >= item.spec["parameters"].items()

    @rule(desired=wanted, prune=st.booleans(), number=places, fault=faults)
    def deploy_with_a_fault(self, desired: list[Resource], prune: bool, number: int, fault: str) -> None:
        before = self.world.server.snapshot()["resources"]
        unfinished = self.world.newest is not None and self.world.newest.unfinished
        ended = self.world.deploy(desired, at(number, fault), prune=prune)
        if ended.how in ("refused", "RolledBack") and not unfinished:
            assert self.world.server.snapshot()["resources"] == before
        self.after(ended)

    @rule(desired=wanted, theirs=wanted, number=places)
    def two_writers(self, desired: list[Resource], theirs: list[Resource], number: int) -> None:
        """One falls asleep for longer than its lease, and the other one deploys meanwhile."""
        others: list[Ended] = []

        def fate(call: Call) -> Fate:
            if call.number == number and call.name != "update_release":
                self.world.pass_time(100)
                others.append(self.world.deploy(theirs))
            return PASS

        ended = self.world.deploy(desired, fate)
        self.after(ended)
        for other in others:
            assert other.how in ("succeeded", "nothing", "refused"), other

    @rule(name=st.sampled_from(NAMES), paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        address = f"deployment/{name}/{name}-dev"
        if address in self.world.server.resources:
            self.world.server.edit(address, paused=paused)

    @rule(name=st.sampled_from(NAMES))
    def delete_by_hand(self, name: str) -> None:
        self.world.server.resources.pop(f"deployment/{name}/{name}-dev", None)

    @rule(number=places, fault=faults)
    def rollback_with_a_fault(self, number: int, fault: str) -> None:
        self.after(self.world.rollback(at(number, fault)))

    @rule(number=places, fault=faults)
    def clean_with_a_fault(self, number: int, fault: str) -> None:
        self.after(self.world.clean(at(number, fault)))

    @rule()
    def reconcile(self) -> None:
        """Bring back what was released; of what is certain nothing is different then."""
        for _ in range(2):  # an unfinished release is undone first
            ended = self.world.reconcile()
            assert ended.how in ("succeeded", "nothing", "rolled-back"), ended
            self.after(ended)
        assert self.world.reconcile().how == "nothing"

    @invariant()
    def what_is_not_ours_is_never_written(self) -> None:
        now = self.world.server.snapshot()["resources"]
        assert {at: now.get(at) for at in self.foreign} == self.foreign


TestHistories = Histories.TestCase
TestHistories.settings = settings(examples(200), stateful_step_count=12)
