"""Events for automations: one for each deployment that was changed, and one that sums up.

An event with more than 100 related resources is dropped without a word, so each deployment has its own.
"""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event
from prefect.runtime import flow_run

from meta_flows.engine import ApplyResult
from meta_flows.models import Change, DeployResult, Plan

CHANGED = {"Created": "created", "Updated": "updated", "Deleted": "deleted"}
"""Last part of a deployment's event, by what became of it; what was taken back has none."""


def emit_events(result: DeployResult, plan: Plan, carried: ApplyResult | None) -> None:
    """Tell what a meta-flow found and did.

    `meta-flows.release.*`, `meta-flows.drift.found` and `meta-flows.drift.repaired` are about the environment,
    `meta-flows.deployment.*` about each deployment that was changed.
    """
    summary = {"state": result.state, "message": result.message, "release": result.release}
    if result.state in ("Drifted", "Repaired"):
        drift = {change.key: [field.path for field in change.fields] for change in plan.pending}
        _emit(plan, "drift.found" if result.state == "Drifted" else "drift.repaired", {**summary, "drift": drift})
    elif carried:
        _emit(plan, f"release.{carried.release.state}", {**summary, "restores": carried.release.restores})
    elif result.state == "Rejected":
        _emit(plan, "release.rejected", summary)
    if carried is None:
        return
    for change in plan.pending:
        live = carried.live.get(change.address) or change.live
        ended = carried.results.get(change.address)
        changed = CHANGED.get(ended.state) if ended else None
        if changed and live and change.type == "deployment":
            _emit_change(plan, change, live.id, changed, carried.release.id)


def _emit(plan: Plan, event: str, payload: dict[str, Any]) -> None:
    emit_event(
        f"meta-flows.{event}",
        resource={
            "prefect.resource.id": f"meta-flows.environment.{plan.project}.{plan.environment}",
            "prefect.resource.name": f"{plan.project} {plan.environment}",
        },
        related=_run(),
        payload=payload,
    )


def _emit_change(plan: Plan, change: Change, deployment_id: str, changed: str, release: str) -> None:
    emit_event(
        f"meta-flows.deployment.{changed}",
        resource={
            "prefect.resource.id": f"prefect.deployment.{deployment_id}",
            "prefect.resource.name": change.name,
            "meta-flows.environment": plan.environment,
        },
        related=_run(),
        payload={
            "release": release,
            "fields": [field.path for field in change.fields],
            "reason": change.reason,
        },
    )


def _run() -> list[dict[str, str]]:
    return [{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}]
