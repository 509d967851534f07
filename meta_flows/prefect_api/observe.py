"""Reads: what the server has, in bulk, in the shape that the planner compares."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prefect.utilities.asyncutils import run_coro_as_sync

from meta_flows.models import LiveDeployment
from meta_flows.prefect_api.connection import Api

PAGE = 200
"""The most that one filter request returns; more is refused with 422."""

STATED_FIELDS = (
    "version",
    "description",
    "entrypoint",
    "path",
    "parameters",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
    "pull_steps",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
    "paused",
)
"""Fields of a deployment that a spec can hold as the API returns them; the rest are told differently."""

WORK_POOL_FIELDS = ("type", "description", "concurrency_limit", "base_job_template")

SCHEDULE_FIELDS = ("slug", "schedule", "active", "parameters", "max_scheduled_runs")


def read_all(api: Api, collection: str, **body: Any) -> Iterator[dict[str, Any]]:
    """Every object that a filter finds, page by page."""
    offset = 0
    while True:
        page = api.request("POST", f"/{collection}/filter", json={"limit": PAGE, "offset": offset, **body}).json()  # type: ignore[arg-type]  # the client types only its own literal routes
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE


def read_deployments(api: Api, names: Collection[str] = (), *, tags: Collection[str] = ()) -> dict[str, LiveDeployment]:
    """Read the deployments of the given names, owned or not, or those that carry all the tags; by key.

    Two paged reads, however many there are: one of deployments, one of their flows, since a deployment knows its flow
    by id only.
    """
    return _live_deployments(
        api, deployments={"tags": {"all_": sorted(tags)}} if tags else {"name": {"any_": sorted(names)}}
    )


def with_others(api: Api, ours: Mapping[str, LiveDeployment], keys: Collection[str]) -> dict[str, LiveDeployment]:
    """Add the deployments that exist at some keys, whatever project owns them, to the ones that are ours.

    Makes two paged reads; none if all keys are ours.
    """
    missing = {key for key in keys if key not in ours}
    found = read_deployments(api, {key.partition("/")[2] for key in missing}) if missing else {}
    return {**ours, **{key: item for key, item in found.items() if key in missing}}


def read_deployments_in(api: Api, pool: str) -> dict[str, LiveDeployment]:
    """The deployments in a work pool, whoever owns them, by key."""
    return _live_deployments(api, work_pools={"name": {"any_": [pool]}})


def _live_deployments(api: Api, **found: Any) -> dict[str, LiveDeployment]:
    bodies = list(read_all(api, "deployments", sort="NAME_ASC", **found))
    flow_ids = sorted({body["flow_id"] for body in bodies})
    flows = (
        {flow["id"]: flow["name"] for flow in read_all(api, "flows", flows={"id": {"any_": flow_ids}})}
        if bodies
        else {}
    )
    live = (live_deployment(body, flows[body["flow_id"]]) for body in bodies)
    return {deployment.key: deployment for deployment in live}


def read_deployment(api: Api, flow_name: str, name: str) -> LiveDeployment | None:
    """One deployment as it is now, or None."""
    found = {"name": {"any_": [name]}}
    for body in read_all(api, "deployments", deployments=found, flows={"name": {"any_": [flow_name]}}):
        return live_deployment(body, flow_name)
    return None


def read_flow_ids(api: Api, names: Collection[str]) -> dict[str, str]:
    """Ids of the flows of these names that the server knows."""
    return {flow["name"]: flow["id"] for flow in read_all(api, "flows", flows={"name": {"any_": sorted(names)}})}


def read_work_queues(api: Api, pool: str) -> set[str]:
    """Names of a work pool's queues."""
    return {queue["name"] for queue in read_all(api, f"work_pools/{pool}/queues")}


def read_work_pools(api: Api, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The work pools of these names that the server has."""
    return {pool["name"]: pool for pool in read_all(api, "work_pools", work_pools={"name": {"any_": sorted(names)}})}


def work_pool_spec(body: Mapping[str, Any]) -> dict[str, Any]:
    """What can be stated of a work pool, from the API's answer."""
    return {field: body[field] for field in WORK_POOL_FIELDS}


def read_work_pool_specs(api: Api, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The same of the work pools of these names that the server has; no request for none."""
    return {name: work_pool_spec(body) for name, body in read_work_pools(api, names).items()} if names else {}


def read_paused_queues(api: Api, pools: Collection[str]) -> set[tuple[str, str]]:
    """The paused queues of some work pools, as (pool, queue)."""
    queues = ((pool, queue) for pool in pools for queue in read_all(api, f"work_pools/{pool}/queues"))
    return {(pool, queue["name"]) for pool, queue in queues if queue["is_paused"]}


def read_blocks(api: Api, names: Collection[str]) -> set[str]:
    """The blocks of these names, as `type/name`; their values are not asked for."""
    found = read_all(api, "block_documents", block_documents={"name": {"any_": sorted(names)}}) if names else ()
    return {f"{block['block_type']['slug']}/{block['name']}" for block in found}


def read_variables(api: Api, names: Collection[str]) -> set[str]:
    """Those of the names that variables have."""
    found = read_all(api, "variables", variables={"name": {"any_": sorted(names)}}) if names else ()
    return {variable["name"] for variable in found}


def default_job_template(pool_type: str) -> dict[str, Any]:
    """The base job template that work pools of a type have unless somebody says otherwise."""
    from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

    return run_coro_as_sync(get_default_base_job_template_for_infrastructure_type(pool_type)) or {}


def read_writers(api: Api, tag: str) -> list[dict[str, Any]]:
    """The runs under way that carry a tag, the newest first."""
    found = {"tags": {"all_": [tag]}, "state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}
    return list(read_all(api, "flow_runs", flow_runs=found, sort="START_TIME_DESC"))


def has_live_worker(api: Api, pool: str) -> bool:
    """Whether any worker polls a work pool now."""
    body = {"workers": {"status": {"any_": ["ONLINE"]}}, "limit": 1}
    response = api.request("POST", f"/work_pools/{pool}/workers/filter", json=body)  # type: ignore[arg-type]
    return bool(response.json())


def live_deployment(body: dict[str, Any], flow_name: str) -> LiveDeployment:
    """A deployment in the planner's shape, from the API's."""
    schedules = {schedule["slug"] or f"~{schedule['id']}": schedule for schedule in body["schedules"]}
    limit = body["global_concurrency_limit"]  # `concurrency_limit` itself is always null in answers
    options = {key: value for key, value in (body["concurrency_options"] or {}).items() if value is not None}
    return LiveDeployment(
        id=body["id"],
        flow_name=flow_name,
        name=body["name"],
        updated=max(item["updated"] for item in (body, *body["schedules"])),
        ready=body["status"] == "READY",
        spec={
            **{field: body[field] for field in STATED_FIELDS},
            "labels": {key: value for key, value in body["labels"].items() if not key.startswith("prefect.")},
            "tags": body["tags"],
            "concurrency_limit": limit["limit"] if limit else None,
            "concurrency_options": options or None,
            "schedules": {
                slug: {field: schedule[field] for field in SCHEDULE_FIELDS} for slug, schedule in schedules.items()
            },
        },
        schedule_ids={slug: schedule["id"] for slug, schedule in schedules.items()},
    )
