"""The example pipeline does what docs/ci.md says, against a real server; it is stopped where it must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.shops import Shop

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
PIPELINE = EXAMPLES / "pipeline.sh"
WORKFLOW = EXAMPLES / "github-actions.yaml"


def run_stage(shop: Shop, stage: str) -> subprocess.CompletedProcess[str]:
    """One stage, as a CI job runs it: in the repository's root, with `meta-flows` on the path."""
    shell = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    return subprocess.run(
        ["sh", str(PIPELINE), stage], cwd=shop.root, env=shell, capture_output=True, text=True, timeout=180, check=False
    )


def plan_file(shop: Shop) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shop.root / "build" / "plan.json").read_text(encoding="utf-8"))
    return content


def test_what_is_planned_is_applied_and_a_stale_plan_is_not(shop: Shop) -> None:
    shop.write("environments/production.yaml", {"require_approval": True})
    planned = run_stage(shop, "plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert shop.live() == {}
    assert "3 to create" in (shop.root / "build" / "plan.md").read_text(encoding="utf-8")

    applied = run_stage(shop, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert set(shop.live()) == {"a-python-prod", "b-python-prod", "c-python-prod"}

    shop.write("flows/a/deployment.yaml", {"parameters": {"count": 3}})
    assert run_stage(shop, "plan").returncode == 0
    stale = plan_file(shop)["plan"]["digest"]
    by_hand = shop.live()["a-python-prod"]
    shop.server.patch(f"/deployments/{by_hand['id']}", {"parameters": {"count": 9}})
    before = shop.live()
    refused = run_stage(shop, "apply")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "MF510" in refused.stderr
    assert shop.live() == before

    assert plan_file(shop)["plan"]["digest"] != stale
    assert run_stage(shop, "apply").returncode == 0
    assert shop.live()["a-python-prod"]["parameters"] == {"count": 3}

    again = run_stage(shop, "apply")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "3 unchanged" in again.stdout


def test_a_broken_flow_fails_the_check_and_leaves_no_plan_to_apply(shop: Shop) -> None:
    shop.write("build/plan.json", {})
    shop.write("flows/a/deployment.yaml", {"schedules": [{"cron": "never"}]})
    refused = run_stage(shop, "plan")
    assert (refused.returncode, "MF205" in refused.stderr) == (1, True), refused.stderr
    assert not (shop.root / "build" / "plan.json").exists()
