"""Writes: one deployment or work pool at a time, and of it only what differs.

Any PATCH of a deployment or a schedule, an empty one included, deletes all its scheduled runs, and POST on an existing
deployment recreates its schedules. So: POST only creates, PATCH only sends what differs, schedules go one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from meta_flows.models import LiveDeployment, Plan
from meta_flows.prefect_api.connection import Api
from meta_flows.prefect_api.observe import read_flow_ids, read_work_pools

Spec = Mapping[str, Any]

PLACEMENT = ("work_pool_name", "work_queue_name")
PLACED_TOGETHER = frozenset((*PLACEMENT, "job_variables"))
"""One of these without the others means something else to the server: a pool alone its default queue, a queue alone
another pool's, and job variables alone are not checked against the pool's template."""


def create_flow(api: Api, name: str) -> str:
    """The id of the flow of this name, made if it is new."""
    return str(api.create_flow_from_name(name))


def create_deployment(api: Api, flow_id: str, name: str, target: Spec) -> str:
    """Make a deployment with all that its spec states; its id."""
    stated = {key: value for key, value in target.items() if value is not None}
    schedules = list(target["schedules"].values())
    apart = any("max_scheduled_runs" in schedule for schedule in schedules)  # dropped when sent along
    body = {**stated, "flow_id": flow_id, "name": name, "schedules": [] if apart else schedules}
    created = str(api.request("POST", "/deployments/", json=body).json()["id"])
    if apart:
        _send(api, "POST", f"/deployments/{created}/schedules", schedules)
    return created


def update_deployment(api: Api, live: LiveDeployment, target: Spec) -> None:
    """Bring a deployment from what is live to its target, in as few requests as there are parts that differ."""
    fields = {key: value for key, value in target.items() if key != "schedules" and value != live.spec.get(key)}
    if not PLACED_TOGETHER.isdisjoint(fields):
        fields |= {key: target[key] for key in PLACEMENT if target.get(key) is not None}
    path = f"/deployments/{live.id}"
    if fields:
        _send(api, "PATCH", path, fields)
    if fields.get("job_variables") == {} and api.read_deployment(live.id).job_variables:
        _send(api, "PATCH", path, {**fields, "job_variables": {"env": {}}})  # Prefect 3.4 takes {} for no change
    _update_schedules(api, live, target["schedules"])


def _update_schedules(api: Api, live: LiveDeployment, target: Mapping[str, Spec]) -> None:
    path = f"/deployments/{live.id}/schedules"
    added = [schedule for slug, schedule in target.items() if slug not in live.spec["schedules"]]
    for slug, schedule in live.spec["schedules"].items():
        wanted = target.get(slug, {})
        changed = {key: value for key, value in wanted.items() if value != schedule.get(key)}
        if wanted and None not in changed.values():
            if changed:  # a PATCH without parameters takes them all away
                _send(
                    api, "PATCH", f"{path}/{live.schedule_ids[slug]}", {"parameters": wanted["parameters"], **changed}
                )
            continue
        delete(api, f"{path}/{live.schedule_ids[slug]}")
        added += [wanted] if wanted else []  # a PATCH does not set anything to null
    if added:
        _send(api, "POST", path, added)


def delete_deployment(api: Api, live: LiveDeployment) -> None:
    """Delete a deployment, and with it its schedules and scheduled runs; finished runs stay."""
    delete(api, f"/deployments/{live.id}")


def remove_unused(api: Api, plan: Plan) -> None:
    """Delete the queues, work pools and flows that a plan brought into being, unless others use them by now."""
    new = {pool.name for pool in plan.work_pools if pool.action == "create"}
    created = read_work_pools(api, new).keys() if new else set()
    for pool, queue in plan.work_queues:
        if pool not in created and not _used(
            api, work_pool_queues={"name": {"any_": [queue]}}, work_pools=_named(pool)
        ):
            delete(api, f"/work_pools/{pool}/queues/{queue}")
    for pool in created:
        if not _used(api, work_pools=_named(pool)):
            delete(api, f"/work_pools/{pool}")
    for flow, flow_id in read_flow_ids(api, plan.flows).items() if plan.flows else ():
        if not _used(api, flows=_named(flow)):
            delete(api, f"/flows/{flow_id}")


def _named(name: str) -> dict[str, Any]:
    return {"name": {"any_": [name]}}


def _used(api: Api, **found: Any) -> bool:
    """Whether there are deployments or runs of it."""
    return any(api.request("POST", f"/{kind}/count", json=found).json() for kind in ("deployments", "flow_runs"))  # type: ignore[arg-type]


def delete(api: Api, path: str) -> None:
    """Delete something; what is gone already was deleted by a request whose answer was lost."""
    try:
        _send(api, "DELETE", path)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise


def _send(api: Api, method: str, path: str, body: Any = None) -> None:
    api.request(method, path, json=body)  # type: ignore[arg-type]  # the client types only its own literal routes


def create_work_pool(api: Api, name: str, target: Spec) -> None:
    """Make a work pool."""
    _send(api, "POST", "/work_pools/", {"name": name, **target})


def update_work_pool(api: Api, name: str, live: Spec, target: Spec) -> None:
    """Change what differs; scheduled runs stay, and workers take the template that they find at each run."""
    fields = {key: value for key, value in target.items() if value != live.get(key)}
    _send(api, "PATCH", f"/work_pools/{name}", fields)
