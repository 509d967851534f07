"""The last step: report what happened, as the run's result, its state, an artifact and events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

from prefect import State, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.engine import ApplyResult, joined
from meta_flows.models import DeployResult, Health, Plan
from meta_flows.prefect_api.connection import translate_http_errors
from meta_flows.proposals import Proposal
from meta_flows.reporting import FAILED, markdown
from meta_flows.results import sum_up
from meta_flows.tasks import step


class DeployError(MetaFlowsError):
    """Raised by a meta-flow that did not do all that was asked; `result` says what it did."""

    def __init__(self, result: DeployResult) -> None:
        super().__init__(result.refused)
        self.result = result

    def __str__(self) -> str:
        return f"{self.result.state}: {self.result.message}"


@step("report")
def report(
    name: str,
    proposal: Proposal,
    applied: ApplyResult | None = None,
    *,
    health: Mapping[str, Health] | None = None,
    unwritten: str = "Planned",
) -> DeployResult:
    """Sum up what was planned and applied, as an artifact and as events too.

    Args:
        name: State in which the run ends if it applied changes and none failed; a key of `reporting.RESULTS`.
        proposal: What was planned.
        applied: What was applied; None where nothing was written.
        health: Health of the deployments, by address.
        unwritten: State in which the run ends if there were changes and none was applied.
    """
    result = sum_up(name if applied else unwritten, proposal, applied, health or {})
    plan = proposal.plan
    if not (applied and applied.unreachable):  # each request would be tried for half a minute
        key = joined("deploy", plan.project, plan.environment)
        with suppress(MetaFlowsError), translate_http_errors():  # the result is valid without its artifact
            create_markdown_artifact(markdown(result), key=key, description=result.message)
        _emit_events(result, plan, applied)
    get_run_logger().info("%s: %s", result.state, result.message)
    return result


_results: dict[UUID, DeployResult] = {}
"""The newest result of this process. Where the answer to setting a run's final state was lost, Prefect's retry returns
a state without the result."""


def result_of(state: State[Any]) -> Any:
    """Return what a meta-flow that ran in this process returned or raised."""
    run_id = state.state_details.flow_run_id
    return _results[run_id] if run_id in _results else state.result(raise_on_failure=False)


def newest_result() -> DeployResult | None:
    """Return the result of the meta-flow that ended last in this process, even if the server rejected its state."""
    return next(iter(_results.values()), None)


def forget_results() -> None:
    """Forget the results of meta-flows that ended earlier in this process."""
    _results.clear()


def final_state(result: DeployResult) -> DeployResult:
    """Return the state for a meta-flow to return: its caller gets the result, or Prefect raises `DeployError` there."""
    if flow_run.id:
        _results.clear()
        _results[UUID(flow_run.id)] = result
    state: State[Any] = (
        Failed(name=result.state, message=result.message, data=DeployError(result))
        if result.state in FAILED
        else Completed(name=result.state, message=result.message, data=result)
    )
    return cast(DeployResult, state)  # Prefect unwraps it


def as_it_ended(state: State[Any]) -> DeployResult:
    """Return the final state of a meta-flow that another one ran, for that one to return as its own.

    Raises:
        MetaFlowsError: The inner meta-flow was refused as a whole.
    """
    ended = result_of(state)
    if isinstance(ended, DeployError):
        ended = ended.result
    if isinstance(ended, BaseException):
        raise ended
    return final_state(ended)


CHANGED = {"Created": "created", "Updated": "updated", "Deleted": "deleted"}
"""Last part of a deployment's event, by how its change ended; a change that was undone has no event."""


def _emit_events(result: DeployResult, plan: Plan, applied: ApplyResult | None) -> None:
    """Emit events for automations: what a meta-flow found and did.

    `meta-flows.release.*`, `meta-flows.drift.found` and `meta-flows.drift.repaired` are about the environment,
    `meta-flows.deployment.*` about each deployment that was changed. Each deployment has an event of its own: Prefect
    silently drops an event with more than 100 related resources.
    """
    environment = {
        "prefect.resource.id": f"meta-flows.environment.{plan.project}.{plan.environment}",
        "prefect.resource.name": f"{plan.project} {plan.environment}",
    }
    summary = {"state": result.state, "message": result.message, "release": result.release}
    if result.state in ("Drifted", "Repaired"):
        drift = {change.key: [field.path for field in change.fields] for change in plan.pending}
        event = "drift.found" if result.state == "Drifted" else "drift.repaired"
        _emit(event, environment, {**summary, "drift": drift})
    elif applied:
        _emit(f"release.{applied.release.state}", environment, {**summary, "restores": applied.release.restores})
    elif result.state == "Rejected":
        _emit("release.rejected", environment, summary)
    if applied is None:
        return
    for change in plan.pending:
        live = applied.live.get(change.address) or change.live
        ended = applied.results.get(change.address)
        changed = CHANGED.get(ended.state) if ended else None
        if changed and live and change.type == "deployment":
            deployment = {
                "prefect.resource.id": f"prefect.deployment.{live.id}",
                "prefect.resource.name": change.name,
                "meta-flows.environment": plan.environment,
            }
            fields = [field.path for field in change.fields]
            payload = {"release": applied.release.id, "fields": fields, "reason": change.reason}
            _emit(f"deployment.{changed}", deployment, payload)


def _emit(event: str, resource: dict[str, str], payload: dict[str, Any]) -> None:
    run = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
    emit_event(f"meta-flows.{event}", resource=resource, related=[run], payload=payload)
