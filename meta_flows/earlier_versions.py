"""Upgrades of plans and releases that earlier versions of this package recorded.

Those records kept work pools in fields of their own; only a deployment's key had a slash in it.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def upgraded_plan(data: Any) -> Any:
    """Return a plan's JSON in today's shape."""
    if not isinstance(data, dict) or "work_pools" not in data:
        return data
    plan = dict(data)
    pools = [
        {
            "type": "work_pool",
            "name": pool["name"],
            "kind": pool["type"],
            "action": pool.get("action", "create"),
            "fields": pool.get("fields", []),
        }
        for pool in plan.pop("work_pools")
    ]
    return {**plan, "changes": [*pools, *plan.get("changes", ())]}


def upgraded_release(data: Any) -> Any:
    """Return a release's JSON in today's shape."""
    if not isinstance(data, dict) or "deployments" not in data:
        return data
    release = dict(data)
    deployments, previous, preimages = (release.pop(key, {}) for key in ("deployments", "previous", "preimages"))
    pools, previous_pools = (_work_pools(release.pop(key, {})) for key in ("work_pools", "previous_work_pools"))
    live_pools = {
        name: {"type": "work_pool", "name": name, "id": name, "spec": spec}
        for name, spec in release.pop("work_pool_preimages", {}).items()
    }
    unchanged = {name for name in pools if name not in live_pools and pools[name] == previous_pools.get(name)}
    created = [
        pool["name"]
        for pool in release.get("plan", {}).get("work_pools", ())
        if pool.get("action", "create") == "create" and pool["name"] not in live_pools
    ]
    return {
        **release,
        "resources": _by_address(deployments, pools),
        "previous": _by_address(
            previous, {name: previous_pools.get(name) for name in pools | previous_pools if name not in unchanged}
        ),
        "preimages": _by_address(
            {key: image and _live_deployment(image) for key, image in preimages.items()},
            dict.fromkeys(created) | live_pools,
        ),
        "failures": {
            f"{'deployment' if '/' in key else 'work_pool'}/{key}": why
            for key, why in release.get("failures", {}).items()
        },
    }


def _by_address(deployments: Json, work_pools: Json) -> Json:
    return {f"deployment/{key}": value for key, value in deployments.items()} | {
        f"work_pool/{name}": value for name, value in work_pools.items()
    }


def _work_pools(specs: Json) -> Json:
    return {
        name: {"type": "work_pool", "name": name, "kind": spec["type"], "spec": spec} for name, spec in specs.items()
    }


def _live_deployment(image: Json) -> Json:
    return {
        **{key: value for key, value in image.items() if key != "schedule_ids"},
        "part_ids": image.get("schedule_ids", {}),
    }
