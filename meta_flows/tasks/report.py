"""The last step: say what happened, as the run's result, its state, an artifact and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Change, DeployResult, Health, LiveDeployment, Outcome, Plan, ValidationError
from meta_flows.reporting import FAILED, PLANNED, counts_in_words, markdown, schedule_in_words
from meta_flows.tasks import step
from meta_flows.tasks.applying import Applied
from meta_flows.tasks.events import emit_events
from meta_flows.tasks.planning import Proposal
from meta_flows.tasks.releasing import Carried


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
    carried: Carried | None = None,
    *,
    health: Mapping[str, Health] | None = None,
    unwritten: str = "Planned",
) -> DeployResult:
    """Sum up what was planned and done, as an artifact and as events too.

    Args:
        name: How the run ends if it did something and nothing failed; a key of `reporting.RESULTS`.
        proposal: What was to be done.
        carried: What was done; None where nothing was written.
        health: How the deployments do, by key.
        unwritten: How it ends if there was something to do and nothing was written.
    """
    plan = proposal.plan
    applied = carried.applied if carried else {}
    before = proposal.observed.live
    now = carried.live if carried else before
    outcomes = tuple(
        _outcome(
            change, applied.get(change.key), (before if change.action == "unchanged" else now).get(change.key)
        ).model_copy(update={"health": (health or {}).get(change.key)})
        for change in plan.changes
    )
    failures = tuple(problem("MF503", key=item.key, detail=item.error) for item in outcomes if item.state == "Failed")
    errors = (*failures, *(carried.errors if carried else ()), *proposal.refused)
    result = DeployResult(
        environment=plan.environment,
        state=carried.ending
        if carried and carried.ending
        else _ending(name if carried else unwritten, proposal, errors),
        message=counts_in_words(outcomes, len(proposal.refused)),
        outcomes=outcomes,
        refused=errors,
        warnings=proposal.warnings,
        notes=(*_pools(plan, carried), *plan.kept, *proposal.notes, *(carried.notes if carried else ())),
        release=carried.release.id if carried else None,
        plan=plan,
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = f"deploy-{plan.project}-{plan.environment}"
    create_markdown_artifact(markdown(result), key=key, description=result.message)
    emit_events(result, plan, carried)
    get_run_logger().info("%s: %s", result.state, result.message)
    return result


_results: dict[UUID, DeployResult] = {}
"""The newest result of this process: a state that the server took without our hearing of it comes back without its."""


def result_of(state: State[Any]) -> Any:
    """What a meta-flow that ran in this process returned or raised."""
    run_id = state.state_details.flow_run_id
    return _results[run_id] if run_id in _results else state.result(raise_on_failure=False)


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


def _ending(name: str, proposal: Proposal, errors: tuple[ValidationError, ...]) -> str:
    return "Incomplete" if errors else "InSync" if proposal.plan.in_sync else name


def _pools(plan: Plan, carried: Carried | None) -> Iterator[str]:
    created = "was created" if carried else "is created by a deploy"
    return (f"work pool {pool.name} of type {pool.type} {created}" for pool in plan.work_pools)


def _outcome(change: Change, applied: Applied | None, live: LiveDeployment | None) -> Outcome:
    error = applied.error if applied else None
    spec = live.spec if live and not error else change.target or (change.live.spec if change.live else {})
    return Outcome(
        flow_name=change.flow_name,
        name=change.name,
        kind=change.kind,
        state=applied.state if applied else PLANNED[change.action],
        reason="" if applied and applied.state == "NotRestored" else change.reason,
        fields=change.fields,
        updated=change.live.updated if change.live else None,
        link=url_for("deployment", obj_id=live.id) if live else None,
        schedules={slug: schedule_in_words(item) for slug, item in sorted(spec["schedules"].items())},
        error=error,
    )
