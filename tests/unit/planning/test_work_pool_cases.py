"""Every rule of planning work pools as data: stated + released + live -> the expected change.

Each file in `work_pools/` states one rule. `stated`, `released` and `live` are templates, `more`, `released_more` and
`live_more` what else a pool has. Templates of live pools are written in part and completed from `DEFAULT`, the template
of the type; `live: null` is a pool that does not exist, `released_more: null` one that is not ours.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_flows.models import WorkPoolChange
from meta_flows.planning import merge, work_pool_changes

CASES = sorted((Path(__file__).parent / "work_pools").glob("*.yaml"))
DEFAULT: dict[str, Any] = {
    "job_configuration": {"env": "{{ env }}", "stream": "{{ stream }}"},
    "variables": {
        "properties": {"env": {"type": "object", "default": {}}, "stream": {"type": "boolean", "default": True}}
    },
}


def spec(template: dict[str, Any] | None, more: dict[str, Any] | None) -> dict[str, Any]:
    return {"type": "process", **(more or {}), **({"base_job_template": template} if template else {})}


def live_spec(case: dict[str, Any]) -> dict[str, Any]:
    template = merge(case.get("live", {}), {}, DEFAULT, "base_job_template")
    return {
        "type": "process",
        "description": None,
        "concurrency_limit": None,
        "base_job_template": deepcopy(template),
        **case.get("live_more", {}),
    }


def planned(case: dict[str, Any]) -> tuple[list[WorkPoolChange], list[WorkPoolChange]]:
    ours = case.get("released_more", {}) is not None
    released = {"pool": spec(case.get("released"), case.get("released_more"))} if ours else {}
    live = {} if case.get("live", {}) is None else {"pool": live_spec(case)}
    stated = {"pool": spec(case.get("stated"), case.get("more"))}
    return work_pool_changes(stated, released, live, lambda _: DEFAULT, adopt=case.get("adopt", False))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_for_a_work_pool_is_the_expected_one(path: Path) -> None:
    """What the case's `rule` says."""
    case = yaml.safe_load(path.read_text())
    expected = case["plan"]
    changes, foreign = planned(case)
    assert [field.path for change in foreign for field in change.fields] == expected.get("foreign", []), case["rule"]
    assert [change.action for change in changes] == ([expected["action"]] if "action" in expected else []), case["rule"]
    for change in changes:
        fields = {field.path: [field.old, field.new] for field in change.fields}
        if "fields" in expected or "target" not in expected:
            assert fields == expected.get("fields", {}), case["rule"]
        assert [field.path for field in change.fields if field.drift] == expected.get("drift", []), case["rule"]
        assert change.target["base_job_template"] == expected.get("target", change.target["base_job_template"])


def test_the_template_of_a_type_is_not_asked_for_as_long_as_all_that_was_released_is_stated() -> None:
    """It may have to be fetched."""

    def unwanted(pool_type: str) -> dict[str, Any]:
        raise AssertionError(pool_type)

    stated = {"pool": spec({"variables": {"properties": {"stream": {"default": False}}}}, {"concurrency_limit": 1})}
    (change,), _ = work_pool_changes(stated, stated, {"pool": live_spec({})}, unwanted)
    assert len(change.fields) == 2
