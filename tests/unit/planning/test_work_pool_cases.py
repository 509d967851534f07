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

from meta_flows.models import LiveResource, Ownership, Plan, Resource
from meta_flows.planning import Policy, make_plan, merge
from meta_flows.resources import WORK_POOL

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
    template = merge(WORK_POOL, case.get("live", {}), {}, DEFAULT, "base_job_template")
    return {
        "type": "process",
        "description": None,
        "concurrency_limit": None,
        "base_job_template": deepcopy(template),
        **case.get("live_more", {}),
    }


def declared(template: dict[str, Any] | None, more: dict[str, Any] | None) -> Resource:
    return Resource(type="work_pool", name="pool", kind="process", spec=spec(template, more))


def plan_for(stated: Resource, released: Resource | None, live: dict[str, Any] | None, **more: Any) -> Plan:
    there = LiveResource(type="work_pool", name="pool", id="1", spec=live) if live else None
    return make_plan(
        [stated],
        {released.address: released} if released else {},
        {there.address: there} if there else {},
        Ownership("shop", "staging"),
        **more,
    )


def planned(case: dict[str, Any]) -> Plan:
    ours = case.get("released_more", {}) is not None
    released = declared(case.get("released"), case.get("released_more")) if ours else None
    live = None if case.get("live", {}) is None else live_spec(case)
    policy = Policy(adopt=case.get("adopt", False))
    stated = declared(case.get("stated"), case.get("more"))
    return plan_for(stated, released, live, policy=policy, default=lambda _: DEFAULT)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_for_a_work_pool_is_the_expected_one(path: Path) -> None:
    """What the case's `rule` says."""
    case = yaml.safe_load(path.read_text())
    expected = case["plan"]
    plan = planned(case)
    refused = [error.message.rpartition(" in ")[2] for error in plan.refused if error.code == "MF417"]
    assert refused == expected.get("foreign", []), case["rule"]
    changes = plan.pending
    assert [change.action for change in changes] == ([expected["action"]] if "action" in expected else []), case["rule"]
    for change in changes:
        fields = {field.path: [field.old, field.new] for field in change.fields}
        if "fields" in expected or "target" not in expected:
            assert fields == expected.get("fields", {}), case["rule"]
        assert [field.path for field in change.fields if field.drift] == expected.get("drift", []), case["rule"]
        assert change.target["base_job_template"] == expected.get("target", change.target["base_job_template"])


def test_the_template_of_a_type_is_not_asked_for_as_long_as_all_that_was_released_is_stated() -> None:
    """It may have to be fetched."""
    template = {"variables": {"properties": {"stream": {"default": False}}}}
    stated = declared(template, {"concurrency_limit": 1})
    (change,) = plan_for(stated, stated, live_spec({})).pending
    assert len(change.fields) == 2
