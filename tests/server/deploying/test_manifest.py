"""The manifest is no lock-in: stock Prefect makes of it what our own apply makes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.shops import Shop

OWN = ("id", "created", "updated", "flow_id", "work_queue_id", "last_polled", "status", "deployment_id")


def comparable(value: Any) -> Any:
    """An API answer without what is different for every object."""
    if isinstance(value, dict):
        kept = {key: comparable(content) for key, content in value.items() if key not in OWN}
        return {**kept, "tags": sorted(kept["tags"])} if "tags" in kept else kept
    if isinstance(value, list):
        items = [comparable(item) for item in value]
        return sorted(items, key=str)
    return value


@pytest.mark.system
def test_stock_prefect_makes_the_same_deployments_from_the_manifest(shop: Shop) -> None:
    shop.write("environments/development.yaml", {"resource_limits": {"memory": "512Mi"}})
    schedules = [
        {"slug": "cron", "cron": "0 6 * * 1-5", "timezone": "Europe/Berlin", "parameters": {"count": 5}},
        {"slug": "interval", "interval": 3600, "active": False},
        {"slug": "rrule", "rrule": "FREQ=WEEKLY;BYDAY=MO"},
    ]
    limit = {"limit": 2, "collision_strategy": "CANCEL_NEW"}
    shop.write("flows/a/deployment.yaml", {"schedules": schedules, "concurrency_limit": limit, "tags": ["x"]})
    shop.write(
        "flows/b/deployment.yaml",
        {"description": "By hand", "job_variables": {"env": {"A": "1"}}, "concurrency_limit": 1},
    )
    shop.write("flows/c/.env", "REGION=north\n")
    shop.deploy()
    ours = shop.live()
    for deployment in ours.values():
        shop.server.delete(f"/deployments/{deployment['id']}")
    assert shop.live() == {}

    built = shop.meta_flows("build")
    assert built.returncode == 0, built.stderr
    stock = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        [*stock, "--prefect-file", "build/prefect.development.yaml"],
        cwd=shop.root,
        env={**os.environ, "PREFECT_API_URL": shop.server.api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = shop.live()
    for name in ours:
        ours[name]["global_concurrency_limit"] and ours[name]["global_concurrency_limit"].pop("name")
        theirs[name]["global_concurrency_limit"] and theirs[name]["global_concurrency_limit"].pop("name")
        assert comparable(theirs[name]) == comparable(ours[name])
    assert shop.deploy()["state"] == "InSync"
