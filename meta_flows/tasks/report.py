"""The last step: say what happened, as the run's result, its state and an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Change, DeployResult, LiveDeployment, Outcome, Plan, ValidationError
from meta_flows.reporting import counts_in_words, markdown, schedule_in_words
from meta_flows.tasks import step
from meta_flows.tasks.applying import Applied

PLANNED = {"create": "ToCreate", "update": "ToUpdate", "delete": "ToDelete", "unchanged": "Unchanged"}
"""Name of a deployment's state in a dry run."""


class DeployError(MetaFlowsError):
    """A deploy that did not do all it was asked to; what it did is in `result`."""

    def __init__(self, result: DeployResult) -> None:
        super().__init__(result.refused)
        self.result = result

    def __str__(self) -> str:
        return f"{self.result.state}: {self.result.message}"


@step("report")
def report(
    plan: Plan,
    applied: Mapping[str, Applied],
    live: Mapping[str, LiveDeployment],
    refused: tuple[ValidationError, ...] = (),
    notes: tuple[str, ...] = (),
    release: str | None = None,
) -> DeployResult:
    """Sum up a deploy, as an artifact too.

    Args:
        plan: What was to be done.
        applied: What became of each change, by key; empty in a dry run.
        live: What is on the server now.
        refused: What was left out, and why.
        notes: What is worth knowing besides.
        release: Id of the release, if one was recorded.
    """
    outcomes = tuple(_outcome(change, applied.get(change.key), live.get(change.key)) for change in plan.changes)
    created = "is created by a deploy" if not applied else "was created"
    notes = (*(f"work pool {pool.name} of type {pool.type} {created}" for pool in plan.work_pools), *notes)
    failures = [problem("MF503", key=item.key, detail=item.error) for item in outcomes if item.error]
    refused = (*failures, *refused)
    result = DeployResult(
        environment=plan.environment,
        state="Incomplete" if refused else _final_name(plan, dry=not applied),
        message=counts_in_words(outcomes, len(refused) - len(failures)),
        outcomes=outcomes,
        refused=refused,
        notes=notes,
        release=release,
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = f"deploy-{plan.project}-{plan.environment}"
    create_markdown_artifact(markdown(result), key=key, description=result.message)
    get_run_logger().info("%s: %s", result.state, result.message)
    return result


def final_state(result: DeployResult) -> DeployResult:
    """The meta-flow's final state, for it to return; who calls the flow gets the result, or `DeployError` raised."""
    state: State[Any] = (
        Failed(name=result.state, message=result.message, data=DeployError(result))
        if result.state == "Incomplete"
        else Completed(name=result.state, message=result.message, data=result)
    )
    return cast(DeployResult, state)  # Prefect unwraps it


def _final_name(plan: Plan, *, dry: bool) -> str:
    if plan.in_sync:
        return "InSync"
    return "Planned" if dry else "Deployed"


def _outcome(change: Change, applied: Applied | None, live: LiveDeployment | None) -> Outcome:
    error = applied.error if applied else None
    spec = live.spec if live and not error else change.target
    return Outcome(
        flow_name=change.flow_name,
        name=change.name,
        kind=change.kind,
        state=applied.state if applied else PLANNED[change.action],
        fields=change.fields,
        link=url_for("deployment", obj_id=live.id) if live else None,
        schedules={slug: schedule_in_words(schedule) for slug, schedule in sorted(spec["schedules"].items())},
        error=error,
    )
