"""The last step: say what happened, as the run's result, its state, an artifact and events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

from prefect import State, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed

from meta_flows.engine import DONE, ApplyResult, Result, joined
from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Change, DeployResult, Health, LiveResource, Outcome, ValidationError
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import speaking_plainly
from meta_flows.proposals import Proposal
from meta_flows.reporting import FAILED, PLANNED, counts_in_words, markdown, schedule_in_words
from meta_flows.resources import described
from meta_flows.tasks import step
from meta_flows.tasks.events import emit_events


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
        with suppress(MetaFlowsError), speaking_plainly():  # the result stands without a picture of it
            create_markdown_artifact(markdown(result), key=key, description=result.message)
        emit_events(result, plan, carried)
    get_run_logger().info("%s: %s", result.state, result.message)
    return result


def sum_up(
    ending: str,
    proposal: Proposal,
    carried: ApplyResult | None = None,
    health: Mapping[str, Health] = MappingProxyType({}),
) -> DeployResult:
    """The result of what was planned and done.

    Args:
        ending: How the run ends if nothing failed, was rejected or was in sync before; a key of `reporting.RESULTS`.
        proposal: What was to be done.
        carried: What was done.
        health: Health of the deployments, by address.
    """
    plan = proposal.plan
    results = carried.results if carried else {}
    before = proposal.observed.live
    now = carried.live if carried else before
    outcomes = tuple(
        _outcome(
            change, results.get(change.address), (before if change.action == "unchanged" else now).get(change.address)
        ).model_copy(update={"health": health.get(change.address)})
        for change in plan.changes
    )
    failures = tuple(
        problem("MF503", what=described(item.address), detail=item.error) for item in outcomes if item.state == "Failed"
    )
    errors = (*failures, *(carried.errors if carried else ()), *proposal.refused)
    return DeployResult(
        environment=plan.environment,
        state=carried.ending if carried and carried.ending else _ending(ending, proposal, errors),
        message=counts_in_words(outcomes, len(proposal.refused)),
        outcomes=outcomes,
        refused=errors,
        warnings=proposal.warnings,
        notes=(
            *([proposal.approval] if proposal.approval else []),
            *plan.kept,
            *proposal.notes,
            *(carried.notes if carried else ()),
        ),
        release=carried.release.id if carried else None,
        plan=plan,
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )


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


def _ending(ending: str, proposal: Proposal, errors: tuple[ValidationError, ...]) -> str:
    if proposal.rejected or proposal.busy:
        return "Rejected" if proposal.rejected else "Busy"
    return "Incomplete" if errors else "InSync" if proposal.plan.in_sync else ending


def _outcome(change: Change, result: Result | None, live: LiveResource | None) -> Outcome:
    error = result.error if result else None
    state = result.state if result else PLANNED[change.action]
    spec = live.spec if live and not error else change.target or (change.live.spec if change.live else {})
    return Outcome(
        type=change.type,
        flow_name=change.flow_name,
        name=change.name,
        kind=change.kind,
        state=state,
        reason="" if state == "NotRestored" else change.reason,
        fields=change.fields,
        updated=change.live.updated if change.live else None,
        link=_link(change, live, state),
        schedules={slug: schedule_in_words(item) for slug, item in sorted(spec.get("schedules", {}).items())},
        error=error,
    )


def _link(change: Change, live: LiveResource | None, state: str) -> str | None:
    """The page of a resource in the Prefect UI, if it exists; a work pool's page goes by its name."""
    if change.type == "deployment":
        return url_for("deployment", obj_id=live.id) if live else None
    return url_for("work-pool", obj_id=change.name) if change.live or state == DONE["create"] else None
