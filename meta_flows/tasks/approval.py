"""Ask for approval before anything is written, by a form in the Prefect UI; the run frees its worker while it waits."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from prefect import get_run_logger
from prefect.exceptions import Pause
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field

from meta_flows.configuration import Environment
from meta_flows.diagnostics import refuse
from meta_flows.models import Plan
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import client
from meta_flows.proposals import Proposal
from meta_flows.reporting import question
from meta_flows.results import sum_up

PROTECTED = "production"
REJECTED = "rejected by who ran it"
PARTS_OF_A_FORM = 3
"""What the server keeps of one: its schema, its description, and what was answered."""

Form = TypeVar("Form", bound=RunInput)


class Approval(RunInput):
    """The form that asks whether a plan may be carried out."""

    approve: bool = Field(False, title="Approve", description="Carry out this plan, exactly as it is shown.")
    name: str = Field("", title="Your name", description="Kept with the release: Prefect does not know who you are.")
    reason: str = Field("", title="Reason", description="Why it may be done, or why not; kept with the release.")

    def __str__(self) -> str:
        verdict = "approved" if self.approve else "rejected"
        return f"{verdict} by {self.name or 'somebody'}" + (f": {self.reason}" if self.reason else "")


class Confirmation(RunInput):
    """The form that asks before production is emptied."""

    environment: str = Field("", title="Environment", description="Its name, to delete what is listed for good.")


def unasked(proposal: Proposal) -> Proposal:
    """A proposal that needs no approval."""
    return proposal


def approve(environment: Environment, approved: str | None, proposal: Proposal) -> Proposal:
    """Ask for approval of what is proposed, where the environment requires it.

    A run of a deployment is suspended: a worker starts it anew once the form is answered, and then the answer counts
    for the very same plan only. Another plan is another question.

    Args:
        environment: Where it goes.
        approved: Digest of the plan that was approved already, `any`, or `none` for one that was rejected; counts only
            where there is no form.
        proposal: What is proposed.

    Returns:
        The same with the answer; a rejected one is not worth doing any more.

    Raises:
        MetaFlowsError: MF508, there is no way to ask; MF510, another plan was approved.
    """
    if not environment.require_approval or not proposal.has_changes or proposal.approval or proposal.undoes:
        return proposal
    if not deployment.id:
        if not approved:
            raise refuse("MF508", environment=environment.name)
        if approved == "none":
            return proposal._replace(approval=REJECTED, blocked="Rejected")
        if approved not in ("any", proposal.plan.digest):
            raise refuse("MF510", planned=approved[:12], now=proposal.plan.digest[:12])
        return proposal._replace(approval="approved by who ran it")
    answer = _ask(Approval, environment, proposal.plan, question(sum_up("Planned", proposal)))
    get_run_logger().info("The plan was %s", answer)
    return proposal._replace(approval=str(answer), blocked="" if answer.approve else "Rejected")


def confirm_deletion(environment: Environment, proposal: Proposal, confirmed: str | None) -> None:
    """Go on only if production's name was given, or is typed into the form of a run that was started in the UI.

    Raises:
        MetaFlowsError: MF520, it was not.
    """
    if environment.name != PROTECTED or confirmed in (environment.name, environment.short_name):
        return
    if confirmed is None and deployment.id:
        names = "\n".join(f"- {change.name}" for change in proposal.plan.pending)
        text = f"Type **{environment.name}** to delete for good:\n\n{names}"
        if _ask(Confirmation, environment, proposal.plan, text).environment == environment.name:
            return
    raise refuse("MF520", environment=environment.name)


def _ask(form: type[Form], environment: Environment, plan: Plan, description: str) -> Form:
    """What was answered to this question about this plan; the run is suspended until it is."""
    asking = form.with_initial_data(description=description)
    key = f"{form.__name__.lower()}-{plan.digest}"
    _forget_answers_of_earlier_tries(key)
    try:
        return suspend_flow_run(wait_for_input=asking, timeout=environment.approval_timeout, key=key)
    except Pause:
        link = url_for("flow-run", obj_id=flow_run.id)
        get_run_logger().warning("Plan %s needs an answer: open %s, then ⋮ → Resume", plan.digest[:12], link)
        raise


def _forget_answers_of_earlier_tries(key: str) -> None:
    """Make room for the same question: to a run that is retried the server puts it again, but keeps the old form."""
    with client() as api:
        run_id = UUID(flow_run.id)
        if key not in (api.read_flow_run(run_id).empirical_policy.pause_keys or ()):
            for kept in api.filter_flow_run_input(
                run_id, f"suspended-{key}", limit=PARTS_OF_A_FORM, exclude_keys=set()
            ):
                api.delete_flow_run_input(run_id, kept.key)
