"""Whatever else than resources, releases and the lock is read of a server, in bulk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
    """Return the work pools of these names that the server has, as the API has them."""
    return {pool["name"]: pool for pool in pages(api, "work_pools", work_pools={"name": {"any_": sorted(names)}})}


def read_paused_queues(api: Api, pools: Collection[str]) -> set[tuple[str, str]]:
    """Return the paused queues of some work pools, as (pool, queue)."""
    queues = ((pool, queue) for pool in pools for queue in pages(api, f"work_pools/{pool}/queues"))
    return {(pool, queue["name"]) for pool, queue in queues if queue["is_paused"]}


def read_blocks(api: Api, names: Collection[str]) -> set[str]:
    """Return the blocks of these names, as `type/name`; their values are not asked for."""
    found = pages(api, "block_documents", block_documents={"name": {"any_": sorted(names)}}) if names else ()
    return {f"{block['block_type']['slug']}/{block['name']}" for block in found}


def read_variables(api: Api, names: Collection[str]) -> set[str]:
    """Return those of the names that variables have."""
    found = pages(api, "variables", variables={"name": {"any_": sorted(names)}}) if names else ()
    return {variable["name"] for variable in found}


def has_live_worker(api: Api, pool: str) -> bool:
    """Whether any worker polls a work pool now."""
    body = {"workers": {"status": {"any_": ["ONLINE"]}}, "limit": 1}
    return bool(request(api, "POST", f"/work_pools/{pool}/workers/filter", body))
