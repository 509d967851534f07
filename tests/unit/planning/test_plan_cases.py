"""Every rule of planning as data: desired + released + live -> the expected change.

Each file in `cases/` states one rule. Specs are written in part and completed from `COMPLETE`, for all three states
alike; `live: null` is a deployment that does not exist, `released: null` one that was never released, `desired: null`
one that nobody asks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.models import LiveResource, Ownership, Plan, Resource
from meta_flows.planning import Policy, Prune, make_plan

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
OURS = ["environment:staging", "project:shop"]
COMPLETE: dict[str, Any] = {
    "version": "abc",
    "entrypoint": "flows/a/workflow.py:a",
    "tags": OURS,
    "parameters": {},
    "parameter_openapi_schema": {"type": "object", "properties": {}},
    "enforce_parameter_schema": True,
    "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/srv/flows"}}],
    "work_pool_name": "staging-python",
    "job_variables": {},
    "schedules": {},
}
ONLY_LIVE: dict[str, Any] = {
    "paused": False,
    "work_queue_name": "default",
    "description": None,
    "concurrency_limit": None,
    "concurrency_options": None,
}


def complete(stated: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec = {**COMPLETE, **more, **stated}
    spec["schedules"] = {key: completed_schedule(key, value) for key, value in spec["schedules"].items()}
    return spec


def completed_schedule(key: str, stated: dict[str, Any]) -> dict[str, Any]:
    slug = None if key.startswith("~") else key
    return {"slug": slug, "parameters": {}, **stated}


def live_schedules(schedules: dict[str, Any]) -> dict[str, Any]:
    return {key: {"active": True, "max_scheduled_runs": None, **value} for key, value in schedules.items()}


def live_deployment(key: str, stated: dict[str, Any]) -> LiveResource:
    spec = complete(stated, **ONLY_LIVE)
    spec["schedules"] = live_schedules(spec["schedules"])
    flow_name, _, name = key.partition("/")
    ids = {key: key for key in spec["schedules"]}
    return LiveResource(id=key, flow_name=flow_name, name=name, spec=spec, part_ids=ids)


def planned(case: dict[str, Any]) -> Plan:
    """The plan for the deployment a/a-python-staging, and for what else is live (`others`, by key)."""
    desired = Resource(
        flow_name="a",
        name="a-python-staging",
        kind="python",
        replaces=case.get("replaces"),
        spec=complete(case.get("desired") or {}),
    )
    released = {}
    if case.get("released") is not None:
        released[desired.address] = desired.model_copy(update={"spec": complete(case["released"])})
    others = (live_deployment(key, spec or {}) for key, spec in case.get("others", {}).items())
    live = {item.address: item for item in others}
    for key in (f"deployment/{key}" for key in case.get("others_released", ())):
        spec = {field: live[key].spec[field] for field in COMPLETE}
        schedules = {
            slug: {"slug": slug, "schedule": item["schedule"]}
            for slug, item in spec["schedules"].items()
            if item["slug"]
        }
        released[key] = desired.model_copy(update={"spec": {**spec, "schedules": schedules}})
    if case.get("live") is not None:
        live[desired.address] = live_deployment(desired.key, case["live"])
    prune = {**case.get("prune", {}), "present": frozenset(case.get("prune", {}).get("present", ()))}
    policy = Policy(adopt=case.get("adopt", False), prune=Prune(**prune))
    wanted = [] if case.get("desired", {}) is None else [desired]
    return make_plan(wanted, released, live, Ownership("shop", "staging"), policy=policy)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_is_the_expected_one(path: Path) -> None:
    """What the case's `rule` says."""
    case = yaml.safe_load(path.read_text())
    expected = case["plan"]
    if "error" in expected:
        with pytest.raises(MetaFlowsError) as refused:
            planned(case)
        assert [error.code for error in refused.value.errors] == [expected["error"]], case["rule"]
        return
    plan = planned(case)
    assert [error.code for error in plan.refused] == expected.get("refused", []), case["rule"]
    assert len(plan.kept) == len(expected.get("kept", [])), case["rule"]
    for words, kept in zip(expected.get("kept", []), plan.kept, strict=True):
        assert words in kept, case["rule"]
    changes = {change.key: change for change in plan.changes}
    others = {key: change.action for key, change in changes.items() if key != "a/a-python-staging"}
    assert others == expected.get("others", {}), case["rule"]
    if "action" not in expected:
        assert "a/a-python-staging" not in changes, case["rule"]
        return
    change = changes["a/a-python-staging"]
    assert change.action == expected["action"], case["rule"]
    if change.action != "create":
        fields = {field.path: [field.old, field.new] for field in change.fields}
        assert fields == expected.get("fields", {}), case["rule"]
    drifted = [field.path for field in change.fields if field.drift]
    assert drifted == expected.get("drift", []), case["rule"]
    for path_, value in expected.get("target", {}).items():
        found: Any = change.target
        for key in path_.split("."):
            found = found[key]
        assert found == value, case["rule"]


def test_a_plan_file_holds_no_targets_and_no_live_specs() -> None:
    """Both can hold what operators typed; only the fields that differ are written down."""
    case = {
        "desired": {"description": "new"},
        "released": {},
        "live": {"job_variables": {"env": {"X": "typed-by-hand"}}},
    }
    assert "typed-by-hand" not in planned(case).model_dump_json()


def test_the_digest_changes_with_the_live_state() -> None:
    """A plan made for another live state is another plan, even when it would change the same fields."""
    case: dict[str, Any] = {"desired": {"description": "new"}, "released": {}, "live": {}}
    other = {**case, "live": {"parameters": {"x": 1}}}
    assert planned(case).digest == planned(case).digest
    assert planned(case).digest != planned(other).digest


def test_the_digest_changes_when_the_same_target_is_reached_from_elsewhere() -> None:
    """Who approved to go from A to C has not approved to go from B to C."""
    case: dict[str, Any] = {"desired": {"description": "new"}, "released": {}, "live": {"description": "old"}}
    other = {**case, "live": {"description": "older"}}
    assert planned(case).digest != planned(other).digest


def test_the_digest_does_not_change_with_what_stays_as_it_is() -> None:
    case: dict[str, Any] = {"desired": {}, "released": {}, "live": {}}
    assert planned(case).digest == planned({**case, "live": {"paused": True}}).digest
