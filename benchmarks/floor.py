"""The floor: what creating the same deployments costs a client that does nothing else."""

from __future__ import annotations

import time
from typing import Any

import httpx

from benchmarks.server import Server

CREATED = (
    "version",
    "description",
    "entrypoint",
    "path",
    "parameters",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
    "pull_steps",
    "work_pool_name",
    "job_variables",
)
"""What a deployment is created with, as the API returns it."""

PREFIX = "floor-"


def measure_floor(server: Server, project: str) -> float:
    """Create a project's deployments once more under other names, one after the other, and delete them again.

    Returns:
        Seconds that the creations took: two requests each, one for the flow and one for the deployment.
    """
    bodies = [_body(found) for found in server.deployments(project)]
    with httpx.Client(base_url=server.api_url, timeout=60) as api:
        names = {flow["id"]: flow["name"] for flow in server.flows()}
        begun, created = time.monotonic(), []
        for flow_id, body in bodies:
            flow = _post(api, "/flows/", {"name": PREFIX + names[flow_id]})["id"]
            created.append(_post(api, "/deployments/", {**body, "flow_id": flow})["id"])
        seconds = time.monotonic() - begun
        for deployment in created:
            while api.delete(f"/deployments/{deployment}").status_code == httpx.codes.SERVICE_UNAVAILABLE:
                pass
    return seconds


def _body(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A flow's id, and the body that creates its deployment under another name."""
    limit = found["global_concurrency_limit"]
    schedules = [
        {key: item[key] for key in ("schedule", "active", "parameters", "slug")} for item in found["schedules"]
    ]
    return found["flow_id"], {
        **{key: found[key] for key in CREATED},
        "name": PREFIX + found["name"],
        "tags": [],
        "schedules": schedules,
        "concurrency_limit": limit["limit"] if limit else None,
    }


def _post(api: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """The answer to a POST, sent again at once while SQLite is locked."""
    while (answer := api.post(path, json=body)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
        pass
    return answer.raise_for_status().json()
