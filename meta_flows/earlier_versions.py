"""Plans and releases as earlier versions of this package wrote them, in today's shape.

Work pools had fields of their own there, and deployments were told from them by the slash in their keys.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def upgraded_plan(data: Any) -> Any:
    """Return a plan's JSON in today's shape."""
    if not isinstance(data, dict) or "work_pools" not in data:
        return data
    plan = {key: value for key, value in data.items() if key != "work_pools"}
    pools = [
        {
            "type": "work_pool",
            "name": pool["name"],
            "kind": pool["type"],
            "action": pool.get("action", "create"),
            "fields": pool.get("fields", []),
        }
        for pool in data["work_pools"]
    ]
    return {**plan, "changes": [*pools, *plan.get("changes", ())]}


def upgraded_release(data: Any) -> Any:
    """Return a release's JSON in today's shape."""
    if not isinstance(data, dict) or "deployments" not in data:
        return data
    release = dict(data)
    deployments, previous, preimages = (release.pop(key, {}) for key in ("deployments", "previous", "preimages"))
    pools, earlier, images = (
        release.pop(key, {}) for key in ("work_pools", "previous_work_pools", "work_pool_preimages")
    )
    changed = [name for name in {**pools, **earlier} if name in images or pools.get(name) != earlier.get(name)]
    created = [
        pool["name"]
        for pool in release.get("plan", {}).get("work_pools", ())
        if pool.get("action", "create") == "create" and pool["name"] not in images
    ]
    live = {name: {"type": "work_pool", "name": name, "id": name, "spec": spec} for name, spec in images.items()}
    return {
        **release,
        "resources": _addressed("deployment", deployments) | _addressed("work_pool", _work_pools(pools)),
        "previous": _addressed("deployment", previous)
        | _addressed("work_pool", {name: _work_pools(earlier).get(name) for name in changed}),
        "preimages": _addressed("deployment", {key: _live(image) for key, image in preimages.items()})
        | _addressed("work_pool", dict.fromkeys(created) | live),
        "failures": {
            f"{'deployment' if '/' in key else 'work_pool'}/{key}": why
            for key, why in release.get("failures", {}).items()
        },
    }


def _addressed(resource_type: str, by_key: Json) -> Json:
    return {f"{resource_type}/{key}": value for key, value in by_key.items()}


def _work_pools(specs: Json) -> Json:
    return {
        name: {"type": "work_pool", "name": name, "kind": spec["type"], "spec": spec} for name, spec in specs.items()
    }


def _live(image: Json | None) -> Json | None:
    if image is None:
        return None
    return {
        **{key: value for key, value in image.items() if key != "schedule_ids"},
        "part_ids": image.get("schedule_ids", {}),
    }
