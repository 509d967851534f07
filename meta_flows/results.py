"""Sum up a proposal and its application as the result of a meta-flow."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows.configuration.schedules import schedule_in_words
from meta_flows.diagnostics import diagnostic
from meta_flows.engine import DONE, ApplyResult, Result
from meta_flows.models import Change, DeployResult, Diagnostic, Health, LiveResource, Outcome
from meta_flows.prefect_api.compat import url_for
from meta_flows.proposals import Proposal
from meta_flows.reporting import PLANNED, counts_in_words
from meta_flows.resources import described


def sum_up(
    ending: str,
    proposal: Proposal,
    applied: ApplyResult | None = None,
    health: Mapping[str, Health] = MappingProxyType({}),
) -> DeployResult:
    """Return the result of a meta-flow.

    Args:
        ending: Ending of the run unless it failed, was blocked or found nothing to do; a key of `reporting.RESULTS`.
        proposal: The last proposal.
        applied: How it was applied; None if it was not.
        health: Health of the deployments, by address.
    """
    plan, before = proposal.plan, proposal.observed.live
    results, now = (applied.results, applied.live) if applied else ({}, before)

    def outcome(change: Change) -> Outcome:
        address = change.address
        live = (before if change.action == "unchanged" else now).get(address)
        return _outcome(change, results.get(address), live, health.get(address))

    outcomes = tuple(map(outcome, plan.changes))
    failures = tuple(
        diagnostic("MF503", what=described(item.address), detail=item.error)
        for item in outcomes
        if item.state == "Failed"
    )
    errors = (*failures, *(applied.errors if applied else ()), *proposal.refused)
    approval = (proposal.approval,) if proposal.approval else ()
    return DeployResult(
        environment=plan.environment,
        state=(applied.ending if applied else None) or _ending(ending, proposal, errors),
        message=counts_in_words(outcomes, len(proposal.refused)),
        outcomes=outcomes,
        refused=errors,
        warnings=proposal.warnings,
        notes=(*approval, *plan.kept, *proposal.notes, *(applied.notes if applied else ())),
        release=applied.release.id if applied else None,
        plan=plan,
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )


def _ending(ending: str, proposal: Proposal, errors: tuple[Diagnostic, ...]) -> str:
    if proposal.blocked or errors:
        return proposal.blocked or "Incomplete"
    return "InSync" if proposal.plan.in_sync else ending


def _outcome(change: Change, result: Result | None, live: LiveResource | None, health: Health | None) -> Outcome:
    state, error = result or Result(PLANNED[change.action])
    shown = live.spec if live and result and not error else change.target
    spec = shown or (change.live.spec if change.live else {})
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
        health=health,
    )


def _link(change: Change, live: LiveResource | None, state: str) -> str | None:
    """Return the page of a resource in the Prefect UI, if it exists; the page of a work pool has its name."""
    if change.type == "deployment":
        return url_for("deployment", obj_id=live.id) if live else None
    return url_for("work-pool", obj_id=change.name) if change.live or state == DONE["create"] else None
