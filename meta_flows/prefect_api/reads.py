"""Read from a server what is neither a release nor the lock: single resources, pools, blocks, workers, its database."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from meta_flows.models import LiveResource, Ownership
from meta_flows.prefect_api.connection import Api, request
from meta_flows.resources import deployment as deployments
from meta_flows.resources import read_all


def pages(api: Api, collection: str, **body: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that a filter finds, page by page."""
    return read_all(partial(request, api), collection, **body)


def read_deployment(api: Api, flow_name: str, name: str) -> LiveResource | None:
    """Return one deployment as it is now, or None."""
    return next(deployments.read(partial(request, api), {f"{flow_name}/{name}"}), None)


def read_owned_deployments(api: Api, ownership: Ownership) -> dict[str, LiveResource]:
    """Return the deployments that carry our tags, by address."""
    return {item.address: item for item in deployments.read_owned(partial(request, api), ownership)}


def read_work_pools(api: Api, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the existing work pools of these names, as the API's JSON."""
    return {pool["name"]: pool for pool in pages(api, "work_pools", work_pools={"name": {"any_": sorted(names)}})}


def read_paused_queues(api: Api, pools: Collection[str]) -> set[tuple[str, str]]:
    """Return the paused queues of work pools, as (pool, queue)."""
    queues = ((pool, queue) for pool in pools for queue in pages(api, f"work_pools/{pool}/queues"))
    return {(pool, queue["name"]) for pool, queue in queues if queue["is_paused"]}


def read_blocks(api: Api, names: Collection[str]) -> set[str]:
    """Return the blocks of these names, as `type/name`, without their values."""
    found = pages(api, "block_documents", block_documents={"name": {"any_": sorted(names)}}) if names else ()
    return {f"{block['block_type']['slug']}/{block['name']}" for block in found}


def read_variables(api: Api, names: Collection[str]) -> set[str]:
    """Return the names that variables have."""
    found = pages(api, "variables", variables={"name": {"any_": sorted(names)}}) if names else ()
    return {variable["name"] for variable in found}


def has_live_worker(api: Api, pool: str) -> bool:
    """Return whether a worker polls a work pool now."""
    body = {"workers": {"status": {"any_": ["ONLINE"]}}, "limit": 1}
    return bool(request(api, "POST", f"/work_pools/{pool}/workers/filter", body))


def clock_ahead(api: Api) -> float:
    """Return by how many seconds this machine's clock is ahead of the server's, to about half a second."""
    asked = datetime.now(timezone.utc)
    answer = api.request("GET", "/admin/version")
    one_way = (datetime.now(timezone.utc) - asked) / 2
    server_time = parsedate_to_datetime(answer.headers["date"])  # in whole seconds, rounded down
    return (asked + one_way - server_time).total_seconds() - 0.5


def is_on_sqlite(api: Api) -> bool:
    r"""Return whether the server's database is SQLite; its settings mask that together with the password.

    In a pattern, PostgreSQL reads a backslash as an escape, so that `\t` is `t`; SQLite as a character like any other.
    """
    found = (
        len(api.request("POST", "/block_types/filter", json={"block_types": {"name": {"like_": pattern}}}).json())
        for pattern in ("secret", "secre\\t")
    )
    return next(found) > next(found)
