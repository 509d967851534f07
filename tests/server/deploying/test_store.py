"""The server in memory does what a real one does: each scenario comes to the same on both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import prefect
import pytest

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine import Store, deploy_lock, writer_tag
from meta_flows.models import Change, LiveResource, Ownership, Plan, Release, Resource
from meta_flows.prefect_api.connection import connected, minor
from meta_flows.prefect_api.store import connected_store
from tests.memory import MemoryServer, MemoryStore, without_ids
from tests.servers import Server

CRON = {"cron": "0 6 * * *", "timezone": "UTC", "day_or": True}


class Scene:
    """A store, and names that no other scene has.

    Attributes:
        run_id: A run under way.
    """

    def __init__(self, store: Store, run_id: str, mark: str) -> None:
        self.store, self.run_id = store, run_id
        self.ownership = Ownership(f"shop-{mark}", "development")
        self.flow, self.pool = f"flow-{mark}", f"pool-{mark}"
        self.seen: list[Any] = []

    @property
    def address(self) -> str:
        return f"deployment/{self.flow}/a"

    def see(self, what: Any) -> None:
        """Note something that must be the same on both."""
        self.seen.append(what)

    def read(self, address: str | None = None) -> LiveResource:
        """A resource as it is now, and note it."""
        live = self.store.read({address or self.address})[address or self.address]
        spec = without_ids(live)
        self.see({key: value for key, value in spec.items() if key not in ("parameter_openapi_schema", "version")})
        self.see(sorted(live.part_ids) if not any(key.startswith("~") for key in live.part_ids) else "no slug")
        return live

    def create(self, **stated: Any) -> None:
        """Create a deployment."""
        spec = {
            "entrypoint": "flow.py:a",
            "tags": [*self.ownership.tags],
            "parameter_openapi_schema": {"type": "object", "properties": {"x": {}, "y": {}}},
            "schedules": {},
            **stated,
        }
        self.store.create(Change(action="create", flow_name=self.flow, name="a", target=spec))

    def create_pool(self, **stated: Any) -> None:
        """Create a work pool."""
        spec = {"type": "process", "base_job_template": {}, **stated}
        self.store.create(Change(type="work_pool", action="create", name=self.pool, target=spec))

    def refusal(self, action: Callable[[], object]) -> None:
        """Note with which code something is refused."""
        try:
            action()
        except MetaFlowsError as error:
            self.see([item.code for item in error.errors])
        else:
            self.see("taken")


def schedule(slug: str, **more: Any) -> dict[str, Any]:
    return {slug: {"slug": slug, "schedule": CRON, "parameters": {}, **more}}


def creations(scene: Scene) -> None:
    scene.create(description="d", parameters={"x": 1}, schedules=schedule("daily"), concurrency_limit=2)
    scene.read()
    scene.see(dict(scene.store.read_flow_ids([scene.flow])).keys() == {scene.flow})
    scene.see(scene.store.read({"deployment/none/none", f"work_pool/{scene.pool}"}))


def placements(scene: Scene) -> None:
    scene.create_pool()
    scene.create(work_pool_name=scene.pool, work_queue_name="fast")
    live = scene.read()
    scene.see(sorted(scene.store.read_work_queues(scene.pool)))
    scene.see([*scene.store.read_deployments_in(scene.pool)] == [scene.address])
    scene.store.update(live, {**live.spec, "work_queue_name": "default"})
    scene.read()


def adoption_and_back(scene: Scene) -> None:
    """Who is put into a pool is put into its default queue, and is in none again without a pool."""
    scene.create_pool()
    scene.create()
    before = scene.read()
    scene.store.update(before, {**before.spec, "work_pool_name": scene.pool})
    live = scene.read()
    scene.store.update(live, before.spec)
    scene.read()


def changes(scene: Scene) -> None:
    scene.create(parameters={"x": 1}, schedules={**schedule("daily"), **schedule("weekly")})
    live = scene.read()
    target = {**live.spec, "description": "new", "parameters": {"y": 2}, "paused": True}
    target["schedules"] = {
        "daily": {**live.spec["schedules"]["daily"], "active": False},
        **schedule("hourly", active=False),
    }
    scene.store.update(live, target)
    scene.read()
    scene.store.update(scene.read(), live.spec)
    scene.read()


def deletions(scene: Scene) -> None:
    scene.create()
    live = scene.read()
    scene.store.delete(live)
    scene.see(scene.store.read({scene.address}))
    scene.store.delete(live)
    scene.refusal(lambda: scene.store.update(live, {**live.spec, "description": "late"}))


def ownership(scene: Scene) -> None:
    scene.create()
    scene.see([*scene.store.read_owned(scene.ownership)] == [scene.address])
    live = scene.read()
    scene.store.update(live, {**live.spec, "tags": [scene.ownership.tags[0]]})
    scene.see(scene.store.read_owned(scene.ownership))


def pools(scene: Scene) -> None:
    scene.create_pool(concurrency_limit=1, description="ours")
    live = scene.read(f"work_pool/{scene.pool}")
    scene.refusal(scene.create_pool)
    scene.store.update(live, {**live.spec, "concurrency_limit": None, "description": "new"})
    scene.read(f"work_pool/{scene.pool}")


def leftovers(scene: Scene) -> None:
    scene.create_pool()
    scene.create(work_pool_name=scene.pool, work_queue_name="fast")

    def remove() -> None:
        scene.store.remove_unused([scene.pool], [(scene.pool, "fast")], [scene.flow])

    remove()
    scene.see(sorted(scene.store.read_work_queues(scene.pool)))
    scene.store.delete(scene.read())
    remove()
    scene.see(scene.store.read({f"work_pool/{scene.pool}"}))
    scene.see(dict(scene.store.read_flow_ids([scene.flow])))


def releases(scene: Scene) -> None:
    store = scene.store

    def release(number: int, **more: Any) -> Release:
        project, environment = scene.ownership
        resource = Resource(flow_name="a", name="a", spec={"description": "text"})
        return Release(
            id=f"{number}",
            project=project,
            environment=environment,
            started=datetime(2026, 1, number, tzinfo=timezone.utc),
            plan=Plan(project=project, environment=environment),
            resources={resource.address: resource},
            **more,
        )

    scene.see(store.latest_release(scene.ownership))
    first, second = release(1), release(2, state="rejected")
    store.save_release(first)
    store.save_release(second)
    scene.see(store.latest_release(scene.ownership) == first)
    closed = first.model_copy(update={"state": "succeeded"})
    store.update_release(closed)
    scene.see(store.read_release(first) == closed)
    scene.see([item for _, item in store.read_releases(scene.ownership)] == [second, closed])
    store.forget_old_releases(scene.ownership)
    store.delete_release(second)
    scene.see([item for _, item in store.read_releases(scene.ownership)] == [closed])
    store.update_release(second)
    scene.see(store.read_release(second) == second)


def locks(scene: Scene) -> None:
    store, name = scene.store, deploy_lock(scene.ownership)
    scene.see(store.find_limit(name))
    limit = store.limit(name)
    scene.see((limit.is_taken, store.limit(name) == limit))
    lease = store.acquire(name, 60)
    assert lease
    scene.see((store.acquire(name, 60), store.limit(name).is_taken, store.renew(lease, 60)))
    store.release(lease)
    scene.see((store.limit(name).is_taken, store.renew(lease, 60), store.renew(str(uuid.uuid4()), 60)))
    again = store.acquire(name, 60)
    scene.see(again is not None)
    store.delete_limit(limit.id)
    scene.see(store.find_limit(name))
    scene.see(store.limit(name).id != limit.id)
    store.delete_limit(limit.id)


def writers(scene: Scene) -> None:
    store, tag = scene.store, writer_tag(scene.ownership)
    scene.see(store.writers(tag))
    store.tag_run(scene.run_id, [tag, "other"])
    (first,) = store.writers(tag)
    store.tag_run(scene.run_id, [tag, "other"])
    (second,) = store.writers(tag)
    scene.see((first.id == scene.run_id, first.updated != second.updated))
    store.mark_crashed(scene.run_id)
    scene.see(store.writers(tag))


SCENARIOS = (
    creations,
    placements,
    *([adoption_and_back] if minor(prefect.__version__) >= (3, 8) else ()),  # 3.4 takes nothing out of a pool
    changes,
    deletions,
    ownership,
    pools,
    leftovers,
    releases,
    locks,
    writers,
)


@contextmanager
def real(server: Server, mark: str) -> Iterator[Scene]:
    flow = server.post("/flows/", {"name": f"deploy-{mark}"})["id"]
    state = {"type": "RUNNING", "name": "Running"}
    run = server.post("/flow_runs/", {"flow_id": flow, "name": "writer", "state": state})["id"]
    with connected(server.api_url), connected_store() as store:
        yield Scene(store, run, mark)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_comes_to_the_same_in_memory_as_on_a_server(
    scenario: Callable[[Scene], None], server: Server
) -> None:
    mark = uuid.uuid4().hex[:8]
    in_memory = Scene(MemoryStore(MemoryServer(), "writer"), "writer", mark)
    scenario(in_memory)
    with real(server, mark) as scene:
        scenario(scene)
    assert scene.seen == in_memory.seen
