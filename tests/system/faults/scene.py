"""A repository with ten changes to make, and the server that they are made on."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers import QUIET, Server, started_server
from tests.system.faults.proxy import Proxy, Request, Rule, pass_all
from tests.system.faults.snapshot import LOCK, Snapshot, take
from tests.system.faults.warm import Ended, Run
from tests.trees import build_tree

FLOW = """
from prefect import flow

@flow(name="{flow}")
def {function}(count: int = 1, pace: float = 1.0) -> int:
    return count
"""

DAILY = {"slug": "daily", "cron": "0 6 * * *"}
LIMITED = {**DAILY, "max_scheduled_runs": 2}
WEEKLY = {"slug": "weekly", "cron": "0 7 * * 1", "timezone": "Europe/Berlin", "parameters": {"count": 5}}

BEFORE: dict[str, dict[str, Any]] = {
    "same": {"schedules": [DAILY]},
    "fields": {
        "description": "Told before.",
        "tags": ["kept", "dropped"],
        "parameters": {"count": 2, "pace": 0.5},
        "job_variables": {"env": {"REGION": "north", "OLD": "1"}},
    },
    "schedules": {"schedules": [DAILY, WEEKLY]},
    "limited": {"parameters": {"count": 2}},
    "unlimited": {"concurrency_limit": {"limit": 2, "collision_strategy": "CANCEL_NEW"}},
    "moved": {"schedules": [DAILY]},
    "code": {"schedules": [LIMITED]},
    "gone": {"schedules": [DAILY], "concurrency_limit": 3, "description": "Is not wanted any more."},
    "old-name": {"schedules": [LIMITED, WEEKLY], "tags": ["kept"]},
}
"""Deployment files of what is on the server before, by folder."""

AFTER: dict[str, dict[str, Any]] = {
    "same": BEFORE["same"],
    "fields": {
        "tags": ["kept", "added"],
        "parameters": {"count": 3},
        "job_variables": {"env": {"REGION": "south", "NEW": "1"}},
    },
    "schedules": {"schedules": [{**DAILY, "cron": "30 6 * * *"}, {"slug": "hourly", "interval": 3600}]},
    "limited": {"parameters": {"count": 2}, "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"}},
    "unlimited": {},
    "moved": {"schedules": [DAILY], "work_queue": "fast"},
    "code": {"schedules": [{**DAILY, "max_scheduled_runs": 3}]},
    "old-name": {"slug": "new-name", "replaces": "old-name", "schedules": [LIMITED, WEEKLY], "tags": ["kept"]},
    "new": {"schedules": [DAILY, WEEKLY], "concurrency_limit": 1},
    "known": {"schedules": [LIMITED]},
    "adopted": {"schedules": [DAILY], "parameters": {"count": 4}},
}
"""Deployment files of what is wanted."""

POOL_BEFORE, POOL_AFTER = (
    {"description": text, "base_job_template": {"variables": {"properties": {"stream_output": {"default": value}}}}}
    for text, value in (("Told before.", False), ("Told after.", True))
)
"""What is stated of the work pool before, and what is wanted of it."""


class Scene:
    """A repository, a server of its own and a proxy between them.

    Attributes:
        root: The repository.
        project: Its name in the ownership tags.

    Args:
        folder: For all its files.
        server: The server.
        proxy: What stands before it.
        database: File of the server's database.
        like: Another scene, whose repository it shares.
    """

    def __init__(
        self, folder: Path, server: Server, proxy: Proxy, database: Path | None = None, like: Scene | None = None
    ) -> None:
        self.folder, self.server, self.proxy, self._database = folder, server, proxy, database
        self.root: Path = like.root if like else folder / "repository"
        self.project: str = like.project if like else f"scene-{uuid.uuid4().hex[:8]}"
        if like:
            return
        self.write("environments/defaults.yaml", {"project": self.project, "prefect_api_url": server.api_url})
        self.write_pool()

    def write(self, path: str, content: Any) -> None:
        """Write a file of the repository: text as it is, anything else as YAML."""
        build_tree(self.root, {path: content if isinstance(content, str) else yaml.safe_dump(content)})

    def write_pool(self, **stated: Any) -> None:
        """State something of the work pool."""
        self.write("environments/development.yaml", {"work_pools": {"python": {"name": self.project, **stated}}})

    def flow_name(self, folder: str) -> str:
        """Name of the flow in a folder."""
        return f"{self.project}-{folder}"

    def write_flows(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Let the repository have a flow for each deployment file, by folder, and no other."""
        for folder in self.root.glob("flows/*"):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        for folder_name, file_content in files.items():
            source = FLOW.format(flow=self.flow_name(folder_name), function=folder_name.replace("-", "_"))
            self.write(f"flows/{folder_name}/workflow.py", source)
            self.write(f"flows/{folder_name}/deployment.yaml", dict(file_content))

    def run(self, *words: str, rule: Rule = pass_all, **shell: str) -> Ended:
        """Run a command, some of whose requests may meet a fate."""
        run = self.prepare(*words, **shell)
        self.proxy.start_over(rule)
        return run.start().wait()

    def prepare(self, *words: str, **shell: str) -> Run:
        """A command to be started; what fails, fails at its first try."""
        usual = {"PREFECT_API_URL": self.proxy.api_url, "PREFECT_CLIENT_MAX_RETRIES": "0"}
        return Run(words, self.root, {**usual, **shell}, self.folder)

    def free_lock(self) -> None:
        """Do what the end of a lease does, without waiting for it."""
        limits = self.server.post("/v2/concurrency_limits/filter")
        for limit in limits:
            if limit["name"].startswith(f"{LOCK}-{self.project}--"):
                self.server.delete(f"/v2/concurrency_limits/{limit['id']}")

    def deploy(self, *words: str) -> dict[str, Any]:
        """Deploy without faults; the JSON result."""
        done = self.run("deploy", "--json", *words)
        assert done.code == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def take(self) -> Snapshot:
        """What is on the server."""
        return take(self.server)

    def changes(self) -> list[Request]:
        """The first tries of all writes since the last command began, without those for the lock."""
        return [write for write in self.proxy.writes if not write.again and not write.is_for_the_lock]

    def save(self) -> sqlite3.Connection:
        """A copy of all that the server has stored."""
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        assert self._database
        with closing(sqlite3.connect(self._database, timeout=60)) as live:
            live.backup(copy)
        return copy

    def restore(self, copy: sqlite3.Connection) -> None:
        """Let the server have stored what a copy says, as from a backup; the lock's leases are not stored there."""
        assert self._database
        with closing(sqlite3.connect(self._database, timeout=60)) as live:
            copy.backup(live)


ALONE = QUIET | {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false", "PREFECT_UI_ENABLED": "false"}
"""A server that does what it is asked for and nothing else."""


@contextmanager
def started_scene(folder: Path, like: Scene | None = None) -> Iterator[Scene]:
    """A scene for as long as the `with` lasts.

    Args:
        folder: For all its files.
        like: Another one, whose repository it shares and all that whose server has stored.
    """
    home = folder / "server"
    home.mkdir()
    if like:
        with closing(sqlite3.connect(home / "prefect.db")) as empty:
            like.save().backup(empty)
    with started_server(home, **ALONE) as server, Proxy(server.api_url) as proxy:
        yield Scene(folder, server, proxy, home / "prefect.db", like)


def set_up(scene: Scene) -> None:
    """Deploy what is there before, let an operator work by hand, and write down what is wanted."""
    scene.write_flows(BEFORE)
    scene.write_pool(**POOL_BEFORE)
    scene.deploy()
    pool = scene.server.get(f"/work_pools/{scene.project}")["base_job_template"]
    pool["variables"]["properties"]["by_hand"] = {"type": "string"}
    scene.server.patch(f"/work_pools/{scene.project}", {"base_job_template": pool, "concurrency_limit": 50})
    live = {item["name"].removesuffix("-python-dev"): item for item in scene.server.deployments(scene.project).values()}

    def patch(folder: str, **fields: Any) -> None:
        scene.server.patch(f"/deployments/{live[folder]['id']}", fields)

    def patch_schedule(folder: str, slug: str, **fields: Any) -> None:
        schedule = next(item for item in live[folder]["schedules"] if item["slug"] == slug)
        scene.server.patch(f"/deployments/{live[folder]['id']}/schedules/{schedule['id']}", fields)

    fields = live["fields"]
    patch("fields", paused=True, tags=[*fields["tags"], "watched"], parameters={**fields["parameters"], "by_hand": 1})
    env = {**fields["job_variables"]["env"], "BY_HAND": "1"}
    patch("fields", job_variables={**fields["job_variables"], "env": env}, work_pool_name=scene.project)
    patch_schedule("schedules", "daily", active=False)
    patch_schedule("schedules", "weekly", active=False)
    by_hand = {"schedule": {"cron": "5 5 * * *", "timezone": "UTC"}, "active": False, "parameters": {"count": 9}}
    scene.server.post(f"/deployments/{live['schedules']['id']}/schedules", [by_hand])
    scene.server.post(f"/deployments/{live['old-name']['id']}/schedules", [by_hand])
    patch("old-name", paused=True)
    patch_schedule("old-name", "daily", active=False)
    patch_schedule("old-name", "weekly", active=False)
    patch("gone", paused=True)

    def create(flow: str, **body: Any) -> None:
        flow_id = scene.server.post("/flows/", {"name": flow})["id"]
        scene.server.post("/deployments/", {"flow_id": flow_id, **body})

    scene.server.post("/flows/", {"name": scene.flow_name("known"), "tags": ["by-hand"], "labels": {"made": "by hand"}})
    slugless = {"schedule": {"cron": "0 6 * * *", "timezone": "UTC"}, "active": False}
    create(
        scene.flow_name("adopted"),
        name="adopted-python-dev",
        tags=["mine"],
        paused=True,
        labels={"made": "by hand"},
        parameters={"count": 1},
        path="/srv",
        entrypoint="old.py:adopted",
        parameter_openapi_schema={
            "title": "Parameters",
            "type": "object",
            "properties": {"count": {"type": "integer"}},
        },
        schedules=[slugless],
        concurrency_limit=7,
    )
    create(scene.flow_name("theirs"), name="theirs", tags=["mine"], schedules=[slugless], concurrency_limit=1)

    scene.write_pool(**POOL_AFTER)
    scene.write_flows(AFTER)
    source = FLOW.format(flow=scene.flow_name("code"), function="code").replace(
        "count: int", "words: str = 'few', count: int"
    )
    scene.write("flows/code/workflow.py", source)
