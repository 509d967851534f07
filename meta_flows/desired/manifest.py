"""The deployments as a standard `prefect.yaml`, which stock Prefect deploys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from meta_flows.models import Resource

COPIED = ("version", "description", "tags", "entrypoint", "parameters", "enforce_parameter_schema", "paused")


def manifest(deployments: Iterable[Resource], source: str) -> str:
    """Return the text of a file for `prefect deploy --all --prefect-file`; its first line names the source."""
    content = {"deployments": [_entry(deployment) for deployment in deployments]}
    heading = f"# Made by `meta-flows build` from {source}; changes made here are overwritten.\n"
    return heading + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _entry(deployment: Resource) -> dict[str, Any]:
    spec = deployment.spec
    work_pool = {
        "name": spec["work_pool_name"],
        "work_queue_name": spec.get("work_queue_name"),
        "job_variables": spec["job_variables"],
    }
    entry = {
        "name": deployment.name,
        **{field: spec[field] for field in COPIED if spec.get(field) is not None},
        "work_pool": {key: value for key, value in work_pool.items() if value is not None},
        "schedules": [_schedule(schedule) for schedule in spec["schedules"].values()],
        "pull": spec["pull_steps"],
    }
    if "concurrency_limit" in spec:
        entry["concurrency_limit"] = {"limit": spec["concurrency_limit"], **spec["concurrency_options"]}
    return entry


def _schedule(schedule: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in schedule.items() if key in ("slug", "active", "parameters")}
    return {**schedule["schedule"], **own}
