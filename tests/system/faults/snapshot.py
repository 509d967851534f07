"""What is on a server, from the API's raw answers, so that two moments can be compared."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from tests.servers import Server
from tests.system.faults.proxy import META_FLOWS
from tests.waiting import wait_until

PAGE = 200

IGNORED = frozenset({"id", "created", "updated", "status", "last_polled"})
"""Fields that are left out of the comparison; what they are ids of is named wherever else an id stands."""

LOCK = "deploy-"
"""How the names of the deploy locks begin; those of deployments' own limits begin with `deployment:`."""


class Snapshot(NamedTuple):
    """What was on the server.

    Attributes:
        content: Every object under a name that outlives its id.
        ids: Id of each deployment by `flow/deployment`.
    """

    content: dict[str, Any]
    ids: dict[str, str]

    def __sub__(self, other: Snapshot) -> str:
        """What differs, line by line: `-` was in the other one, `+` is in this one; empty when nothing does."""
        before, after = (
            json.dumps(snapshot.content, indent=1, sort_keys=True).splitlines() for snapshot in (other, self)
        )
        return "\n".join(difflib.unified_diff(before, after, "before", "after", n=8, lineterm=""))


def take(server: Server) -> Snapshot:
    """Read everything that a deploy is about."""
    with httpx.Client(base_url=server.api_url, timeout=30) as api:
        flows = [flow for flow in _all(api, "flows") if flow["name"] not in META_FLOWS]
        deployments, pools, queues = (
            _all(api, collection) for collection in ("deployments", "work_pools", "work_queues")
        )
        limits = [limit for limit in _all(api, "v2/concurrency_limits") if not limit["name"].startswith(LOCK)]

    names = {flow["id"]: f"flow {flow['name']}" for flow in flows}
    keys = {item["id"]: f"{names[item['flow_id']].removeprefix('flow ')}/{item['name']}" for item in deployments}
    pool_of = {pool["id"]: pool["name"] for pool in pools}
    names |= {pool["id"]: f"work pool {pool['name']}" for pool in pools}
    names |= {queue["id"]: f"queue {pool_of[queue['work_pool_id']]}/{queue['name']}" for queue in queues}
    names |= {item["id"]: f"deployment {keys[item['id']]}" for item in deployments}

    content = {names[found["id"]]: _named(found, names) for found in (*flows, *deployments, *pools, *queues)} | {
        f"limit {name}": _named({**limit, "name": name}, names)
        for limit in limits
        for name in [_replaced(limit["name"], names)]
    }
    return Snapshot(content, {key: found for found, key in keys.items()})


def _all(api: httpx.Client, collection: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) % PAGE == 0:

        def answered(offset: int = len(found)) -> httpx.Response | None:
            response = api.post(f"/{collection}/filter", json={"limit": PAGE, "offset": offset})
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        page = wait_until(answered).raise_for_status().json()
        found += page
        if not page:
            break
    return found


def _named(value: Any, names: Mapping[str, str]) -> Any:
    """The value without what is ignored, ids replaced by names, and lists whose order says nothing in one order."""
    if isinstance(value, dict):
        kept = {key: _named(inner, names) for key, inner in value.items() if key not in IGNORED}
        for key in ("tags", "schedules"):
            if isinstance(kept.get(key), list):
                kept[key] = sorted(kept[key], key=lambda item: json.dumps(item, sort_keys=True))
        return kept
    if isinstance(value, list):
        return [_named(inner, names) for inner in value]
    return _replaced(value, names) if isinstance(value, str) else value


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for found, name in names.items():
        text = text.replace(found, name)
    return text
