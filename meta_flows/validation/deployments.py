"""Rules on rendered deployments: parameters against the flow's schema, all else against what the server has."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from meta_flows.configuration import ConfiguredFlow, Document, Template, placeholders
from meta_flows.configuration.documents import KeyPath
from meta_flows.configuration.schedules import follow
from meta_flows.configuration.secrets import masked
from meta_flows.diagnostics import diagnostic, did_you_mean
from meta_flows.models import Diagnostic, Location, Resource
from meta_flows.prefect_api.compat import PlaceholderType, schema_errors

LONGEST_DETAIL = 200

OFTEN_SECONDS = 60

PARAMETER_BYTES = 524_288
"""Largest parameters that a server accepts, unless its `PREFECT_SERVER_API_MAX_PARAMETER_SIZE` differs."""


class Reference(NamedTuple):
    """What a placeholder refers to: a `block` by `type/name`, or a `variable` by its name."""

    what: str
    name: str


class Pool(NamedTuple):
    """A work pool as a deployment uses it.

    Attributes:
        variables: Schema of its job variables.
        limit: How many of its runs may be active at a time.
        paused: Its paused queues; a paused pool is `None` among them.
        polled: Whether a worker polls it.
    """

    variables: Mapping[str, Any]
    limit: int | None = None
    paused: frozenset[str | None] = frozenset()
    polled: bool = False


class ServerObjects(NamedTuple):
    """The objects of a server that deployments refer to.

    Attributes:
        pools: Work pools by name, with those that the deploy creates.
        existing: The blocks and variables that exist.
    """

    pools: Mapping[str, Pool]
    existing: Collection[Reference]


def references(deployments: Iterable[Resource]) -> set[Reference]:
    """Return the blocks and variables that the server fills in when a run starts."""
    found = set[Reference]()
    for deployment in deployments:
        filled_in_by_server = [deployment.spec["job_variables"], deployment.spec["pull_steps"]]
        for placeholder in placeholders(filled_in_by_server):
            path = placeholder.name.split(".")
            if placeholder.type == PlaceholderType.BLOCK_DOCUMENT and len(path) > 3:  # noqa: PLR2004
                found.add(Reference("block", f"{path[2]}/{path[3]}"))
            elif placeholder.type == PlaceholderType.VARIABLE:
                found.add(Reference("variable", path[-1]))
    return found


def place_of(item: ConfiguredFlow, *path: str | int) -> Location:
    """Return where a flow's file sets a key, or else where the flow is defined."""
    return item.configuration.document.place(path) or item.flow.place


def check_deployment(
    item: ConfiguredFlow,
    deployment: Resource,
    server_objects: ServerObjects | None,
    template: Template | None = None,
) -> Iterator[Diagnostic]:
    """Check one deployment of a flow; without `server_objects` its parameters only."""
    yield from _check_sizes(item, deployment)
    yield from _check_parameters(item, deployment)
    if server_objects:
        document = template.document if template else Document()
        yield from _check_pool(item, deployment, server_objects.pools, document)
        for what, missing in sorted(references([deployment]) - {*server_objects.existing}):
            name = missing.rpartition("/")[2]
            place = item.configuration.document.find(name) or document.find(name) or item.flow.place
            yield diagnostic("MF415", place, what=what, name=missing)


def _check_sizes(item: ConfiguredFlow, deployment: Resource) -> Iterator[Diagnostic]:
    """Report parameters that are too large, before the server rejects them halfway through a deploy."""
    given: list[tuple[str, KeyPath, Any]] = [("the deployment", (), deployment.spec["parameters"])]
    for index, (slug, schedule) in enumerate(deployment.spec["schedules"].items()):
        given.append((f"schedule '{slug}'", ("schedules", index), schedule["parameters"]))
    for what, path, parameters in given:
        size = len(json.dumps(parameters, default=str))
        if size > PARAMETER_BYTES:
            place = place_of(item, *path, "parameters")
            yield diagnostic("MF225", place, what=what, size=size, limit=PARAMETER_BYTES)


def _check_parameters(item: ConfiguredFlow, deployment: Resource) -> Iterator[Diagnostic]:
    """Check parameters of the deployment and of its schedules against the flow's schema, missing ones too."""
    spec = deployment.spec
    schema = spec["parameter_openapi_schema"]
    if not schema.get("properties"):
        return

    def misfits(parameters: Mapping[str, Any], *path: str | int) -> Iterator[Diagnostic]:
        if spec["enforce_parameter_schema"]:  # without it pydantic validates, which accepts more than the schema
            for inner, detail in _misfits(parameters, schema):
                yield diagnostic("MF220", place_of(item, *path, *inner), parameter=inner[0], detail=detail)

    yield from misfits(spec["parameters"], "parameters")
    required = {*schema.get("required", ())} - {item.name for item in item.flow.parameters if item.variadic}
    for index, (slug, schedule) in enumerate(spec["schedules"].items()):
        yield from misfits(schedule["parameters"], "schedules", index, "parameters")
        missing = required - {*spec["parameters"], *schedule["parameters"]}
        for name in sorted(missing) if schedule.get("active", True) else ():
            yield diagnostic("MF221", place_of(item, "schedules", index), schedule=slug, parameter=name)


def _check_pool(
    item: ConfiguredFlow, deployment: Resource, pools: Mapping[str, Pool], template: Document
) -> Iterator[Diagnostic]:
    """Check the work pool of a deployment, and its job variables against those of the pool."""
    name, queue = deployment.spec["work_pool_name"], deployment.spec.get("work_queue_name") or "default"
    pool = pools.get(name)
    if pool is None:
        place = template.places.get(("work_pool",)) or item.flow.place
        yield diagnostic("MF410", place, pool=name, suggestion=did_you_mean(name, pools))
        return
    known = pool.variables.get("properties", {})
    for variable, detail in _job_variable_misfits(deployment.spec["job_variables"], pool.variables):
        own = item.configuration.document.places.get(("kinds", deployment.kind, "job_variables", variable))
        place = own or template.places.get(("job_variables", variable)) or item.flow.place
        facts = {"pool": name, "variable": variable}
        if detail:
            yield diagnostic("MF414", place, **facts, detail=detail)
        else:
            suggestion = did_you_mean(variable, known)
            yield diagnostic("MF413", place, **facts, suggestion=suggestion, known=", ".join(sorted(known)))
    if None in pool.paused:
        yield diagnostic("MF411", what=f"work pool '{name}'")
    elif queue in pool.paused:
        yield diagnostic("MF411", what=f"work queue '{queue}' of '{name}'")
    if not pool.polled:
        yield diagnostic("MF412", pool=name)
    limit = deployment.spec.get("concurrency_limit")
    if limit and pool.limit is not None and limit > pool.limit:
        yield diagnostic("MF416", place_of(item, "concurrency_limit"), limit=limit, pool=name, most=pool.limit)


def newly_invalid_job_variables(
    job_variables: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """Return the job variables that fit a work pool's variables before a change, but not after it."""
    invalid_before = {name for name, _ in _job_variable_misfits(job_variables, before)}
    return sorted({name for name, _ in _job_variable_misfits(job_variables, after)} - invalid_before)


def _job_variable_misfits(job_variables: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the job variables that a work pool does not have, with an empty reason; then those that do not fit it."""
    if not variables:
        return  # a pool created by hand without a template; its worker brings one
    known = variables.get("properties", {})
    if not variables.get("additionalProperties"):
        yield from ((name, "") for name in job_variables if name.partition(".")[0] not in known)
    checked = _without_placeholders({key: value for key, value in job_variables.items() if key in known})
    yield from ((str(path[0]), detail) for path, detail in _misfits(checked, variables))


def _misfits(values: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path of each value that does not fit a schema, and why; missing values are not reported."""
    given = {key: value for key, value in values.items() if not _is_made_by_prefect(value)}
    for error in schema_errors(given, schema) if given else ():
        if not error.absolute_path:
            continue  # about several values together, missing ones too
        name = str(error.absolute_path[0])
        if masked(name, given[name]) != given[name]:
            yield tuple(error.absolute_path), "does not fit; it looks like a secret, so it is not shown"
            continue
        inner = "".join(f"[{part!r}]" for part in [*error.absolute_path][1:])
        options = [part.message for part in error.context or () if part.validator_value != "null"]
        yield tuple(error.absolute_path), f"{inner} {' or '.join(options) or error.message}".strip()[:LONGEST_DETAIL]


def _without_placeholders(value: Any) -> Any:
    """Return a value without the parts that are filled in when a run starts."""

    def is_placeholder(inner: Any) -> bool:
        return isinstance(inner, str) and bool(placeholders(inner))

    if isinstance(value, Mapping):
        return {key: _without_placeholders(inner) for key, inner in value.items() if not is_placeholder(inner)}
    return (
        [_without_placeholders(inner) for inner in value if not is_placeholder(inner)]
        if isinstance(value, list)
        else value
    )


def _is_made_by_prefect(value: Any) -> bool:
    """Return whether Prefect makes the value when a run starts, from JSON text, a template or a variable."""
    return isinstance(value, Mapping) and "__prefect_kind" in value


def check_schedules(item: ConfiguredFlow) -> Iterator[Diagnostic]:
    """Report schedules that never fire, have fired for the last time, or fire more than once a minute."""
    scheduled = any(item.configuration.kinds[kind].scheduled for kind in item.kinds)
    for index, schedule in enumerate(item.configuration.schedules if scheduled else ()):
        rule = next(name for name in ("cron", "rrule", "interval") if getattr(schedule, name) is not None)
        place = place_of(item, "schedules", index, rule)
        facts = {"schedule": schedule.slug, "rule": " ".join(str(getattr(schedule, rule)).split())}
        active = schedule.active is not False
        times = follow(schedule.timing())
        if isinstance(times, str):
            yield diagnostic("MF205", place, **facts, detail=f"Prefect's scheduler cannot follow it: {times}")
            continue
        gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times.next)]
        if gaps and min(gaps) < OFTEN_SECONDS and active:
            yield diagnostic("MF223", place, **facts, seconds=min(gaps))
        elif not times.next and times.followed and (active or not times.past):
            yield diagnostic("MF224" if times.past else "MF222", place, **facts)
