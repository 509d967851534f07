"""The meta-flows themselves as deployments: one of each per environment, with a run form for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import prefect
from prefect.flows import Flow, load_flow_from_entrypoint

from meta_flows.configuration import Environment, GitSource, Schedule
from meta_flows.desired import sources
from meta_flows.diagnostics import refuse
from meta_flows.models import Resource
from meta_flows.prefect_api import compat

META_FLOWS = ("deploy_all", "clean_deployments", "reconcile", "rollback", "check_ui", "validate")
"""The registered meta-flows, by the name of their module and function."""

TAG = "meta-flow"

EVERY_QUARTER_OF_AN_HOUR = Schedule.model_construct(cron="*/15 * * * *")

NOT_IN_FORMS = frozenset({"root", "plan_digest", "approved", "confirm", "jitter", "screenshots"})
"""Parameters for scripts and the command line only: people approve in a form, and the worker knows the folder."""


def registered_for(tags: Iterable[str]) -> str | None:
    """Return the environment that a run with these tags was registered for; None if it is no registered meta-flow."""
    known = set(tags)
    named = (tag.partition(":")[2] for tag in known if tag.startswith("environment:"))
    return next(named, None) if TAG in known else None


def owner(environment: Environment) -> Environment:
    """Return the environment under a project of its own, so that no deploy prunes or cleans the meta-flows."""
    return environment.model_copy(update={"project": f"{environment.project}-meta-flows"})


def registered_name(flow_name: str, environment: Environment) -> str:
    """Return `{flow}-{environment}`, e.g. `deploy-all-dev`, with the project's qualifier in between if it has one."""
    parts = (flow_name, environment.registration.qualifier, environment.short_name)
    return "-".join(part for part in parts if part)


def render_meta_flow(
    function: str, environment: Environment, root: Path, choices: Mapping[str, Sequence[str]]
) -> Resource:
    """Return the deployment of one meta-flow for an environment.

    Runs of one meta-flow never overlap: a second run waits. Cancelling the first could end one that was just approved.

    Args:
        function: Its module and function.
        environment: The environment that it works on.
        root: The repository, as the worker finds it.
        choices: The options that the form offers for list parameters.

    Raises:
        MetaFlowsError: MF409, the installed Prefect cannot clone the repository for such runs.
    """
    variables: dict[str, Any] = {}
    if not compat.pulls_code_for_modules():
        if isinstance(environment.source, GitSource):
            raise refuse("MF409", prefect=prefect.__version__, what="clone the repository for a registered meta-flow")
        variables = {"working_dir": str(root)}
    parameters: dict[str, Any] = {"environment": environment.name}
    schedule = None
    if function == "reconcile":
        parameters |= {"jitter": environment.reconcile.jitter} if environment.reconcile.jitter else {}
        schedule = environment.reconcile.schedule or (environment.name != "development" and EVERY_QUARTER_OF_AN_HOUR)
    entrypoint = f"meta_flows.flows.{function}"
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    spec = {
        "version": version("meta_flows"),
        "description": (flow.description or "").partition("\nArgs:")[0].strip(),
        "entrypoint": entrypoint,
        "tags": [TAG, *owner(environment).ownership.tags],
        "parameters": parameters,
        "parameter_openapi_schema": _form(flow.parameters.model_dump_for_openapi(), environment.name, choices),
        "enforce_parameter_schema": True,
        "pull_steps": list(sources.repository_steps(environment.source, root, sources.read_checkout(root))),
        "work_pool_name": environment.registration.work_pool or environment.work_pools["python"].name,
        "job_variables": {**variables, **environment.registration.job_variables},
        "concurrency_limit": 1,
        "concurrency_options": {"collision_strategy": "ENQUEUE"},
        "schedules": {schedule.slug: schedule.spec(active=environment.schedules_active)} if schedule else {},
    }
    return Resource(flow_name=flow.name, name=registered_name(flow.name, environment), kind="meta-flow", spec=spec)


def _form(schema: Mapping[str, Any], environment: str, choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return a parameter schema for people in the UI: readable titles, one field per parameter, lists of options.

    The environment is fixed as Prefect's `freeze` does it: it is shown, and any other value is rejected.
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


def _field(name: str, schema: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    alternatives = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    common = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    field = {**(alternatives[0] if alternatives else schema), **common}
    field["title"] = name.replace("_", " ").capitalize()
    if name in choices:
        field |= {
            "items": {"type": "string", "enum": list(choices[name])},
            "description": f"Only these {name}; all of them unless any is chosen.",
        }
    return field
