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
"""Prefix of the placeholders that the worker fills in for each run."""

COMPUTED = frozenset({"version", "entrypoint", "parameter_openapi_schema"})
"""Fields of a spec that no file sets."""

Locate = Callable[[str], Location]
"""Returns where a text is written: in the flow's file or in the template."""


def version(flow: FlowMetadata) -> str:
    """Return the version of all deployments of a flow: it changes exactly when the flow's code does."""
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
        item: The flow and its configuration.
        kind: Which of its kinds.
        template: The kind's template.
        environment: The environment to deploy to.
        root: The repository, for placeholders.
        pull_steps: How a run gets the flow's code, unless the template says.
        schema: Parameter schema, as Prefect computes it.
        image: The image that runs start from, if the template uses one.

    Raises:
        MetaFlowsError: MF209 for every unknown placeholder; MF301 and MF303 for secrets; MF203; MF610.
    """
    flow, configuration = item.flow, item.configuration

    def locate(text: str) -> Location:
        return configuration.document.find(text) or template.document.find(text) or flow.place

    filled = _fill_in(_parts(item, kind, template), _values(item, kind, environment, root, image), locate)
    job_variables = filled["job_variables"]
    if image:
        job_variables = _mount(_without_empty(job_variables), root, environment.source, locate)
    schedules = configuration.schedules if configuration.kinds[kind].scheduled else ()
    prune = [] if configuration.prune is None else [f"{PRUNE_TAG}{str(configuration.prune).lower()}"]
    spec: dict[str, Any] = {
        "version": version(flow),
        "entrypoint": flow.entrypoint,
        "tags": list(dict.fromkeys((*configuration.tags, *filled["tags"], *prune, *environment.ownership.tags))),
        "parameters": dict(configuration.parameters),
        "parameter_openapi_schema": dict(schema),
        "enforce_parameter_schema": configuration.enforce_parameter_schema,
        "pull_steps": filled["pull"] if template.pull is not None else list(pull_steps),
        "work_pool_name": filled["work_pool"],
        "job_variables": job_variables,
        "schedules": {schedule.slug: schedule.spec(active=environment.schedules_active) for schedule in schedules},
        **_optional(item, kind),
    }
    _ensure_no_secret(spec, [*environment.allow_plain, *configuration.allow_plain], locate)
    return Resource(
        flow_name=flow.name,
        name=deployment_name(configuration.slug, kind, environment),
        kind=kind,
        spec=spec,
        replaces=deployment_name(configuration.replaces, kind, environment) if configuration.replaces else None,
    )


def _optional(item: ConfiguredFlow, kind: str) -> dict[str, Any]:
    """Return the fields that a spec leaves out where no file sets them, so that operators may."""
    configuration, limit = item.configuration, item.configuration.concurrency_limit
    optional = {
        "description": configuration.description,
        "paused": configuration.paused,
        "work_queue_name": configuration.kinds[kind].work_queue,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": limit.model_dump(exclude={"limit"}, exclude_none=True) if limit else None,
    }
    return {key: value for key, value in optional.items() if value is not None}


def _parts(item: ConfiguredFlow, kind: str, template: Template) -> dict[str, Any]:
    """Return the parts of a deployment that may hold placeholders."""
    env_file = {"env": dict(item.env_file)} if item.env_file else {}
    own = item.configuration.kinds[kind].job_variables
    return {
        "work_pool": template.work_pool,
        "job_variables": _merge(template.job_variables, env_file, own),
        "tags": template.tags,
        "pull": template.pull,
    }


def _values(
    item: ConfiguredFlow, kind: str, environment: Environment, root: Path, image: Image | None
) -> dict[str, Any]:
    """Return the values of all placeholders."""
    flow, configuration = item.flow, item.configuration
    return {
        "environment": environment.model_dump(mode="json"),
        "flow": {"name": flow.name, "slug": configuration.slug, "path": flow.path, "function": flow.function_name},
        "root": str(root),
        "image": {"reference": image.reference, "name": image.name, "workdir": image.workdir} if image else {},
        "limits": _limits(configuration.kinds[kind].resource_limits),
    }


def _limits(limits: ResourceLimits | None) -> dict[str, str | int | None]:
    """Return the limits of one run in Docker's units: its `m` are mebibytes, its quota is in 1/100,000 of a CPU."""
    memory = memory_bytes(limits.memory) if limits and limits.memory else None
    mebibytes, rest = divmod(memory or 0, 1024**2)
    return {
        "memory": None if memory is None else f"{memory}b" if rest else f"{mebibytes}m",
        "cpu_quota": int(cpu_count(limits.cpu) * 100_000) if limits and limits.cpu else None,
    }


def _without_empty(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return job variables without those that a placeholder left empty, such as a limit that is not set."""
    inner = {key: _without_empty(value) if isinstance(value, Mapping) else value for key, value in variables.items()}
    return {key: value for key, value in inner.items() if value not in (None, {}, [])}


def _mount(
    job_variables: Mapping[str, Any], root: Path, source: LocalSource | GitSource, locate: Locate
) -> dict[str, Any]:
    """Make volumes below the repository absolute; runs then write as the repository's owner."""
    volumes, options = job_variables.get("volumes", []), job_variables.get("container_create_kwargs", {})
    if not isinstance(volumes, list):
        raise refuse("MF203", locate(str(volumes)), key="volumes", detail="must be a list")
    if not isinstance(options, Mapping):
        raise refuse("MF203", locate(str(options)), key="container_create_kwargs", detail="must be a mapping")
    relative = [volume for volume in map(str, volumes) if volume.startswith("./")]
    if not relative:
        return dict(job_variables)
    if isinstance(source, GitSource):
        raise MetaFlowsError(diagnostic("MF610", locate(volume), volume=volume) for volume in relative)
    owner = root.stat()
    container = {"user": f"{owner.st_uid}:{owner.st_gid}", **options}
    absolute = [f"{root}/{volume[2:]}" if volume in relative else volume for volume in map(str, volumes)]
    return {**job_variables, "volumes": absolute, "container_create_kwargs": container}


def _ensure_no_secret(spec: Mapping[str, Any], allowed: Sequence[str], locate: Locate) -> None:
    """Raise if a plain secret would enter a deployment, whichever file or flag it came from."""
    env = spec["job_variables"].get("env") or {}
    if not isinstance(env, Mapping):
        raise refuse("MF203", locate(str(env)), key="job_variables.env", detail="must be a mapping of names to values")
    declared = {key: value for key, value in spec.items() if key not in COMPUTED}
    if any(plain_secrets(Document(declared), allowed)):
        places = {path: locate(str(value)) for path, value in leaves(declared)}
        raise MetaFlowsError(plain_secrets(Document(declared, places), allowed))


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return merged


def _fill_in(parts: dict[str, Any], values: dict[str, Any], locate: Locate) -> dict[str, Any]:
    unknown = sorted(
        placeholder.name
        for placeholder in placeholders(parts)
        if placeholder.type in (PlaceholderType.STANDARD, PlaceholderType.ENV_VAR)
        and not placeholder.name.startswith(RUN_TIME_PREFIX)
        and not _is_known(values, placeholder.name)
    )
    if unknown:
        known = [f"{top}.{key}" for top, inner in values.items() if isinstance(inner, Mapping) for key in inner]
        raise MetaFlowsError(
            diagnostic("MF209", locate(name), placeholder=name, suggestion=did_you_mean(name, [*known, "root"]))
            for name in unknown
        )
    filled: dict[str, Any] = apply_values(parts, values, remove_notset=False)  # type: ignore[assignment]  # a mapping stays one
    return filled


def _is_known(values: Any, name: str) -> bool:
    """Return whether a dotted name leads to a value."""
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
