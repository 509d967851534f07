"""The last step: say what happened, as the run's result, its state, an artifact and events."""

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
from meta_flows.models import Change, DeployResult, Health, Plan
from meta_flows.prefect_api.connection import translate_http_errors
from meta_flows.proposals import Proposal
from meta_flows.reporting import FAILED, markdown
from meta_flows.results import sum_up
from meta_flows.tasks import step


class DeployError(MetaFlowsError):
    """A meta-flow that did not do all it was asked to; what it did is in `result`."""

    def __init__(self, result: DeployResult) -> None:
        super().__init__(result.refused)
        self.result = result

    def __str__(self) -> str:
        return f"{self.result.state}: {self.result.message}"


@step("report")
def report(
    name: str,
    proposal: Proposal,
    carried: ApplyResult | None = None,
    *,
    health: Mapping[str, Health] | None = None,
    unwritten: str = "Planned",
) -> DeployResult:
    """Sum up what was planned and done, as an artifact and as events too.

    Args:
        name: How the run ends if it did something and nothing failed; a key of `reporting.RESULTS`.
        proposal: What was to be done.
        carried: What was done; None where nothing was written.
        health: Health of the deployments, by address.
        unwritten: How it ends if there was something to do and nothing was written.
    """
    result = sum_up(name if carried else unwritten, proposal, carried, health or {})
    plan = proposal.plan
    if not (carried and carried.unreachable):  # each would be tried for half a minute
        key = joined("deploy", plan.project, plan.environment)
        with suppress(MetaFlowsError), translate_http_errors():  # the result stands without a picture of it
            create_markdown_artifact(markdown(result), key=key, description=result.message)
        _emit_events(result, plan, carried)
    get_run_logger().info("%s: %s", result.state, result.message)
    return result


_results: dict[UUID, DeployResult] = {}
"""The newest result of this process: a state that the server took without our hearing of it comes back without its."""


def result_of(state: State[Any]) -> Any:
    """What a meta-flow that ran in this process returned or raised."""
    run_id = state.state_details.flow_run_id
    return _results[run_id] if run_id in _results else state.result(raise_on_failure=False)


def newest_result() -> DeployResult | None:
    """The result of the meta-flow that has just ended in this process, though the server did not take its state."""
    return next(iter(_results.values()), None)


def forget_results() -> None:
    """Begin anew: no meta-flow has ended yet."""
    _results.clear()


def final_state(result: DeployResult) -> DeployResult:
    """The meta-flow's final state, for it to return; who calls the flow gets the result, or `DeployError` raised."""
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
    """The final state of a meta-flow that another one has run, for that one to return as its own.

    Raises:
        MetaFlowsError: It was refused as a whole.
    """
    ended = result_of(state)
    if isinstance(ended, DeployError):
        ended = ended.result
    if isinstance(ended, BaseException):
        raise ended
    return final_state(ended)


CHANGED = {"Created": "created", "Updated": "updated", "Deleted": "deleted"}
"""Last part of a deployment's event, by how its change ended; one that was undone has none."""


def _emit_events(result: DeployResult, plan: Plan, carried: ApplyResult | None) -> None:
    """Tell automations what a meta-flow found and did.

    `meta-flows.release.*`, `meta-flows.drift.found` and `meta-flows.drift.repaired` are about the environment,
    `meta-flows.deployment.*` about each deployment that was changed. An event with more than 100 related resources is
    dropped without a word, so each deployment has its own.
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
