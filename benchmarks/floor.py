"""The floor: what creating the same deployments costs a client that does nothing else."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx

from benchmarks.server import PATIENCE, Server
from meta_flows.resources.deployment import STATED_FIELDS

PREFIX = "floor-"


def measure_floor(server: Server, project: str) -> float:
    """Create a project's deployments once more under other names, one after the other, and delete them again.

    Returns:
        Seconds that the creations took: two requests each, one for the flow and one for the deployment.
    """
    bodies = [_body(found) for found in server.deployments(project)]
    with httpx.Client(base_url=server.api_url, timeout=PATIENCE) as api:
        names = {flow["id"]: flow["name"] for flow in server.flows()}
        begun, created = time.monotonic(), []
        for flow_id, body in bodies:
            flow = _send(api, "POST", "/flows/", {"name": PREFIX + names[flow_id]}).json()["id"]
            created.append(_send(api, "POST", "/deployments/", {**body, "flow_id": flow}).json()["id"])
        seconds = time.monotonic() - begun
        for deployment in created:
            _send(api, "DELETE", f"/deployments/{deployment}")
    return seconds


def _body(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A flow's id, and the body that creates its deployment under another name."""
    limit = found["global_concurrency_limit"]
    schedules = [
        {key: item[key] for key in ("schedule", "active", "parameters", "slug")} for item in found["schedules"]
    ]
    return found["flow_id"], {
        **{key: found[key] for key in STATED_FIELDS},
        "name": PREFIX + found["name"],
        "tags": [],
        "schedules": schedules,
        "concurrency_limit": limit["limit"] if limit else None,
    }


def _send(api: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """The answer to a request, sent again at once while SQLite is locked and when an idle connection was closed."""
    while True:
        with suppress(httpx.ReadError, httpx.RemoteProtocolError):
            answer = api.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
