"""A server in memory that does what the engine asks of one, and whatever else a network, an operator or a kill may do.

`MemoryServer` is the state, `MemoryStore` one process' way to it. The conformance suite holds both to the real server.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from meta_flows.diagnostics import MetaFlowsError, refuse
from meta_flows.engine import Limit, Writer, unguarded
from meta_flows.models import Change, LiveResource, Ownership, Release
from meta_flows.resources import TYPES, Spec

TEMPLATE: dict[str, Any] = {
    "job_configuration": {"env": "{{ env }}"},
    "variables": {"properties": {"env": {"type": "object", "default": {}}}},
}

BLANK: Mapping[str, dict[str, Any]] = {
    "deployment": {
        "version": None,
        "description": None,
        "entrypoint": None,
        "path": None,
        "parameters": {},
        "parameter_openapi_schema": {},
        "enforce_parameter_schema": True,
        "pull_steps": [],
        "work_pool_name": None,
        "work_queue_name": None,
        "job_variables": {},
        "paused": False,
        "labels": {},
        "tags": [],
        "concurrency_limit": None,
        "concurrency_options": None,
        "schedules": {},
    },
    "work_pool": {
        "type": None,
        "description": None,
        "concurrency_limit": None,
        "base_job_template": {},
        "is_paused": False,
    },
}
"""What the server makes of what a creation does not say."""

SCHEDULE: dict[str, Any] = {"active": True, "parameters": {}, "max_scheduled_runs": None}

READS = frozenset(
    {
        "read",
        "read_owned",
        "read_flow_ids",
        "read_work_queues",
        "read_deployments_in",
        "latest_release",
        "read_releases",
        "read_release",
        "find_limit",
        "writers",
    }
)


class Killed(BaseException):
    """The end of a process: nothing of its code runs any more."""


class Call(NamedTuple):
    """One thing that is asked of the server.

    Attributes:
        number: How many were asked before it by this process.
        name: Name of the store's method.
        about: What it is about.
    """

    number: int
    name: str
    about: str = ""

    @property
    def is_read(self) -> bool:
        return self.name in READS


@dataclass
class Fate:
    """What becomes of a call.

    Attributes:
        reaches: Whether the server does what it is asked to.
        answer: What is raised in place of the answer.
        halfway: Whether an update is cut off after its first part.
        between: What happens between an update's first part and the others.
    """

    reaches: bool = True
    answer: BaseException | None = None
    halfway: bool = False
    between: Callable[[], None] | None = None


PASS = Fate()


def unreachable() -> MetaFlowsError:
    return refuse("MF401", url="memory", detail="injected")


def refused() -> MetaFlowsError:
    return refuse("MF404", request="injected", detail="HTTP 422")


Rule = Callable[[Call], Fate]


@dataclass
class MemoryServer:
    """What a server holds.

    Attributes:
        clock: Seconds; moves only when a test moves it.
        history: Each write that was done, by whom.
    """

    resources: dict[str, LiveResource] = field(default_factory=dict)
    flows: set[str] = field(default_factory=set)
    queues: set[tuple[str, str]] = field(default_factory=set)
    records: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    clock: float = 1000.0
    written: list[tuple[str, str]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def snapshot(self) -> dict[str, Any]:
        """Everything that deploys change, without ids and times."""
        return {
            "resources": {at: without_ids(item) for at, item in sorted(self.resources.items())},
            "flows": sorted(self.flows),
            "queues": sorted(self.queues),
        }

    def releases(self) -> list[Release]:
        """The records, newest first."""
        return [Release.model_validate_json(self.records[name]) for name in sorted(self.records, reverse=True)]

    def edit(self, address: str, **fields: Any) -> None:
        """Change some fields as an operator does."""
        live = self.resources[address]
        self.resources[address] = live.model_copy(update={"spec": {**live.spec, **copy.deepcopy(fields)}})


def without_ids(live: LiveResource) -> dict[str, Any]:
    spec = copy.deepcopy(live.spec)
    if "schedules" in spec:
        spec["schedules"] = {
            slug if not slug.startswith("~") else "~": schedule for slug, schedule in spec["schedules"].items()
        }
        spec["tags"] = sorted(spec["tags"])
    return spec


class MemoryStore:
    """One process' way to a server in memory."""

    def __init__(self, server: MemoryServer, run_id: str = "run", rule: Rule = lambda _: PASS) -> None:
        self.server, self.run_id, self.rule = server, run_id, rule
        self.guard: Callable[[], None] = unguarded
        self.calls: list[Call] = []
        self.killed = False
        server.runs.setdefault(run_id, [])

    @contextmanager
    def _call(self, name: str, about: str = "") -> Iterator[Fate]:
        """One call: the body does it, unless its fate says otherwise."""
        if self.killed:
            raise Killed
        call = Call(len(self.calls), name, about)
        self.calls.append(call)
        fate = self.rule(call)
        if isinstance(fate.answer, Killed):
            self.killed = True
        if not fate.reaches:
            assert fate.answer
            raise fate.answer
        yield fate
        if not call.is_read:
            self.server.written.append((self.run_id, f"{name} {about}"))
        if fate.answer:
            raise fate.answer

    # Resources

    def read(self, addresses: Collection[str]) -> dict[str, LiveResource]:
        with self._call("read", ", ".join(sorted(addresses))):
            return {at: copy.deepcopy(item) for at, item in self.server.resources.items() if at in addresses}

    def read_owned(self, ownership: Ownership) -> dict[str, LiveResource]:
        with self._call("read_owned"):
            tagged = {at: item for at, item in self.server.resources.items() if TYPES[item.type].tagged}
            return {
                at: copy.deepcopy(item) for at, item in tagged.items() if TYPES[item.type].owns(item, ownership, ())
            }

    def create(self, change: Change) -> None:
        with self._call("create", change.address):
            server = self.server
            if change.address in server.resources and change.type == "work_pool":
                raise refuse("MF404", request="POST /work_pools/", detail="HTTP 409")
            spec = {**copy.deepcopy(BLANK[change.type]), **copy.deepcopy(change.target)}
            if change.type == "deployment":
                server.flows.add(change.flow_name)
                self._place(spec)
                spec["schedules"] = {
                    slug: {"slug": slug, **SCHEDULE, **item} for slug, item in spec["schedules"].items()
                }
            before = server.resources.get(change.address)
            self._put(change.type, change.name, change.flow_name, before.id if before else self._id(), spec, {})

    def update(self, live: LiveResource, target: Spec) -> None:
        with self._call("update", live.address) as fate:
            now = self.server.resources.get(live.address)
            if now is None or now.id != live.id:
                raise refuse("MF404", request=f"PATCH {live.address}", detail="HTTP 404")
            changed = {key: value for key, value in target.items() if value != live.spec.get(key)}
            schedules = changed.pop("schedules", None)
            spec = {**now.spec, **copy.deepcopy(changed)}
            if live.type == "deployment":
                if "work_pool_name" in changed and "work_queue_name" not in changed:
                    spec["work_queue_name"] = None
                self._place(spec)
            self._put(live.type, live.name, live.flow_name, now.id, spec, now.part_ids)
            if schedules is not None and not (fate.halfway and changed):
                self._update_schedules(live, schedules, fate, first=not changed)
            if fate.halfway:
                raise fate.answer or unreachable()

    def _update_schedules(self, live: LiveResource, target: Mapping[str, Spec], fate: Fate, *, first: bool) -> None:
        """The second part of an update, if it is not the first."""
        if not first:
            if fate.between:
                fate.between()
            self.guard()
        now = self.server.resources[live.address]
        kept = {slug: item for slug, item in target.items() if slug in live.spec["schedules"]}
        if fate.halfway:  # what is set to null is deleted and created again
            kept = {slug: item for slug, item in kept.items() if not self._is_replaced(live, slug, item)}
        schedules = self._scheduled(live, now, kept if fate.halfway else target)
        spec = {**now.spec, "schedules": schedules}
        self._put(live.type, live.name, live.flow_name, now.id, spec, now.part_ids)

    @staticmethod
    def _is_replaced(live: LiveResource, slug: str, schedule: Spec) -> bool:
        return any(
            value is None and live.spec["schedules"][slug].get(key) is not None for key, value in schedule.items()
        )

    def _scheduled(self, live: LiveResource, now: LiveResource, target: Mapping[str, Spec]) -> dict[str, Any]:
        """Schedules after an update: by their ids, since an operator may have renamed one."""
        by_id = {now.part_ids[key]: schedule for key, schedule in now.spec["schedules"].items()}
        for slug, schedule in live.spec["schedules"].items():
            wanted = target.get(slug)
            if wanted is None:
                by_id.pop(live.part_ids[slug], None)
            elif wanted != schedule and live.part_ids[slug] in by_id:
                changed = {key: value for key, value in wanted.items() if value != schedule.get(key)}
                by_id[live.part_ids[slug]] = {**by_id[live.part_ids[slug]], **copy.deepcopy(changed)}
        for slug, schedule in target.items():
            if slug not in live.spec["schedules"]:
                by_id[self._id()] = {"slug": slug, **SCHEDULE, **copy.deepcopy(dict(schedule))}
        return {schedule["slug"] or f"~{key}": schedule for key, schedule in by_id.items()}

    def _place(self, spec: dict[str, Any]) -> None:
        """Put a deployment into its pool's default queue unless it names one, which then comes into being."""
        pool = spec["work_pool_name"]
        spec["work_queue_name"] = (spec["work_queue_name"] or "default") if pool else None
        if pool and spec["work_queue_name"] != "default":
            self.server.queues.add((pool, spec["work_queue_name"]))

    def _put(
        self, type_: str, name: str, flow_name: str, id_: str, spec: dict[str, Any], part_ids: Mapping[str, str]
    ) -> None:
        ids = {key: part_ids.get(key) or self._id() for key in spec.get("schedules", {})}
        live = LiveResource(type=type_, name=name, flow_name=flow_name, id=id_, spec=spec, part_ids=ids)
        self.server.resources[live.address] = live

    def _id(self) -> str:
        return str(next(self.server.ids))

    def delete(self, live: LiveResource) -> None:
        with self._call("delete", live.address):
            now = self.server.resources.get(live.address)
            if now and now.id == live.id:
                del self.server.resources[live.address]

    def remove_unused(
        self, pools: Collection[str], queues: Collection[tuple[str, str]], flows: Collection[str]
    ) -> None:
        with self._call("remove_unused", ", ".join((*pools, *flows))):
            deployments = [item for item in self.server.resources.values() if item.type == "deployment"]
            placed = {(item.spec["work_pool_name"], item.spec["work_queue_name"]) for item in deployments}
            self.server.queues -= {queue for queue in map(tuple, queues) if queue not in placed}
            self.server.flows -= {*flows} - {item.flow_name for item in deployments}
            for pool in {*pools} - {pool for pool, _ in placed}:
                self.server.resources.pop(f"work_pool/{pool}", None)

    def read_flow_ids(self, names: Collection[str]) -> Mapping[str, str]:
        with self._call("read_flow_ids"):
            return {name: name for name in names if name in self.server.flows}

    def read_work_queues(self, pool: str) -> set[str]:
        with self._call("read_work_queues", pool):
            return {"default", *(queue for of, queue in self.server.queues if of == pool)}

    def read_deployments_in(self, pool: str) -> dict[str, LiveResource]:
        with self._call("read_deployments_in", pool):
            found = self.server.resources.items()
            return {at: copy.deepcopy(item) for at, item in found if item.spec.get("work_pool_name") == pool}

    def default_job_template(self, pool_type: str) -> Spec:
        return copy.deepcopy(TEMPLATE)

    # Releases

    def latest_release(self, ownership: Ownership) -> Release | None:
        with self._call("latest_release"):
            return next((item for item in self._releases(ownership) if item.state != "rejected"), None)

    def read_releases(self, ownership: Ownership) -> list[tuple[str, Release | None]]:
        with self._call("read_releases"):
            return [(release.id, release) for release in self._releases(ownership)]

    def _releases(self, ownership: Ownership) -> list[Release]:
        return [item for item in self.server.releases() if (item.project, item.environment) == ownership]

    def read_release(self, release: Release) -> Release | None:
        with self._call("read_release"):
            text = self.server.records.get(release.id)
            return Release.model_validate_json(text) if text else None

    def save_release(self, release: Release) -> None:
        with self._call("save_release", release.state):
            self.server.records[release.id] = release.model_dump_json()

    def update_release(self, release: Release) -> None:
        with self._call("update_release", release.state):
            self.server.records[release.id] = release.model_dump_json()

    def delete_release(self, release: Release) -> None:
        with self._call("delete_release"):
            self.server.records.pop(release.id, None)

    def forget_old_releases(self, ownership: Ownership) -> None:
        with self._call("forget_old_releases"):
            pass

    # The lock

    def limit(self, name: str) -> Limit:
        with self._call("limit", name):
            if name not in self.server.limits:
                self.server.limits[name] = self._id()
            return self._limit(name)

    def briefly(self, seconds: float) -> AbstractContextManager[None]:
        return nullcontext()

    def find_limit(self, name: str) -> Limit | None:
        with self._call("find_limit", name):
            return self._limit(name) if name in self.server.limits else None

    def _limit(self, name: str) -> Limit:
        limit_id = self.server.limits[name]
        self.server.leases = {at: item for at, item in self.server.leases.items() if item[1] > self.server.clock}
        return Limit(limit_id, any(of == limit_id for of, _ in self.server.leases.values()))

    def delete_limit(self, limit_id: str) -> None:
        with self._call("delete_limit"):
            self.server.limits = {name: at for name, at in self.server.limits.items() if at != limit_id}

    def acquire(self, name: str, seconds: float) -> str | None:
        with self._call("acquire", name):
            limit = self._limit(name)
            if limit.is_taken:
                return None
            lease = self._id()
            self.server.leases[lease] = (limit.id, self.server.clock + seconds)
            return lease

    def renew(self, lease: str, seconds: float) -> bool:
        with self._call("renew"):
            found = self.server.leases.get(lease)
            if found is None or found[1] <= self.server.clock:
                return False
            self.server.leases[lease] = (found[0], self.server.clock + seconds)
            return True

    def release(self, lease: str) -> None:
        with self._call("release"):
            self.server.leases.pop(lease, None)

    def writers(self, tag: str) -> list[Writer]:
        with self._call("writers", tag):
            return [
                Writer(run, run, str(self.server.beats.get(run, 0)), "2026-01-01T00:00:00")
                for run, tags in self.server.runs.items()
                if tag in tags and run not in self.server.ended
            ]

    def tag_run(self, run_id: str, tags: Sequence[str]) -> None:
        with self._call("tag_run"):
            self.server.runs[run_id] = list(tags)
            self.server.beats[run_id] = self.server.beats.get(run_id, 0) + 1

    def mark_crashed(self, run_id: str) -> None:
        with self._call("mark_crashed", run_id):
            self.server.ended.add(run_id)
