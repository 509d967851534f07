"""What is secret is in a deployment or a block, and nowhere that a person or a log reader looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Command, Server, started_server
from tests.shops import Shop
from tests.system.faults.proxy import PASS, Fate, Proxy, Request, refused
from tests.system.faults.scene import LIMITED, Scene
from tests.unit.configuration.test_plain_secrets import DEVELOPMENT, FLOW, MARKER, PLACES, SALES
from tests.waiting import wait_until

MARK = "correct-horse-battery"
"""What every secret begins with; a number tells them apart."""

TYPED: dict[str, Any] = {
    "job_variables": {
        "env": {
            "REGION": "north",
            "DB_PASSWORD": f"{MARK}-1",
            "API_TOKEN": f"{MARK}-2",
            "DATABASE": f"postgres://robot:{MARK}-3@db/shop",
            "NOTE": f"{MARK}-4",
        }
    },
    "parameters": {"count": 2, "api_key": f"{MARK}-5", "remark": f"{MARK}-6"},
}
"""What an operator types into a deployment; the first takes the place of a reference to a block."""

OTHERS = ("flow_runs", "task_runs", "artifacts", "logs", "block_documents", "variables")
"""Where people read; deployments themselves, and so their runs, do hold what was typed into them."""


@pytest.fixture
def scene(tmp_path: Path, server: Server) -> Iterator[Scene]:
    """A repository on the session's server, which keeps events too."""
    with Proxy(server.api_url) as proxy:
        yield Scene(tmp_path, server, proxy)


def read_everywhere(server: Server, since: str) -> Iterator[str]:
    """Everything that the API shows without being asked for secrets, but deployments and their runs."""
    for collection in OTHERS:
        offset = 0
        while page := server.post(f"/{collection}/filter", {"limit": 200, "offset": offset}):
            yield from (json.dumps(item) for item in page if not item.get("deployment_id"))
            offset += len(page)
    found = server.post("/events/filter", {"filter": {"occurred": {"since": since}}, "limit": 50})
    while True:
        # The server itself tells what a PATCH changed, whoever sent it.
        yield from (
            json.dumps(event) for event in found["events"] if not event["event"].startswith("prefect.deployment.")
        )
        if not found["next_page"]:
            return
        found = server.get("/events/filter/next?" + found["next_page"].partition("?")[2])


def write_flow(scene: Scene, region: str, **more: Any) -> None:
    env = {"REGION": region, "DB_PASSWORD": "{{ prefect.blocks.secret." + scene.project + " }}"}
    scene.write_flows(
        {
            "shop": {"parameters": {"count": 2}, "job_variables": {"env": env}, **more},
            "zebra": {"parameters": {"count": 2}, "description": f"Made for {region}."},
        }
    )


def create_secret_block(server: Server, name: str, value: str) -> None:
    kind = server.get("/block_types/slug/secret")["id"]
    (schema, *_) = server.post("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})
    body = {"name": name, "data": {"value": value}, "block_type_id": kind, "block_schema_id": schema["id"]}
    server.post("/block_documents/", body)


def test_no_secret_is_shown_anywhere(scene: Scene) -> None:
    """Deploy, plan, fail, roll back, release and reconcile with secrets about, then read all that can be read."""
    since = datetime.now(timezone.utc).isoformat()
    create_secret_block(scene.server, scene.project, f"{MARK}-0")
    write_flow(scene, "north", schedules=[LIMITED])
    scene.deploy()
    live = scene.server.deployments(scene.project)["shop-python-dev"]
    path = f"/deployments/{live['id']}"
    scene.server.patch(path, TYPED)
    scene.server.patch(f"{path}/schedules/{live['schedules'][0]['id']}", {"parameters": {"password": f"{MARK}-7"}})
    write_flow(scene, "south")

    zebra = f"/api/deployments/{scene.server.deployments(scene.project)['zebra-python-dev']['id']}"
    plan, comment = scene.folder / "plan.json", scene.folder / "plan.md"
    commands = (
        ("plan", "--out", str(plan), "--markdown", str(comment)),
        ("plan", "--json"),
        ("deploy", "--json"),
        ("deploy", "--verbose", "--plan", str(plan)),
        ("releases", "--json"),
        ("rollback", "--verbose"),
        ("reconcile", "--json"),
    )
    said: dict[str, str] = {}
    for words in commands:
        fails = words == ("deploy", "--json")
        ended = scene.run(*words, rule=partial(broken, path=zebra if fails else ""))
        assert ended.code == int(fails), ended.stdout + ended.stderr
        said[" ".join(words[:2])] = ended.stdout + ended.stderr
    said |= {"plan file": plan.read_text(), "comment": comment.read_text()}

    def released_and_told() -> list[str]:
        found = list(read_everywhere(scene.server, since))
        told = "meta-flows.release.succeeded", "meta-flows.release.rolled-back", scene.project
        return found if all(any(word in text for text in found) for word in told) else []

    stored = wait_until(released_and_told)
    assert any("REGION" in text for text in said.values()), "what is no secret is shown"
    for place, text in [*said.items(), *(("on the server", text) for text in stored)]:
        assert not re.findall(f"{MARK}-[0-9]", text), f"{place}: {text}"

    live = scene.server.deployments(scene.project)["shop-python-dev"]
    env = live["job_variables"]["env"]
    assert env["DB_PASSWORD"] == "{{ prefect.blocks.secret." + scene.project + " }}"
    assert (env["API_TOKEN"], live["parameters"]["api_key"]) == (f"{MARK}-2", f"{MARK}-5"), "an operator's word stays"


COMMANDS = (
    ("discover", "--json"),
    ("validate", "--json"),
    ("validate", "--offline", "--verbose"),
    ("plan", "--json"),
    ("plan", "--out", "plan.json", "--markdown", "plan.md"),
    ("build",),
    ("config", "show"),
    ("deploy", "--verbose"),
    ("deploy", "--parameter", f'db={{"password": "{MARKER}"}}'),
    ("register",),
    ("status", "--json"),
    ("reconcile",),
    ("releases", "--json"),
    ("doctor", "--json"),
)


@pytest.mark.parametrize("of_the_environment", [False, True])
def test_what_is_refused_for_a_secret_leaves_no_trace_of_it(
    tmp_path: Path, command: Command, of_the_environment: bool
) -> None:
    home = tmp_path / "server"
    home.mkdir()
    with started_server(home) as server:
        shop = Shop(tmp_path / "shop", server, command)
        fine = {"prefect_api_url": server.api_url, "project": shop.project}
        if of_the_environment:
            secret = [stated for file, stated, _ in PLACES.values() if file == DEVELOPMENT]
            shop.write(DEVELOPMENT, {key: value for each in secret for key, value in each.items()} | fine)
        else:
            for number, (file, stated, _) in enumerate(PLACES.values()):
                if file == SALES:
                    shop.write(f"flows/place{number}/workflow.py", FLOW.replace("sales", f"place{number}"))
                    shop.write(f"flows/place{number}/deployment.yaml", stated)
        given = {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()}
        assert any(MARKER.encode() in content for content in given.values())
        for words in COMMANDS:
            done = shop.meta_flows(*words)
            assert MARKER not in done.stdout + done.stderr, words
        assert len(shop.live()) == (0 if of_the_environment else 3)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path for path in written if MARKER.encode() in written[path] != given.get(path)] == []
    assert home / "prefect.db" in written


def broken(request: Request, path: str) -> Fate:
    """The deployment at a path cannot be changed."""
    return refused(422) if request.method == "PATCH" and request.path == path else PASS
