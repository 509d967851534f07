"""The meta-flows themselves as deployments: one of each for an environment, with a run form made for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import prefect

from meta_flows.configuration import Environment, GitSource, Schedule
from meta_flows.desired import sources
from meta_flows.desired.rendering import render_schedule
from meta_flows.diagnostics import refuse
from meta_flows.models import Resource
from meta_flows.prefect_api import compat

META_FLOWS = ("deploy_all", "clean_deployments", "reconcile", "rollback", "check_ui", "validate")
"""Those that are registered, by module and function."""

TAG = "meta-flow"

EVERY_QUARTER_OF_AN_HOUR = Schedule.model_construct(cron="*/15 * * * *")

NOT_IN_FORMS = frozenset({"root", "plan_digest", "approved", "confirm", "jitter", "screenshots"})
"""Parameters for scripts and for the command line: a person has the approval's form, and the folder is the worker's."""


class Loaded(NamedTuple):
    """What Prefect says of a meta-flow.

    Attributes:
        name: The flow's name.
        description: What it is for.
        schema: Its parameter schema.
    """

    name: str
    description: str
    schema: Mapping[str, Any]


def registered_for(tags: Iterable[str]) -> str | None:
    """The environment that a run with these tags was registered for; None for a run of no registered meta-flow."""
    known = set(tags)
    named = (tag.partition(":")[2] for tag in known if tag.startswith("environment:"))
    return next(named, None) if TAG in known else None


def owner(environment: Environment) -> Environment:
    """The same environment as a project of its own: no deploy prunes, cleans or repairs the meta-flows."""
    return environment.model_copy(update={"project": f"{environment.project}-meta-flows"})


def deployment_name(flow_name: str, environment: Environment) -> str:
    """`{flow}-{environment}`, e.g. `deploy-all-dev`, with the project's qualifier between the two if it has one."""
    parts = (flow_name, environment.registration.qualifier, environment.short_name)
    return "-".join(part for part in parts if part)


def render_meta_flow(
    function: str,
    loaded: Loaded,
    environment: Environment,
    root: Path,
    *,
    version: str,
    choices: Mapping[str, Sequence[str]],
) -> Resource:
    """The deployment of one meta-flow for an environment.

    Two runs of one never overlap, and the second waits: to cancel the first would end one that was just approved.

    Args:
        function: Its module and function.
        loaded: What Prefect says of it.
        environment: The environment that it works on, and no other.
        root: The repository, as the worker finds it.
        version: That of this package.
        choices: What the form offers for parameters that are lists.

    Raises:
        MetaFlowsError: MF409, this Prefect's runs would not clone the repository.
    """
    there: dict[str, Any] = {}
    if not compat.pulls_code_for_modules():
        if isinstance(environment.source, GitSource):
            raise refuse("MF409", prefect=prefect.__version__, what="clone the repository for a registered meta-flow")
        there = {"working_dir": str(root)}
    own: dict[str, Any] = {}
    schedule = None
    if function == "reconcile":
        own = {"jitter": environment.reconcile.jitter} if environment.reconcile.jitter else {}
        schedule = environment.reconcile.schedule or (environment.name != "development" and EVERY_QUARTER_OF_AN_HOUR)
    spec = {
        "version": version,
        "description": loaded.description,
        "entrypoint": f"meta_flows.flows.{function}",
        "tags": [TAG, *owner(environment).ownership.tags],
        "parameters": {"environment": environment.name, **own},
        "parameter_openapi_schema": form(loaded.schema, environment.name, choices),
        "enforce_parameter_schema": True,
        "pull_steps": list(sources.repository_steps(environment.source, root, sources.read_checkout(root))),
        "work_pool_name": environment.registration.work_pool or environment.work_pools["python"].name,
        "job_variables": {**there, **environment.registration.job_variables},
        "concurrency_limit": 1,
        "concurrency_options": {"collision_strategy": "ENQUEUE"},
        "schedules": {schedule.slug: render_schedule(schedule, environment)} if schedule else {},
    }
    return Resource(flow_name=loaded.name, name=deployment_name(loaded.name, environment), kind="meta-flow", spec=spec)


def form(schema: Mapping[str, Any], environment: str, choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The parameter schema as people should see it in the UI: readable titles, one field each, choices to choose from.

    The environment is fixed as Prefect's `freeze` does it: shown, and any other value refused.
    """
    shown = {name: item for name, item in schema["properties"].items() if name not in NOT_IN_FORMS}
    properties = {name: _field(name, item, choices) for name, item in shown.items()}
    properties["environment"] |= {
        "description": "Fixed: each environment has a deployment of its own.",
        "readOnly": True,
        "enum": [environment],
        "default": environment,
    }
    return {**schema, "properties": properties}


def _field(name: str, stated: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    alternatives = [item for item in stated.get("anyOf", ()) if item.get("type") != "null"]
    described = {key: value for key, value in stated.items() if key not in ("anyOf", "default")}
    field = {**(alternatives[0] if alternatives else stated), **described}
    field["title"] = name.replace("_", " ").capitalize()
    if name in choices:
        field |= {
            "items": {"type": "string", "enum": list(choices[name])},
            "description": f"Only these {name}; all of them unless any is chosen.",
        }
    return field
