"""The gallery in tests/repos: for every code two repositories that bring it about, and one that only looks like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from _pytest.mark import ParameterSet
from prefect.workers.base import BaseWorker

import meta_flows
from meta_flows.catalogue import CATALOGUE
from meta_flows.configuration import Selection
from meta_flows.errors import MetaFlowsError, outcome
from meta_flows.flows import deploy_all, validate
from meta_flows.models import DeployResult, ValidationError, ValidationResult, kebab
from meta_flows.offline import validate_deployments, validate_flows
from meta_flows.parameter_schemas import Loaded
from meta_flows.tasks import planning
from meta_flows.tasks.report import result_of
from tests.conftest import Server

Findings = list[dict[str, str]]

REPOS = Path(__file__).parents[1] / "repos"
GALLERY = {folder.name.partition("-")[0]: folder for folder in sorted(REPOS.glob("MF*"))}


def codes(*numbers: int | range) -> set[str]:
    return {f"MF{each}" for number in numbers for each in ([number] if isinstance(number, int) else number)}


NOT_IN_THE_GALLERY = {
    "the command line or the shell asks for what is not there": codes(109, 110, 403, 405, 506, 509, 520, 901),
    "the server cannot be used": codes(401, 402, 404, 406, 408, 409),
    "it takes a deploy, a run or a rollback to meet it": codes(
        418, *range(501, 505), 507, 508, *range(510, 520), 521, 522, 523, 531, 532
    ),
    "it depends on the git checkout around the repository": codes(505),
    "it takes a Docker engine or a registry": codes(601, *range(605, 610), *range(611, 614)),
    "it is how deployments do, and what the UI shows of them": {code for code in CATALOGUE if code.startswith("MF7")},
    "doctor looks at what is around a repository": codes(range(801, 806), range(808, 811)),
    "it is a defect of ours": codes(902),
}
OF_FLOWS = codes(range(101, 107), 108, range(111, 119), range(121, 126))
"""What belongs to a flow whatever the environment: checking the flows alone finds it as well."""
IMPORTED = codes(106, 220, 221)
"""What only shows when flows are imported, in a process for each repository."""
ON_SERVER = codes(407, range(410, 418))
WHEN_PLANNED = codes(407)
"""What `validate` says nothing of, and a plan does."""
OFFLINE = [code for code in GALLERY if code not in ON_SERVER]


def findings(
    root: Path,
    *,
    import_flows: bool = False,
    flows_alone: bool = False,
    server: Server | None = None,
    plan: bool = False,
) -> Findings:
    """All that is said about a repository, as expected.yaml has it.

    Args:
        root: The repository.
        import_flows: Whether each flow is imported.
        flows_alone: Whether the flows are checked for no environment.
        server: A server to check deployments on.
        plan: Whether a deploy is planned there.
    """
    said: ValidationResult | MetaFlowsError
    if server:
        said = on_server(root, server, plan=plan)
    else:
        found = (
            outcome(validate_flows, root, Selection(), import_flows=import_flows)
            if flows_alone
            else outcome(validate_deployments, root, "development", Selection(), import_flows=import_flows)
        )
        said = found if isinstance(found, MetaFlowsError) else found[0]
    return [in_full(error) for error in (*said.errors, *getattr(said, "warnings", ()))]


def on_server(root: Path, server: Server, *, plan: bool) -> ValidationResult | MetaFlowsError:
    with meta_flows.connect("development", root=root, api_url=server.api_url):
        state: Any = (
            deploy_all("development", root=root, dry_run=True, return_state=True)
            if plan
            else validate("development", root=root, return_state=True)
        )
    ended = result_of(state)
    if isinstance(ended, DeployResult):
        return ValidationResult(errors=ended.refused, warnings=ended.warnings)
    assert isinstance(ended, MetaFlowsError), ended
    return ended


def in_full(error: ValidationError) -> dict[str, str]:
    return {
        "code": error.code,
        "severity": error.severity,
        "place": str(error.place or ""),
        "message": error.message,
        "remedy": error.remedy,
    }


def expected(code: str, repository: str) -> Findings:
    """What expected.yaml says; `{version of x}` in it is what is installed here."""
    text = (GALLERY[code] / "expected.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\{version of ([\w-]+)\}", lambda found: version(found[1]), text)
    found: Findings = yaml.safe_load(text)[repository]
    return found


def both_of(found: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(code, each, id=f"{code}-{each}") for code in found for each in ("first", "second")]


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for each repository: none of the flows has a parameter, and their import is not what is looked at."""

    def schemas(_: Path, flows: Mapping[str, Any]) -> dict[str, Loaded]:
        return {entrypoint: Loaded({}) for entrypoint in flows}

    monkeypatch.setattr(planning, "parameter_schemas", schemas)


@pytest.fixture(scope="module")
def furnished(server: Server) -> Server:
    """The session's server with all that tests/repos/server.yaml has."""
    wanted = yaml.safe_load((REPOS / "server.yaml").read_text())
    for name, pool in wanted["work_pools"].items():
        worker, queues = pool.pop("worker", False), pool.pop("queues", {})
        kind: Any = BaseWorker.get_worker_class_from_type(pool["type"])
        body = {"name": name, "base_job_template": kind.get_default_base_job_template(), **pool}
        server.post("/work_pools/", body)
        for queue, stated in queues.items():
            server.post(f"/work_pools/{name}/queues", {"name": queue, **stated})
        if worker:  # one that is not expected to say so again while the tests run
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


@pytest.mark.parametrize(("code", "repository"), both_of(OFFLINE))
def test_each_defect_gives_exactly_its_code_line_and_remedy(code: str, repository: str) -> None:
    root, wanted = GALLERY[code] / repository, expected(code, repository)
    assert {item["code"] for item in wanted} == {code}
    assert findings(root, import_flows=code in IMPORTED) == wanted
    alone = findings(root, flows_alone=True, import_flows=code in IMPORTED & OF_FLOWS)
    assert alone == (wanted if code in OF_FLOWS else [item for item in wanted if item in alone])


@pytest.mark.parametrize("code", OFFLINE)
def test_its_near_miss_gives_nothing(code: str) -> None:
    root = GALLERY[code] / "near-miss"
    assert findings(root, import_flows=code in IMPORTED) == []
    assert findings(root, flows_alone=True) == []


@pytest.mark.parametrize(("code", "repository"), both_of(sorted(ON_SERVER)))
@pytest.mark.usefixtures("nothing_imported")
def test_each_defect_that_takes_a_server_gives_exactly_its_code_line_and_remedy(
    furnished: Server, code: str, repository: str
) -> None:
    root, wanted = GALLERY[code] / repository, expected(code, repository)
    assert {item["code"] for item in wanted} == {code}
    assert findings(root, server=furnished, plan=code in WHEN_PLANNED) == wanted


@pytest.mark.parametrize("code", sorted(ON_SERVER))
@pytest.mark.usefixtures("nothing_imported")
def test_its_near_miss_gives_nothing_on_a_server(furnished: Server, code: str) -> None:
    assert findings(GALLERY[code] / "near-miss", server=furnished, plan=code in WHEN_PLANNED) == []


def test_every_code_that_a_repository_can_bring_about_is_in_the_gallery() -> None:
    assert set(GALLERY) == set(CATALOGUE) - set().union(*NOT_IN_THE_GALLERY.values())


@pytest.mark.parametrize("code", GALLERY)
def test_a_folder_of_the_gallery_is_called_as_its_code(code: str) -> None:
    folder = GALLERY[code]
    assert folder.name == f"{code}-{kebab(CATALOGUE[code].title)}"
    assert sorted(path.name for path in folder.iterdir()) == ["expected.yaml", "first", "near-miss", "second"]
