"""Rules on rendered deployments: parameters against the flow's schema, all else against what the server has."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from meta_flows.configuration import ConfiguredFlow, Document, Template, placeholders
from meta_flows.configuration.documents import KeyPath
from meta_flows.configuration.secrets import masked
from meta_flows.diagnostics import diagnostic, did_you_mean
from meta_flows.models import Diagnostic, Location, Resource
from meta_flows.prefect_api.compat import PlaceholderType, schema_errors

LONGEST_SHOWN = 200

PARAMETER_BYTES = 524_288
"""What a server takes of parameters, unless its `PREFECT_SERVER_API_MAX_PARAMETER_SIZE` says otherwise."""


class Reference(NamedTuple):
    """What a placeholder refers to: a `block` by `type/name`, or a `variable` by its name."""

    what: str
    name: str


class Pool(NamedTuple):
    """A work pool as a deployment meets it.

    Attributes:
        variables: Schema of its job variables.
        limit: How many of its runs may be under way at a time.
        paused: Its queues that are paused; all of them if the pool itself is, then `None` is one of them.
        polled: Whether a worker polls it.
    """

    variables: Mapping[str, Any]
    limit: int | None = None
    paused: frozenset[str | None] = frozenset()
    polled: bool = False


class ServerObjects(NamedTuple):
    """What a server has that deployments refer to.

    Attributes:
        pools: By name; with those that a deploy creates.
        existing: The references that lead somewhere.
    """

    pools: Mapping[str, Pool]
    existing: Collection[Reference]


def references(deployments: Iterable[Resource]) -> set[Reference]:
    """The blocks and variables that the server fills in when a run starts."""
    found = set[Reference]()
    for deployment in deployments:
        for placeholder in placeholders(_run_time_parts(deployment)):
            path = placeholder.name.split(".")
            if placeholder.type == PlaceholderType.BLOCK_DOCUMENT and len(path) > 3:  # noqa: PLR2004
                found.add(Reference("block", f"{path[2]}/{path[3]}"))
            elif placeholder.type == PlaceholderType.VARIABLE:
                found.add(Reference("variable", path[-1]))
    return found


def check(
    item: ConfiguredFlow,
    deployment: Resource,
    server_objects: ServerObjects | None,
    template: Template | None = None,
) -> Iterator[Diagnostic]:
    """What is wrong with one deployment.

    Args:
        item: The flow that it was rendered from.
        deployment: The deployment.
        server_objects: What the server has; without it only parameters are checked.
        template: The template of its kind, for places.
    """
    yield from _sizes(item, deployment)
    yield from _parameters(item, deployment)
    if server_objects:
        yield from _server_objects(item, deployment, server_objects, template)


def _sizes(item: ConfiguredFlow, deployment: Resource) -> Iterator[Diagnostic]:
    """Parameters that the server does not take: it would refuse them while it is written to."""
    document = item.configuration.document
    given: list[tuple[str, KeyPath, Any]] = [("the deployment", ("parameters",), deployment.spec["parameters"])]
    given += [
        (f"schedule '{slug}'", ("schedules", index, "parameters"), schedule["parameters"])
        for index, (slug, schedule) in enumerate(deployment.spec["schedules"].items())
    ]
    for what, path, parameters in given:
        size = len(json.dumps(parameters, default=str))
        if size > PARAMETER_BYTES:
            place = document.place(path) or item.flow.place
            yield diagnostic("MF225", place, what=what, size=size, limit=PARAMETER_BYTES)


def _parameters(item: ConfiguredFlow, deployment: Resource) -> Iterator[Diagnostic]:
    """Parameters of the deployment and of its schedules against the flow's schema, the missing ones too."""
    spec, document = deployment.spec, item.configuration.document
    schema = spec["parameter_openapi_schema"]
    if not schema.get("properties"):
        return
    enforced = spec["enforce_parameter_schema"]  # pydantic takes more than the schema says
    for path, detail in _misfits(spec["parameters"], schema) if enforced else ():
        place = document.place(("parameters", *path)) or item.flow.place
        yield diagnostic("MF220", place, parameter=path[0], detail=detail)
    variadic = {parameter.name for parameter in item.flow.parameters if parameter.variadic}
    for index, (slug, schedule) in enumerate(spec["schedules"].items()):
        for path, detail in _misfits(schedule["parameters"], schema) if enforced else ():
            place = document.place(("schedules", index, "parameters", *path)) or item.flow.place
            yield diagnostic("MF220", place, parameter=path[0], detail=detail)
        missing = {*schema.get("required", ())} - variadic - {*spec["parameters"], *schedule["parameters"]}
        for name in sorted(missing) if schedule.get("active", True) else ():
            place = document.place(("schedules", index)) or item.flow.place
            yield diagnostic("MF221", place, schedule=slug, parameter=name)


def _server_objects(
    item: ConfiguredFlow, deployment: Resource, server_objects: ServerObjects, template: Template | None
) -> Iterator[Diagnostic]:
    """The work pool, its job variables, and everything that is referred to."""
    name, queue = deployment.spec["work_pool_name"], deployment.spec.get("work_queue_name")
    pool = server_objects.pools.get(name)
    if pool is None:
        place = _in(template).places.get(("work_pool",)) or item.flow.place
        yield diagnostic("MF410", place, pool=name, suggestion=did_you_mean(name, server_objects.pools))
    else:
        yield from _job_variables(item, deployment, name, pool, template)
        if None in pool.paused or (queue or "default") in pool.paused:
            what = f"work pool '{name}'" if None in pool.paused else f"work queue '{queue or 'default'}' of '{name}'"
            yield diagnostic("MF411", what=what)
        if not pool.polled:
            yield diagnostic("MF412", pool=name)
        limit = deployment.spec.get("concurrency_limit")
        if limit and pool.limit is not None and limit > pool.limit:
            place = item.configuration.document.place(("concurrency_limit",)) or item.flow.place
            yield diagnostic("MF416", place, limit=limit, pool=name, most=pool.limit)
    for what, missing in sorted(references([deployment]) - {*server_objects.existing}):
        name = missing.rpartition("/")[2]
        place = item.configuration.document.find(name) or _in(template).find(name) or item.flow.place
        yield diagnostic("MF415", place, what=what, name=missing)


def _job_variables(
    item: ConfiguredFlow, deployment: Resource, pool_name: str, pool: Pool, template: Template | None
) -> Iterator[Diagnostic]:
    stated, known = deployment.spec["job_variables"], pool.variables.get("properties", {})
    if not pool.variables:
        return  # made by hand without a template; its worker brings one
    for variable in stated:
        place = _place(item, deployment.kind, variable, template)
        if variable.partition(".")[0] not in known and not pool.variables.get("additionalProperties"):
            facts = {"suggestion": did_you_mean(variable, known), "known": ", ".join(sorted(known))}
            yield diagnostic("MF413", place, pool=pool_name, variable=variable, **facts)
    checked = _known_now({key: value for key, value in stated.items() if key in known})
    for (variable, *_), detail in _misfits(checked, pool.variables):
        place = _place(item, deployment.kind, str(variable), template)
        yield diagnostic("MF414", place, pool=pool_name, variable=variable, detail=detail)


def newly_invalid_job_variables(
    job_variables: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """The job variables that fit the variables of a work pool as they are, and not as they are to be."""

    def unfit(variables: Mapping[str, Any]) -> set[str]:
        known = variables.get("properties", {})
        unknown = set() if not variables or variables.get("additionalProperties") else job_variables.keys() - known
        checked = _known_now({key: value for key, value in job_variables.items() if key in known})
        return unknown | {str(path[0]) for path, _ in _misfits(checked, variables)}

    return sorted(unfit(after) - unfit(before))


def _misfits(values: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Where values do not fit, and why; what is missing is no fault yet."""
    given = {key: value for key, value in values.items() if not _filled_in_later(value)}
    for error in schema_errors(given, schema) if given else ():
        if not error.absolute_path:
            continue  # about several values together, the missing ones too
        name = str(error.absolute_path[0])
        if masked(name, given[name]) != given[name]:
            yield tuple(error.absolute_path), "does not fit; it looks like a secret, so it is not shown"
            continue
        inner = "".join(f"[{part!r}]" for part in [*error.absolute_path][1:])
        options = [part.message for part in error.context or () if part.validator_value != "null"]
        yield tuple(error.absolute_path), f"{inner} {' or '.join(options) or error.message}".strip()[:LONGEST_SHOWN]


def _known_now(value: Any) -> Any:
    """A value without what a run fills in."""
    if isinstance(value, Mapping):
        return {key: _known_now(inner) for key, inner in value.items() if not _is_placeholder(inner)}
    return [_known_now(inner) for inner in value if not _is_placeholder(inner)] if isinstance(value, list) else value


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and bool(placeholders(value))


def _filled_in_later(value: Any) -> bool:
    """Whether Prefect makes the value when a run starts, of JSON text, a template or a variable."""
    return isinstance(value, Mapping) and "__prefect_kind" in value


def _run_time_parts(deployment: Resource) -> dict[str, Any]:
    return {key: deployment.spec[key] for key in ("job_variables", "pull_steps")}


def _place(item: ConfiguredFlow, kind: str, variable: str, template: Template | None) -> Location:
    """Where a job variable is stated: in the flow's file, or in the template."""
    own = item.configuration.document.places.get(("kinds", kind, "job_variables", variable))
    return own or _in(template).places.get(("job_variables", variable)) or item.flow.place


def _in(template: Template | None) -> Document:
    return template.document if template else Document()
