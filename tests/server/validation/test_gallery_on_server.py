"""The codes of the gallery that take a server, on a real one: one defect of each, all of those that planning finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

import meta_flows
from meta_flows.desired.parameter_schemas import LoadedSchema
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.flows import deploy_all, validate
from meta_flows.models import DeployResult, ValidationResult
from meta_flows.tasks import planning
from meta_flows.tasks.report import result_of
from tests.gallery import (
    ON_SERVER,
    PLANNED,
    Findings,
    base_job_template,
    build_repository,
    expected,
    in_full,
    read_server,
)
from tests.servers import Server

DEFECTS = [(code, "first") for code in sorted(ON_SERVER)] + [(code, "second") for code in sorted(PLANNED)]


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for each repository: none of the flows has a parameter, and their import is not what is looked at."""

    def schemas(_: Path, flows: Mapping[str, Any]) -> dict[str, LoadedSchema]:
        return {entrypoint: LoadedSchema({}) for entrypoint in flows}

    monkeypatch.setattr(planning, "parameter_schemas", schemas)


@pytest.fixture(scope="module")
def furnished(server: Server) -> Server:
    """The session's server with all that server.yaml of the gallery has."""
    wanted = read_server()
    for name, pool in wanted["work_pools"].items():
        stated = {key: value for key, value in pool.items() if key not in ("worker", "queues")}
        server.post("/work_pools/", {"name": name, "base_job_template": base_job_template(pool["type"]), **stated})
        for queue, more in pool.get("queues", {}).items():
            server.post(f"/work_pools/{name}/queues", {"name": queue, **more})
        if pool.get("worker"):  # one that is not expected to say so again while the tests run
            beat = {"name": "worker", "heartbeat_interval_seconds": 3600}
            httpx.post(f"{server.api_url}/work_pools/{name}/workers/heartbeat", json=beat).raise_for_status()
    block_type = server.get("/block_types/slug/secret")
    [schema, *_] = server.post(
        "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [block_type["id"]]}}}
    )
    for name in wanted["secret_blocks"]:
        body = {"name": name, "block_type_id": block_type["id"], "block_schema_id": schema["id"]}
        server.post("/block_documents/", {**body, "data": {"value": "for tests"}})
    for name in wanted["variables"]:
        server.post("/variables/", {"name": name, "value": "north"})
    return server


def findings(root: Path, server: Server, *, plan: bool = False) -> Findings:
    """All that is said about a repository on a server, when it is validated or when a deploy is planned."""
    with meta_flows.connect("development", root=root, api_url=server.api_url):
        state: Any = (
            deploy_all("development", root=root, dry_run=True, return_state=True)
            if plan
            else validate("development", root=root, return_state=True)
        )
    ended = result_of(state)
    if isinstance(ended, DeployResult):
        return in_full(ValidationResult(errors=ended.refused, warnings=ended.warnings))
    assert isinstance(ended, MetaFlowsError), ended
    return in_full(ended)


@pytest.mark.parametrize(("code", "repository"), DEFECTS, ids=map("-".join, DEFECTS))
@pytest.mark.usefixtures("nothing_imported")
def test_each_defect_that_takes_a_server_gives_exactly_its_code_line_and_remedy(
    furnished: Server, tmp_path: Path, code: str, repository: str
) -> None:
    root, wanted = build_repository(code, repository, tmp_path), expected(code, repository)
    assert {item["code"] for item in wanted} == {code}
    assert findings(root, furnished) == wanted


@pytest.mark.parametrize("code", sorted(PLANNED))
@pytest.mark.usefixtures("nothing_imported")
def test_a_planned_deploy_says_the_same(furnished: Server, tmp_path: Path, code: str) -> None:
    root = build_repository(code, "first", tmp_path)
    assert findings(root, furnished, plan=True) == expected(code, "first")


@pytest.mark.parametrize("code", sorted(PLANNED))
@pytest.mark.usefixtures("nothing_imported")
def test_its_near_miss_gives_nothing_on_a_server(furnished: Server, tmp_path: Path, code: str) -> None:
    root = build_repository(code, "near-miss", tmp_path)
    assert findings(root, furnished) == []
    assert findings(root, furnished, plan=True) == []
