"""The files of this repository: they load, and their schemas are current and as strict as the code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from docs.generate import MODELS, SCHEMAS, json_schema
from meta_flows.configuration import (
    explain,
    flow_configuration,
    load_env_file,
    load_environment,
    load_template,
    templates,
)
from meta_flows.configuration.environment import environment_names
from meta_flows.configuration.reading import load_document
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.discovery import discover
from tests.unit.configuration.conftest import Write

ROOT = Path(__file__).parents[3]
FILES = [
    *((path, "template.schema.json") for path in ROOT.glob("environments/templates/*.yaml")),
    *((path, "environment.schema.json") for path in ROOT.glob("environments/*.yaml")),
    *((path, "deployment.schema.json") for path in ROOT.glob("flows/**/deployment.yaml")),
]


def accepts(schema: str, data: object) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema(MODELS[schema])).is_valid(data))


@pytest.mark.parametrize("name", ["development", "staging", "production"])
def test_every_flow_is_configured_in_every_environment(name: str) -> None:
    environment = load_environment(ROOT, name)
    assert environment.project == "rpa-flows"
    assert environment.project_stated
    flows = discover(ROOT)
    for flow in flows:
        siblings = [other for other in flows if other.deployment_file == flow.deployment_file]
        configuration = flow_configuration(flow, environment, ROOT, siblings=siblings)
        assert [schedule.timing() for schedule in configuration.schedules]
        assert explain(configuration)
        assert not load_env_file(flow, environment, ROOT).keys() & {"PREFECT_API_KEY", "PREFECT_API_URL"}


def test_the_environments_differ_as_the_requirements_say() -> None:
    assert environment_names(ROOT) == {"development": "dev", "production": "prod", "staging": "staging"}
    found = {}
    for name in ("dev", "staging", "prod"):
        environment = load_environment(ROOT, name)
        limits = environment.resource_limits
        assert limits is not None
        found[environment.work_pools["python"].name] = (
            environment.default_parameters,
            limits.memory,
            limits.cpu,
            environment.strict,
        )
    assert found == {
        "dev-python": ({"cleanup": True, "use_distributed": False}, "512Mi", "0.5", False),
        "staging-python": ({"cleanup": True, "use_distributed": True}, "1Gi", "1.0", False),
        "prod-python": ({"cleanup": False, "use_distributed": True}, "2Gi", "2.0", True),
    }


def test_the_python_template_is_the_one_that_is_built_in() -> None:
    assert load_template(ROOT, "python").model_dump(exclude_unset=True) == templates.BUILT_IN["python"]


@pytest.mark.parametrize("name", MODELS)
def test_the_schemas_are_current(name: str) -> None:
    current = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    assert current == json_schema(MODELS[name]), "write them again: make docs"


@pytest.mark.parametrize(("path", "schema"), FILES, ids=[str(path.relative_to(ROOT)) for path, _ in FILES])
def test_the_schemas_accept_the_files_that_name_them(path: Path, schema: str) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == SCHEMAS / schema
    assert accepts(schema, load_document(path, ROOT).data)


@pytest.mark.parametrize(
    ("schema", "data", "accepted"),
    [
        ("environment.schema.json", {}, True),
        ("environment.schema.json", {"work_pools": {"python": "p", "docker": {"name": "d"}}}, True),
        ("environment.schema.json", {"resource_limits": {"cpu": 0.5, "memory": "1Gi"}}, True),
        ("environment.schema.json", {"source": {"type": "git", "repository": "r"}}, True),
        ("environment.schema.json", {"source": {"repository": "r"}}, False),
        ("environment.schema.json", {"projct": "p"}, False),
        ("environment.schema.json", {"docker": {"registri": "r"}}, False),
        ("environment.schema.json", {"source": {"type": "local", "branch": "b"}}, False),
        ("environment.schema.json", {"strict": "yes"}, False),
        ("deployment.schema.json", {"kinds": ["python"], "tags": None, "concurrency_limit": 1}, True),
        ("deployment.schema.json", {"kinds": {"python": None, "docker": {"work_queue": "q"}}}, True),
        ("deployment.schema.json", {"schedules": [{"interval": 60}, {"slug": "b", "interval": "PT1H"}]}, True),
        ("deployment.schema.json", {"flows": {"f": {"slug": "s", "environments": {"dev": None}}}}, True),
        ("deployment.schema.json", {"kinds": {"python": {"queue": "q"}}}, False),
        ("deployment.schema.json", {"environments": {"dev": {"slug": "s"}}}, False),
        ("deployment.schema.json", {"schedules": [{"crn": "x"}]}, False),
        ("template.schema.json", {"work_pool": "p", "pull": [{"step": {}}]}, True),
        ("template.schema.json", {"job_variables": {}}, False),
    ],
)
def test_the_schemas_are_as_strict_as_the_code(schema: str, data: object, accepted: bool) -> None:
    assert accepts(schema, data) is accepted


def test_a_template_is_checked_and_a_missing_one_is_said(write: Write) -> None:
    root = write(
        {"environments/templates/odd.yaml": "work_pol: x", "environments/templates/ok.yaml": "work_pool: '{{ x }}'"}
    )
    assert load_template(root, "ok").work_pool == "{{ x }}"
    with pytest.raises(MetaFlowsError, match=r"templates/odd\.yaml:1:1: MF202 unknown key 'work_pol'"):
        load_template(root, "odd")
    with pytest.raises(MetaFlowsError, match=r"MF210 kind 'docker' needs a template: .*docker\.yaml"):
        load_template(root, "docker")
