"""The gallery in gallery/: what needs no server, and rules that need what one has, told what server.yaml says."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from meta_flows import validation
from meta_flows.configuration import Environment, Selection, configure, load_environment, load_template
from meta_flows.desired.deployments import Images, describe_images, render_all
from meta_flows.desired.parameter_schemas import LoadedSchema
from meta_flows.diagnostics import MetaFlowsError, catalogue, result_or_error
from meta_flows.discovery import discover
from meta_flows.models import Resource, kebab
from meta_flows.validation import Pool, Reference, ServerObjects
from meta_flows.validation.pipeline import validate_offline, validate_repository
from tests.gallery import (
    FOLDER,
    GALLERY,
    ON_SERVER,
    PLANNED,
    Findings,
    base_job_template,
    build_repository,
    codes,
    expected,
    in_full,
    read,
    read_server,
)

NOT_IN_THE_GALLERY = {
    "the command line or the shell asks for what is not there": codes(109, 110, 403, 405, 506, 509, 520, 901),
    "the server cannot be used": codes(401, 402, 404, 406, 408, 409),
    "it takes a deploy, a run or a rollback to meet it": codes(
        418, *range(501, 505), 507, 508, *range(510, 520), 521, 522, 523, 531, 532
    ),
    "it depends on the git checkout around the repository": codes(505),
    "it takes a Docker engine or a registry": codes(601, *range(605, 610), *range(611, 614)),
    "it is how deployments do, and what the UI shows of them": {code for code in catalogue() if code.startswith("MF7")},
    "doctor looks at what is around a repository": codes(range(801, 806), range(808, 811)),
    "it is a defect of ours": codes(902),
}
OF_FLOWS = codes(range(101, 107), 108, range(111, 120), range(121, 126))
"""What belongs to a flow whatever the environment: checking the flows alone finds it as well."""
IMPORTED = codes(106, 220, 221)
"""What only shows when flows are imported, in a process for each repository."""
OFFLINE = [code for code in GALLERY if code not in ON_SERVER]
WITH_SURROUNDINGS = sorted(ON_SERVER - PLANNED)


def both_of(found: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(code, each, id=f"{code}-{each}") for code in found for each in ("first", "second")]


def findings(root: Path, *, import_flows: bool = False, flows_alone: bool = False) -> Findings:
    """All that is said about a repository without a server.

    Args:
        root: The repository.
        import_flows: Whether each flow is imported.
        flows_alone: Whether the flows are checked for no environment.
    """
    found = (
        result_or_error(validate_repository, root, Selection(), import_flows=import_flows)
        if flows_alone
        else result_or_error(validate_offline, root, "development", Selection(), import_flows=import_flows)
    )
    return in_full(found if isinstance(found, MetaFlowsError) else found[0])


def findings_with_surroundings(root: Path) -> Findings:
    """All that is said about a repository whose deployments go to the server that server.yaml describes."""
    environment, flows = load_environment(root, "development"), discover(root)
    configured = configure(root, flows, environment, Selection(), parameters={})
    configured = validation.check_configured(root, flows, configured, environment, whole=True)
    images = Images(describe_images(root, configured, environment))
    schemas = {item.flow.entrypoint: LoadedSchema({}) for item in configured.flows}
    rendered = render_all(root, configured, environment, images, released={}, schemas=schemas)
    server_objects = surroundings_of(rendered.deployments, environment)
    template = cache(partial(load_template, root))
    _, found = validation.check_deployments(configured, rendered.deployments, environment, server_objects, template)
    said = (*configured.refused, *configured.warnings, *rendered.refused, *rendered.warnings)
    return in_full(validation.result((*said, *found.errors, *found.warnings)))


def surroundings_of(deployments: Iterable[Resource], environment: Environment) -> ServerObjects:
    """What the server has that deployments use, with the work pools that a deploy makes for them first."""
    server, pools = read_server(), dict[str, Pool]()
    stated = {pool.name: pool.spec for pool in environment.work_pools.values()}
    for name in {deployment.spec["work_pool_name"] for deployment in deployments}:
        if live := server["work_pools"].get(name):
            paused = {queue for queue, more in live.get("queues", {}).items() if more.get("is_paused")}
            pools[name] = Pool(
                variables=base_job_template(live["type"])["variables"],
                limit=live.get("concurrency_limit"),
                paused=frozenset(paused | ({None} if live.get("is_paused") else set())),
                polled=live.get("worker", False),
            )
        elif new := stated.get(name):
            pools[name] = Pool(base_job_template(new["type"])["variables"], new.get("concurrency_limit"))
    blocks = {Reference("block", f"secret/{name}") for name in server["secret_blocks"]}
    variables = {Reference("variable", name) for name in server["variables"]}
    return ServerObjects(pools, blocks | variables)


@pytest.mark.parametrize(("code", "repository"), both_of(OFFLINE))
def test_each_defect_gives_exactly_its_code_line_and_remedy(tmp_path: Path, code: str, repository: str) -> None:
    root, wanted = build_repository(code, repository, tmp_path), expected(code, repository)
    assert {item["code"] for item in wanted} == {code}
    assert findings(root, import_flows=code in IMPORTED) == wanted
    alone = findings(root, flows_alone=True, import_flows=code in IMPORTED & OF_FLOWS)
    assert alone == (wanted if code in OF_FLOWS else [item for item in wanted if item in alone])


@pytest.mark.parametrize("code", OFFLINE)
def test_its_near_miss_gives_nothing(tmp_path: Path, code: str) -> None:
    root = build_repository(code, "near-miss", tmp_path)
    assert findings(root, import_flows=code in IMPORTED) == []
    assert findings(root, flows_alone=True) == []


@pytest.mark.parametrize(("code", "repository"), both_of(WITH_SURROUNDINGS))
def test_what_the_server_has_makes_a_defect_of_it_with_exactly_its_code_line_and_remedy(
    tmp_path: Path, code: str, repository: str
) -> None:
    root, wanted = build_repository(code, repository, tmp_path), expected(code, repository)
    assert {item["code"] for item in wanted} == {code}
    assert findings_with_surroundings(root) == wanted


@pytest.mark.parametrize("code", WITH_SURROUNDINGS)
def test_what_the_server_has_makes_nothing_of_its_near_miss(tmp_path: Path, code: str) -> None:
    assert findings_with_surroundings(build_repository(code, "near-miss", tmp_path)) == []


def test_every_code_that_a_repository_can_bring_about_is_in_the_gallery() -> None:
    assert set(GALLERY) == set(catalogue()) - set().union(*NOT_IN_THE_GALLERY.values())
    assert {*FOLDER.iterdir()} == {*GALLERY.values(), FOLDER / "server.yaml"}


@pytest.mark.parametrize("code", GALLERY)
def test_a_file_of_the_gallery_is_called_as_its_code(code: str) -> None:
    assert GALLERY[code].name == f"{code}-{kebab(catalogue()[code].title)}.yaml"
    stated = {name: [*repository] for name, repository in read(code).items()}
    assert stated == {"first": ["files", "findings"], "second": ["files", "findings"], "near-miss": ["files"]}
