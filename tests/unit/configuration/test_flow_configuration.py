"""A flow's `deployment.yaml`: layers, sections, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meta_flows.configuration import Document, FlowConfiguration, explain, flow_configuration, load_environment
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.models import FlowParameter
from tests.unit.configuration.conftest import Write, a_flow, errors_of

FILE = "flows/sales/deployment.yaml"


def configured(root: Path, environment: str = "dev", *parameters: str, **options: Any) -> FlowConfiguration:
    return flow_configuration(a_flow(*parameters), load_environment(root, environment), root, **options)


def test_a_flow_of_which_no_file_says_anything_is_deployed_as_python(tmp_path: Path) -> None:
    flow = a_flow(file=False)
    configuration = flow_configuration(flow, load_environment(tmp_path, "dev"), tmp_path)
    assert configuration.model_dump() == {
        "slug": "sales",
        "kinds": {"python": {"job_variables": {}, "resource_limits": None, "work_queue": None, "scheduled": True}},
        "schedules": (),
        "parameters": {},
        "tags": (),
        "description": "What the docstring says.",
        "concurrency_limit": None,
        "paused": None,
        "enforce_parameter_schema": True,
        "ignore": [],
        "allow_plain": [],
        "prune": None,
        "replaces": None,
    }
    assert configuration.origin("description") == "flows/sales/workflow.py:7"


def test_the_later_layer_wins_and_is_named(write: Write) -> None:
    root = write(
        {
            "environments/development.yaml": "default_parameters: {cleanup: true, batch_size: 1, unknown: 1}",
            "environments/production.yaml": "default_parameters: {cleanup: false}",
            FILE: """\
                parameters:
                  batch_size: 2
                  limit: 3
                tags: [a, b]
                flows:
                  Sales:
                    slug: turnover
                    parameters:
                      limit: 4
                    environments:
                      dev:
                        tags: [c]
                environments:
                  development:
                    concurrency_limit: 5
                    description: For developers.
                  prod:
                    parameters: {limit: 6}
                """,
        }
    )
    given = Document.from_data({"parameters": {"limit": 7}}, "command line")
    development = configured(root, "dev", "cleanup", "batch_size", "limit", overrides=given)
    settings = {setting.path: (setting.value, setting.origin) for setting in explain(development)}
    assert settings == {
        "slug": ("turnover", f"{FILE}:7"),
        "kinds.python.job_variables": ({}, "built-in default"),
        "kinds.python.scheduled": (True, "built-in default"),
        "schedules": ([], "built-in default"),
        "parameters.cleanup": (True, "environments/development.yaml:1"),
        "parameters.batch_size": (2, f"{FILE}:2"),
        "parameters.limit": (7, "command line"),
        "tags": (["c"], f"{FILE}:12"),
        "description": ("For developers.", f"{FILE}:16"),
        "concurrency_limit.limit": (5, f"{FILE}:15"),
        "concurrency_limit.collision_strategy": ("ENQUEUE", f"{FILE}:15"),
        "enforce_parameter_schema": (True, "built-in default"),
        "ignore": ([], "built-in default"),
        "allow_plain": ([], "built-in default"),
    }
    production = configured(root, "production", "cleanup", "batch_size", "limit")
    assert production.parameters == {"cleanup": False, "batch_size": 2, "limit": 6}
    assert (production.tags, production.concurrency_limit) == (("a", "b"), None)


def test_each_kind_has_what_is_stated_for_all_and_its_own_on_top(write: Write) -> None:
    root = write(
        {
            "environments/development.yaml": """\
                work_pools:
                  python: {name: p, work_queue: slow}
                  docker: d
                resource_limits: {memory: 1Gi, cpu: 1}
                """,
            "environments/templates/docker.yaml": "work_pool: d",
            FILE: """\
                job_variables: {env: {A: "1", B: "1"}}
                resource_limits: {memory: 2Gi}
                kinds:
                  python:
                  docker:
                    job_variables: {env: {B: "2"}, networks: [n]}
                    resource_limits: {cpu: 500m}
                    work_queue: fast
                """,
        }
    )
    kinds = configured(root).model_dump()["kinds"]
    assert kinds == {
        "python": {
            "job_variables": {"env": {"A": "1", "B": "1"}},
            "resource_limits": {"memory": "2Gi", "cpu": "1"},
            "work_queue": "slow",
            "scheduled": True,
        },
        "docker": {
            "job_variables": {"env": {"A": "1", "B": "2"}, "networks": ["n"]},
            "resource_limits": {"memory": "2Gi", "cpu": "500m"},
            "work_queue": "fast",
            "scheduled": True,
        },
    }


@pytest.mark.parametrize(
    ("kinds", "dockerfile", "pool", "expected"),
    [
        ("", False, True, ["python"]),
        ("", True, False, ["python"]),
        ("", True, True, ["python", "docker"]),
        ("kinds: [docker]", False, True, ["docker"]),
        ("kinds: [python]", True, True, ["python"]),
        ("kinds: []", True, True, []),
        ("kinds:", True, True, ["python", "docker"]),
    ],
)
def test_a_flow_with_a_dockerfile_is_a_docker_deployment_too_where_there_is_a_pool(
    write: Write, kinds: str, dockerfile: bool, pool: bool, expected: list[str]
) -> None:
    root = write(
        {
            "environments/development.yaml": "work_pools: {docker: d}" if pool else "",
            "environments/templates/docker.yaml": "work_pool: d",
            FILE: kinds,
        }
    )
    flow = a_flow().model_copy(update={"dockerfile_path": "flows/sales/Dockerfile" if dockerfile else None})
    assert list(flow_configuration(flow, load_environment(root, "dev"), root).kinds) == expected


@pytest.mark.parametrize(
    ("path", "name", "file", "siblings", "slug"),
    [
        pytest.param(
            "flows/rpa1/workflow.py", "RPA1 Flow", True, 1, "rpa1", id="the folder, with a file that describes it"
        ),
        pytest.param("flows/rpa1/process.py", "RPA1 Flow", True, 1, "rpa1", id="whatever the module is called"),
        pytest.param(
            "flows/rpa1/workflow.py", "RPA1 Flow", False, 1, "rpa1", id="the folder, with a usual module name"
        ),
        pytest.param(
            "flows/etl.py", "RPA1ProcessingFlow", False, 1, "rpa1processingflow", id="the flow, of a lone module"
        ),
        pytest.param("flows/rpa1/workflow.py", "Load Orders!", True, 2, "load-orders", id="the flow, of several"),
        pytest.param("flows/My_Folder/main.py", "x", False, 1, "my-folder", id="made safe"),
        pytest.param("workflow.py", "x", False, 1, "x", id="no folder"),
    ],
)
def test_the_slug_is_the_folder_or_the_flow(
    write: Write, path: str, name: str, file: bool, siblings: int, slug: str
) -> None:
    flow = a_flow(name=name, path=path, file=file)
    root = write({flow.deployment_file: ""} if flow.deployment_file else {})
    others = [a_flow(name=f"other {number}", path=path) for number in range(1, siblings)]
    configuration = flow_configuration(flow, load_environment(root, "dev"), root, siblings=[flow, *others])
    assert configuration.slug == slug


def test_a_section_names_its_flow_or_its_function(write: Write) -> None:
    flows = [a_flow(name=name, path=f"flows/sales/{name}.py") for name in ("Load", "Sum", "Report")]
    root = write({FILE: "flows:\n  Load: {slug: one}\n  sum: {slug: two}\n  report: \n"})
    environment = load_environment(root, "dev")
    slugs = [flow_configuration(flow, environment, root, siblings=flows).slug for flow in flows]
    assert slugs == ["one", "two", "report"]


@pytest.mark.parametrize(
    ("text", "wrong", "message"),
    [
        ("slgu: x", ("MF202", 1), "unknown key 'slgu', did you mean 'slug'?"),
        ("kinds: python", ("MF203", 1), "'kinds': must be a list of kinds, or a mapping"),
        ("kinds: [kubernetes]", ("MF210", 1), "kind 'kubernetes' needs a work pool in environment 'development'"),
        ("tags: [1]", ("MF203", 1), "'tags': must be text, not 1"),
        ("concurrency_limit: 0", ("MF203", 1), "must be greater than 0, not 0"),
        ("concurrency_limit: {collision_strategy: ENQUEUE}", ("MF203", 1), "'limit': is required"),
        ("concurrency_limit: {limit: 1, collision_strategy: WAIT}", ("MF203", 1), "must be 'ENQUEUE' or 'CANCEL_NEW'"),
        ("parameters:\n  a: 1\n  batch_sizes: 2", ("MF211", 3), "'batch_sizes', did you mean 'batch_size'?"),
        ("environments:\n  prod:\n    parameters: {x: 1}", ("MF211", 3), "no parameter 'x'"),
        ("schedules:\n- cron: 0 6 * * *\n  parameters: {x: 1}", ("MF211", 3), "no parameter 'x'"),
        ("schedules:\n- slug: s\n  cron: 0 6 * *", ("MF205", 3), "schedule 's': cron is no cron expression"),
        ("schedules:\n- cron: 0 6 * * *\n  timezone: X", ("MF206", 3), "unknown time zone 'X'"),
        ("schedules:\n- cron: 0 6 * * *\n- cron: 0 7 * * *", ("MF207", 3), "several schedules have no slug"),
        ("environments:\n  pord: {}", ("MF204", 2), "no environment 'pord', did you mean 'prod'?"),
        ("environments:\n  prod: {slug: x}", ("MF202", 2), "unknown key 'slug'"),
        ("flows:\n  Sals: {}", ("MF213", 2), "no flow 'Sals' here, did you mean 'Sales'?"),
        ("flows: {sales: {environments: {\nqa: {}}}}", ("MF204", 2), "no environment 'qa'"),
        ("flows: {sales: {schedules: [{cron: 1}]}}", ("MF203", 1), "'cron': must be text, not 1"),
        ("flows: {parameters: {schedulez: []}}", ("MF202", 1), "did you mean 'schedules'?"),
        ("job_variables:\n  env:\n    DB_PASSWORD: hunter2", ("MF301", 3), "'DB_PASSWORD' looks like a secret"),
        ("kinds: {python: {job_variables: {env: {API_TOKEN: x}}}}", ("MF301", 1), "'API_TOKEN' looks like a secret"),
        ("resource_limits: {memory: 1 GB}", ("MF212", 1), "'1 GB' is not an amount of memory"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write: Write, text: str, wrong: tuple[str, int], message: str) -> None:
    root = write({FILE: text, "environments/development.yaml": "", "environments/production.yaml": ""})
    with pytest.raises(MetaFlowsError) as refused:
        configured(root, "dev", "a", "batch_size")
    assert set(errors_of(refused)) >= {(wrong[0], FILE, wrong[1])}
    assert message in refused.value.errors[0].message
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "kinds:\njob_variables:\ntags:\nparameters:\nschedules:\nflows:\nenvironments:", "flows: {sales: }"]
)
def test_what_is_left_blank_is_not_stated(write: Write, text: str) -> None:
    assert configured(write({FILE: text})).kinds.keys() == {"python"}


def test_everything_wrong_is_said_at_once(write: Write) -> None:
    text = "parameters: {x: 1}\nenvironments: {qa: {}}\nkinds: [ecs]\nflows: {Nobody: {}}"
    with pytest.raises(MetaFlowsError) as refused:
        configured(write({FILE: text}))
    assert sorted(code for code, *_ in errors_of(refused)) == ["MF204", "MF210", "MF210", "MF211", "MF213"]


@pytest.mark.parametrize("key", ["slug", "description"])
def test_what_is_meant_for_one_flow_cannot_stand_at_the_top_of_a_file_for_several(write: Write, key: str) -> None:
    root = write({FILE: f"tags: [a]\n{key}: x"})
    flows = [a_flow(), a_flow(name="Other")]
    with pytest.raises(MetaFlowsError) as refused:
        flow_configuration(flows[0], load_environment(root, "dev"), root, siblings=flows)
    assert errors_of(refused) == [("MF214", FILE, 2)]
    assert "configures 2 flows" in str(refused.value)


def test_a_function_that_several_flows_share_names_none_of_them(write: Write) -> None:
    flows = [a_flow(name=name).model_copy(update={"function_name": "main"}) for name in ("A", "B")]
    root = write({FILE: "flows:\n  main: {slug: x}"})
    with pytest.raises(MetaFlowsError) as refused:
        flow_configuration(flows[0], load_environment(root, "dev"), root, siblings=flows)
    assert errors_of(refused) == [("MF213", FILE, 2)]


def test_a_broken_file_beside_a_flow_changes_nothing_for_it(write: Write) -> None:
    root = write({FILE: "flows: {Load: {tags: [a]}, Unparsed: {}}"})
    load = a_flow(name="Load", path="flows/sales/load.py")
    whole = [load, a_flow(name="Unparsed", path="flows/sales/other.py")]
    broken = [
        load,
        whole[1].model_copy(update={"name": "flows/sales/other.py", "function_name": "", "is_valid": False}),
    ]
    environment = load_environment(root, "dev")
    before, after = (flow_configuration(load, environment, root, siblings=siblings) for siblings in (whole, broken))
    assert before == after
    assert (after.slug, after.tags) == ("load", ("a",))


def test_what_goes_into_kwargs_is_one_parameter(write: Write) -> None:
    kwargs = FlowParameter(name="kwargs", variadic=True)
    flow = a_flow("a").model_copy(update={"parameters": (FlowParameter(name="a"), kwargs)})
    root = write({FILE: "parameters: {a: 1, kwargs: {b: 2}}"})
    environment = load_environment(root, "dev")
    assert flow_configuration(flow, environment, root).parameters == {"a": 1, "kwargs": {"b": 2}}
    with pytest.raises(MetaFlowsError, match="MF211 flow 'Sales' has no parameter 'b'"):
        flow_configuration(flow, environment, write({FILE: "parameters: {b: 2}"}))


def test_an_unknown_parameter_of_the_command_line_is_refused(write: Write) -> None:
    with pytest.raises(MetaFlowsError) as refused:
        configured(write({FILE: ""}), overrides=Document.from_data({"parameters": {"x": 1}}, "command line"))
    assert errors_of(refused) == [("MF211", "command line", None)]


def test_a_missing_deployment_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MetaFlowsError, match=f"MF215 .*{FILE}"):
        configured(tmp_path)
