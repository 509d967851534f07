"""What the folder of every example flow promises whoever copies it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from prefect import Flow, Task
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema_from_entrypoint

ROOT = Path(__file__).parents[3]
SCHEDULES = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
pytestmark = pytest.mark.parametrize("slug", ["rpa1", "rpa2", "rpa3"])


def entrypoint(slug: str) -> str:
    return f"{ROOT / 'flows' / slug / 'workflow.py'}:{slug}_workflow"


def deployment(slug: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "flows" / slug / "deployment.yaml").read_text(encoding="utf-8"))
    return content


def test_prefect_loads_the_flow_from_its_file(slug: str) -> None:
    assert load_flow_from_entrypoint(entrypoint(slug)).name == f"{slug.upper()}ProcessingFlow"


def test_every_parameter_has_a_help_text_and_a_default_in_the_run_form(slug: str) -> None:
    schema = parameter_schema_from_entrypoint(entrypoint(slug))
    assert {"cleanup", "batch_size"} <= schema.properties.keys()
    assert [name for name, field in schema.properties.items() if not field.get("description")] == []
    assert schema.required == []


def test_every_task_run_has_a_name(slug: str) -> None:
    module = inspect.getmodule(load_flow_from_entrypoint(entrypoint(slug)).fn)
    tasks = [value for value in vars(module).values() if isinstance(value, Task)]
    assert tasks
    assert [task.name for task in tasks if not task.task_run_name] == []


def test_only_the_standard_library_prefect_and_pydantic_are_imported(slug: str) -> None:
    tree = ast.parse((ROOT / "flows" / slug / "workflow.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.split(".")[0] for name in imported} - sys.stdlib_module_names == {"prefect", "pydantic"}


def test_deployment_parameters_are_accepted_by_the_flow(slug: str) -> None:
    spec = deployment(slug)
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint(slug))
    assert spec["slug"] == slug
    for section in (spec, *spec["environments"].values()):
        assert flow.validate_parameters(section["parameters"]).items() >= section["parameters"].items()


def test_schedules_are_what_prefect_can_schedule(slug: str) -> None:
    for schedule in deployment(slug)["schedules"]:
        assert schedule.pop("slug")
        (kind,) = schedule.keys() & SCHEDULES.keys()
        assert SCHEDULES[kind](**schedule)


def test_the_flow_reads_the_settings_of_its_env_files_and_no_others(slug: str) -> None:
    folder = ROOT / "flows" / slug
    read = set(re.findall(r"os\.environ\.get\(\"(\w+)\"", (folder / "workflow.py").read_text(encoding="utf-8")))
    assert read
    for environment in ("development", "staging", "production", "example"):
        values = dotenv_values(folder / f".env.{environment}")
        assert values.keys() == read
        assert all(values.values())
    assert not [name for name in read if re.search("KEY|TOKEN|PASSW|SECRET|CREDENTIAL", name)]
