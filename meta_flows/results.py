"""What a meta-flow planned and did, as its result."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows.diagnostics import diagnostic
from meta_flows.engine import DONE, ApplyResult, Result
from meta_flows.models import Change, DeployResult, Diagnostic, Health, LiveResource, Outcome
from meta_flows.prefect_api.compat import url_for
from meta_flows.proposals import Proposal
from meta_flows.reporting import PLANNED, counts_in_words, schedule_in_words
from meta_flows.resources import described


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
        diagnostic("MF503", what=described(item.address), detail=item.error)
        for item in outcomes
        if item.state == "Failed"
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


def _ending(ending: str, proposal: Proposal, errors: tuple[Diagnostic, ...]) -> str:
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
