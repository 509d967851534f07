"""Every rule of health as data: what was found of a deployment -> how it does, and why.

Each file in `cases/` states one rule. Facts are written in part and completed from `COMPLETE`, a deployment that does
well; times are those of a morning whose `NOW` is 12:00.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_flows.health import Facts, health

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
COMPLETE: dict[str, Any] = {
    "changed": "2026-03-01T00:00:00Z",
    "version": "new",
    "pool": "prod-python",
    "pool_status": "READY",
    "schedules": [{"slug": "daily", "next_run": "2026-03-03T06:00:00Z"}],
    "finished": [{"state": "Completed", "succeeded": True, "ended": "2026-03-02T06:01:00Z", "version": "new"}],
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    found = health(Facts.model_validate({**COMPLETE, **case["facts"]}), NOW)
    assert found.status == case["health"]
    assert [f"{reason.code} {reason.message}" for reason in found.reasons] == case.get("reasons", [])


def test_every_status_and_every_reason_has_a_case() -> None:
    cases = [yaml.safe_load(path.read_text()) for path in CASES]
    assert {case["health"] for case in cases} == {"Healthy", "Progressing", "Degraded", "Unhealthy"}
    codes = {reason.partition(" ")[0] for case in cases for reason in case.get("reasons", [])}
    assert codes == {"MF411", "MF412", "MF703", *(f"MF{number}" for number in range(731, 737))}


def test_the_next_run_is_the_first_of_all_schedules_and_the_last_run_the_newest() -> None:
    schedules = [{"slug": "a", "next_run": "2026-03-05T06:00:00Z"}, {"slug": "b", "next_run": "2026-03-04T06:00:00Z"}]
    found = health(Facts.model_validate({**COMPLETE, "schedules": schedules}), NOW)
    assert found.next_run == datetime(2026, 3, 4, 6, tzinfo=timezone.utc)
    assert found.last_run and found.last_run.ended.hour == 6
