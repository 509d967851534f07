"""Asking somebody before what cannot be taken back."""

from __future__ import annotations

from prefect import get_run_logger
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment

from meta_flows.configuration import Environment
from meta_flows.errors import refuse
from meta_flows.models import Plan

PROTECTED = "production"
HOURS_TO_ANSWER = 1


class Confirmation(RunInput):
    """The form that the Prefect UI shows."""

    environment: str = ""


def confirm_deletion(environment: Environment, plan: Plan, confirmed: str | None) -> None:
    """Go on only if production's name was given, or is typed into the form of a run that was started in the UI.

    Raises:
        MetaFlowsError: MF520, it was not.
    """
    if environment.name != PROTECTED or confirmed in (environment.name, environment.short_name):
        return
    if confirmed is None and deployment.id:
        names = "\n".join(f"- {change.name}" for change in plan.pending)
        text = f"Type **{environment.name}** to delete for good:\n\n{names}"
        get_run_logger().info("Waiting for a confirmation in the UI")
        form = Confirmation.with_initial_data(description=text)
        if pause_flow_run(wait_for_input=form, timeout=HOURS_TO_ANSWER * 3600).environment == environment.name:
            return
    raise refuse("MF520", environment=environment.name)
