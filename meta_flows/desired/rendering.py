"""From a flow and its configuration to the complete body of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_flows.configuration import (
    ConfiguredFlow,
    Document,
    Environment,
    GitSource,
    LocalSource,
    Schedule,
    Template,
    deployment_name,
    placeholders,
)
from meta_flows.configuration.documents import leaves
from meta_flows.configuration.environment import ResourceLimits
from meta_flows.configuration.secrets import plain_secrets
from meta_flows.configuration.sections import cpu_count, memory_bytes
from meta_flows.desired.sources import PullSteps
from meta_flows.diagnostics import MetaFlowsError, diagnostic, did_you_mean, refuse
from meta_flows.images import Image
from meta_flows.models import FlowMetadata, Location, Resource
from meta_flows.planning import PRUNE_TAG
from meta_flows.prefect_api.compat import PlaceholderType, apply_values

VERSION_LENGTH = 12
"""Hexadecimal digits of the source digest that make a version: enough to be unique, short enough to read."""

RUN_TIME_PREFIX = "ctx."
"""Placeholders that the worker fills in for each run."""


COMPUTED = frozenset({"version", "entrypoint", "parameter_openapi_schema"})
"""Fields of a spec that no file states."""


def version(flow: FlowMetadata) -> str:
    """The version of all deployments of a flow: it changes exactly when the flow's code does."""
    return flow.source_digest[:VERSION_LENGTH]


def render(
    item: ConfiguredFlow,
    kind: str,
    template: Template,
    *,
    environment: Environment,
    root: Path,
    pull_steps: PullSteps,
    schema: Mapping[str, Any],
    image: Image | None = None,
) -> Resource:
    """Render one deployment; block and variable references stay as they are, for the run to resolve.

    Args:
        item: The flow, and what its files say for this environment.
        kind: Which of its kinds.
        template: The kind's template.
        environment: Where it goes.
        root: The repository, for placeholders.
        pull_steps: How a run gets the flow's code.
        schema: Parameter schema, as Prefect computes it.
        image: What the runs start from, if the template asks for one.

    Raises:
        MetaFlowsError: MF209 for every placeholder that names nothing; MF301 and MF303 for secrets; MF610.
    """
    flow, configuration = item.flow, item.configuration
    options = configuration.kinds[kind]
    values = {
        "environment": environment.model_dump(mode="json"),
        "flow": {"name": flow.name, "slug": configuration.slug, "path": flow.path, "function": flow.function_name},
        "root": str(root),
        "image": {"reference": image.reference, "name": image.name, "workdir": image.workdir} if image else {},
        "limits": _limits(options.resource_limits),
    }
    env_file = {"env": dict(item.env_file)} if item.env_file else {}
    parts = {
        "work_pool": template.work_pool,
        "job_variables": _merged(template.job_variables, env_file, options.job_variables),
        "tags": template.tags,
        "pull": template.pull,
    }

    def place(text: str) -> Location:
        """Where something is stated: in the flow's file, or in the template."""
        return configuration.document.find(text) or template.document.find(text) or flow.place

    filled = _filled(parts, values, place)
    if image:
        filled["job_variables"] = _mounted(_stated(filled["job_variables"]), root, environment.source, place)
    limit = configuration.concurrency_limit
    schedules = configuration.schedules if options.scheduled else ()
    ownership = environment.ownership.tags
    prune = [] if configuration.prune is None else [f"{PRUNE_TAG}{str(configuration.prune).lower()}"]
    spec: dict[str, Any] = {
        "version": version(flow),
        "entrypoint": flow.entrypoint,
        "tags": list(dict.fromkeys((*configuration.tags, *filled["tags"], *prune, *ownership))),
        "parameters": dict(configuration.parameters),
        "parameter_openapi_schema": dict(schema),
        "enforce_parameter_schema": configuration.enforce_parameter_schema,
        "pull_steps": filled["pull"] if template.pull is not None else list(pull_steps),
        "work_pool_name": filled["work_pool"],
        "job_variables": filled["job_variables"],
        "schedules": {schedule.slug: render_schedule(schedule, environment) for schedule in schedules},
    }
    optional = {
        "description": configuration.description,
        "paused": configuration.paused,
        "work_queue_name": options.work_queue,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": limit.model_dump(exclude={"limit"}, exclude_none=True) if limit else None,
    }
    spec.update({key: value for key, value in optional.items() if value is not None})
    _refuse_secrets(spec, [*environment.allow_plain, *configuration.allow_plain], place)
    return Resource(
        flow_name=flow.name,
        name=deployment_name(configuration.slug, kind, environment),
        kind=kind,
        spec=spec,
        replaces=deployment_name(configuration.replaces, kind, environment) if configuration.replaces else None,
    )


def _limits(limits: ResourceLimits | None) -> dict[str, str | int | None]:
    """What one run may use, as Docker wants it said: its `m` are mebibytes, a quota is in 1/100,000 of a processor."""
    memory = memory_bytes(limits.memory) if limits and limits.memory else None
    mebibytes, rest = divmod(memory or 0, 1024**2)
    return {
        "memory": None if memory is None else f"{memory}b" if rest else f"{mebibytes}m",
        "cpu_quota": int(cpu_count(limits.cpu) * 100_000) if limits and limits.cpu else None,
    }


def _stated(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Job variables without those that a placeholder left empty, such as a limit that is not set."""
    inner = {key: _stated(value) if isinstance(value, Mapping) else value for key, value in variables.items()}
    return {key: value for key, value in inner.items() if value not in (None, {}, [])}


def _mounted(
    job_variables: Mapping[str, Any], root: Path, source: LocalSource | GitSource, place: Callable[[str], Location]
) -> dict[str, Any]:
    """Volumes below the repository, made absolute; what is written there belongs to whom the repository belongs."""
    stated, options = job_variables.get("volumes", []), job_variables.get("container_create_kwargs", {})
    if not isinstance(stated, list):
        raise refuse("MF203", place(str(stated)), key="volumes", detail="must be a list")
    if not isinstance(options, Mapping):
        raise refuse("MF203", place(str(options)), key="container_create_kwargs", detail="must be a mapping")
    volumes = [str(volume) for volume in stated]
    relative = [volume for volume in volumes if volume.startswith("./")]
    if not relative:
        return dict(job_variables)
    if isinstance(source, GitSource):
        raise MetaFlowsError(diagnostic("MF610", place(volume), volume=volume) for volume in relative)
    owner = root.stat()
    container = {"user": f"{owner.st_uid}:{owner.st_gid}", **options}
    absolute = [f"{root}/{volume[2:]}" if volume in relative else volume for volume in volumes]
    return {**job_variables, "volumes": absolute, "container_create_kwargs": container}


def render_schedule(schedule: Schedule, environment: Environment) -> dict[str, Any]:
    """One schedule of a spec; what it does not state, such as whether it is paused, stays as operators leave it."""
    active = schedule.active if schedule.active is not None else environment.schedules_active
    stated = {"active": active, "max_scheduled_runs": schedule.max_scheduled_runs}
    return {
        "slug": schedule.slug,
        "schedule": schedule.timing(),
        "parameters": dict(schedule.parameters),
        **{key: value for key, value in stated.items() if value is not None},
    }


def _refuse_secrets(spec: Mapping[str, Any], allowed: Sequence[str], place: Callable[[str], Location]) -> None:
    """Whichever file or flag it came from, a secret must not enter a deployment."""
    env = spec["job_variables"].get("env") or {}
    if not isinstance(env, Mapping):
        raise refuse("MF203", place(str(env)), key="job_variables.env", detail="must be a mapping of names to values")
    stated = {key: value for key, value in spec.items() if key not in COMPUTED}
    if any(plain_secrets(Document(stated), allowed)):
        places = {path: place(str(value)) for path, value in leaves(stated)}
        raise MetaFlowsError(plain_secrets(Document(stated, places), allowed))


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return merged


def _filled(parts: dict[str, Any], values: dict[str, Any], place: Callable[[str], Location]) -> dict[str, Any]:
    unknown = sorted(
        placeholder.name
        for placeholder in placeholders(parts)
        if placeholder.type in (PlaceholderType.STANDARD, PlaceholderType.ENV_VAR)
        and not placeholder.name.startswith(RUN_TIME_PREFIX)
        and not _is_there(values, placeholder.name)
    )
    if unknown:
        known = [f"{top}.{key}" for top, inner in values.items() if isinstance(inner, Mapping) for key in inner]
        raise MetaFlowsError(
            diagnostic("MF209", place(name), placeholder=name, suggestion=did_you_mean(name, [*known, "root"]))
            for name in unknown
        )
    filled: dict[str, Any] = apply_values(parts, values, remove_notset=False)  # type: ignore[assignment]  # a mapping stays one
    return filled


def _is_there(values: Any, name: str) -> bool:
    """Whether a dotted name leads to something."""
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
