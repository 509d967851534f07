"""An environment on a server in memory, and the meta-flows' commands on it, without Prefect around them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from meta_flows import proposals
from meta_flows.configuration import Configured, Environment, load_environment
from meta_flows.desired.deployments import Desired, Images
from meta_flows.desired.registration import owner
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine import ApplyResult, Session, Timing, Write, write_lock
from meta_flows.models import Change, Release, Resource
from meta_flows.proposals import Context, DeployOptions, Observed, Proposal
from tests.memory import PASS, Killed, MemoryServer, MemoryStore, Rule
from tests.trees import build_tree

T = TypeVar("T")

OURS = ["environment:development", "project:shop"]


def deployment(name: str, **stated: Any) -> Resource:
    """A deployment of the flow of the same name, owned by us."""
    spec = {
        "version": "1",
        "entrypoint": f"flows/{name}.py:{name}",
        "pull_steps": [],
        "tags": OURS,
        "parameters": {},
        "work_pool_name": "dev-python",
        "job_variables": {},
        "schedules": {},
        **stated,
    }
    spec["schedules"] = {slug: {"slug": slug, "parameters": {}, **item} for slug, item in spec["schedules"].items()}
    return Resource(flow_name=name, name=f"{name}-dev", kind="python", spec=spec)


class Plain:
    """A shell that only does what it is asked to."""

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Carry out a step."""
        return action()

    def changes(self, count: int, apply_all: Callable[[Write], None]) -> None:
        """Carry out some changes."""

        def write(change: Change, action: Callable[[], None]) -> BaseException | None:
            try:
                action()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is about this change
                return error
            return None

        apply_all(write)

    def log(self, level: int, message: str) -> None:
        """Say nothing."""


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        how: `killed`, `refused`, `nothing` where there was nothing to do, or the report's ending.
        store: Its way to the server.
    """

    how: str
    store: MemoryStore
    result: ApplyResult | None = None
    error: MetaFlowsError | None = None


@dataclass
class World:
    """A server and an environment on it."""

    environment: Environment
    server: MemoryServer = field(default_factory=MemoryServer)
    runs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    approve: Callable[[Proposal], Proposal] = lambda proposal: proposal

    def copy(self) -> World:
        """Another one in the same state."""
        server = self.server
        twin = MemoryServer(
            **{
                name: copy.deepcopy(getattr(server, name))
                for name in ("resources", "flows", "queues", "records", "limits", "leases", "runs", "beats", "ended")
            },
            clock=server.clock,
        )
        twin.ids = itertools.count(1000)
        return World(self.environment, twin, itertools.count(100))

    def deploy(self, desired: Iterable[Resource], rule: Rule = lambda _: PASS, **policy: Any) -> Ended:
        """Deploy what is desired; `prune=True` and `adopt=True` as on the command line."""
        wanted = tuple(desired)
        options = DeployOptions(**{"prune_limit": 1.0, **policy})

        def propose(context: Context, observed: Observed | None = None) -> Proposal:
            observed = proposals.observe_others(
                context, observed or proposals.observe(context), {item.address for item in wanted}
            )
            declared = proposals.environment_pools(context.environment)
            pools = proposals.plan_pools(context, declared, observed, wanted, adopt=options.adopt)
            return proposals.propose_deploy(
                context, (), Configured(flows=(), refused=()), Desired(wanted, ()), observed, pools, Images({}), options
            )

        def again(context: Context, proposal: Proposal) -> Proposal:
            return proposal if proposals.is_current(context, proposal) else propose(context)

        return self._run(propose, again, rule)

    def rollback(self, rule: Rule = lambda _: PASS, to: str | None = None) -> Ended:
        """Go back to the release before, or undo one that was left unfinished."""
        return self._run(partial(proposals.propose_rollback, to=to), None, rule)

    def clean(self, rule: Rule = lambda _: PASS) -> Ended:
        """Delete all that is ours."""
        return self._run(partial(proposals.propose_clean, pattern=None), None, rule)

    def reconcile(self, rule: Rule = lambda _: PASS) -> Ended:
        """Bring back what was released."""
        return self._run(
            proposals.propose_repair, lambda context, _: proposals.propose_repair(context, locked=True), rule
        )

    def register(self, wanted: tuple[Resource, ...], rule: Rule = lambda _: PASS) -> Ended:
        """Register deployments of meta-flows, which are a project of their own."""
        registry = World(owner(self.environment), self.server, self.runs)
        return registry._run(partial(proposals.propose_registration, desired=wanted), None, rule)

    def _run(
        self,
        propose: Callable[[Context], Proposal],
        again: Callable[[Context, Proposal], Proposal] | None,
        rule: Rule,
    ) -> Ended:
        run_id = f"run-{next(self.runs)}"
        store = MemoryStore(self.server, run_id, rule)
        context = Context(store, Plain(), self.environment, Path())
        once_more = partial(again, context) if again else lambda _: propose(context)
        try:
            proposal = propose(context)
            _, result = proposals.apply_proposal(
                context,
                proposal,
                self.approve,
                once_more,
                partial(self._writing, store),
                partial(self._record, run_id),
            )
        except Killed:
            return Ended("killed", store)
        except MetaFlowsError as error:
            return Ended("refused", store, error=error)
        finally:
            if not store.killed:
                self.server.ended.add(run_id)
        if result is None:
            return Ended("nothing", store)
        return Ended(result.ending or result.release.state, store, result)

    @contextmanager
    def _writing(self, store: MemoryStore) -> Iterator[Session]:
        with write_lock(
            store,
            self.environment.ownership,
            run_id=store.run_id,
            tags=[],
            wait=self.environment.lock_wait,
            on_wait=lambda _: None,
            timing=Timing(),
            clock=lambda: self.server.clock,
            sleep=self.pass_time,
            heartbeat=False,
        ) as lock:
            yield Session(store, Plain(), lock)

    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self.server.clock += seconds

    def _record(self, run_id: str, proposal: Proposal) -> Release:
        started = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=self.server.clock)
        return Release(
            id=f"{started:%Y%m%dt%H%M%S}-{run_id}",
            project=self.environment.project,
            environment=self.environment.name,
            all_or_nothing=proposal.all_or_nothing and self.environment.on_failure == "rollback",
            started=started,
            flow_run_id=run_id,
            restores=proposal.restores.id if proposal.restores else None,
            plan=proposal.plan,
        )

    @property
    def newest(self) -> Release | None:
        """The newest record."""
        return next((item for item in self.server.releases() if item.state != "rejected"), None)


def new_world(root: Path, **stated: Any) -> World:
    """A server that has nothing, and an environment that states something."""
    build_tree(
        root, {"environments/defaults.yaml": "project: shop\n", "environments/development.yaml": yaml.safe_dump(stated)}
    )
    return World(load_environment(root, "development"))
