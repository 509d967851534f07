"""Ask for approval before anything is written, by a form in the Prefect UI; the run frees its worker while it waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import Pause
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from pydantic import Field, model_validator

from meta_flows.configuration import Environment
from meta_flows.diagnostics import refuse
from meta_flows.engine import joined
from meta_flows.models import Plan
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import client
from meta_flows.proposals import Proposal
from meta_flows.reporting import changes_by_action, markdown, question
from meta_flows.results import sum_up

PROTECTED = "production"
REJECTED = "rejected by who ran it"
PARTS_OF_A_FORM = 3
"""How many inputs the server keeps for one form: its schema, its description and its answer."""

Form = TypeVar("Form", bound=RunInput)


class Approval(RunInput):
    """The form that asks whether a plan may be carried out.

    The decision has no default: the server accepts no answer without one, so that **Resume** alone decides nothing.
    """

    decision: Literal["approve", "reject"] = Field(
        title="Decision", description="approve applies exactly this plan; reject ends the run, and nothing is written."
    )
    name: str = Field("", title="Your name", description="Kept with the release: Prefect does not know who you are.")
    reason: str = Field("", title="Reason", description="Why it may be done, or why not; kept with the release.")

    @model_validator(mode="before")
    @classmethod
    def _read_answer_to_earlier_form(cls, answer: Any) -> Any:
        """Accept `approve: true` or `false`: the form of a run that an earlier version suspended asks for that."""
        if isinstance(answer, dict) and "approve" in answer:
            decision = "approve" if answer["approve"] else "reject"
            return {"decision": decision, **{key: value for key, value in answer.items() if key != "approve"}}
        return answer

    def __str__(self) -> str:
        verdict = {"approve": "approved", "reject": "rejected"}[self.decision]
        return f"{verdict} by {self.name or 'an unnamed user'}" + (f": {self.reason}" if self.reason else "")


class Confirmation(RunInput):
    """The form that asks before production is emptied."""

    environment: str = Field("", title="Environment", description="Its name, to delete what is listed for good.")


def approve(environment: Environment, approved: str | None, proposal: Proposal) -> Proposal:
    """Ask for approval of a proposal where the environment requires it, and return the proposal with the answer.

    A run of a deployment is suspended. A worker starts it anew once the form is answered, and then the answer is valid
    for the very same plan only: for another plan the run asks again.

    Args:
        environment: Where it goes.
        approved: Digest of the plan that was approved already, `any`, or `none` for one that was rejected. Used only
            in a run that has no form.
        proposal: What is proposed.

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
    answer = _ask(Approval, environment, proposal.plan, partial(_show_plan, proposal))
    get_run_logger().info("The plan was %s", answer)
    return proposal._replace(approval=str(answer), blocked="" if answer.decision == "approve" else "Rejected")


def confirm_deletion(environment: Environment, proposal: Proposal, confirmed: str | None) -> None:
    """Go on only if production's name was given, or is typed into the form of a run that was started in the UI.

    Raises:
        MetaFlowsError: MF520, it was not.
    """
    if environment.name != PROTECTED or confirmed in (environment.name, environment.short_name):
        return
    if confirmed is None and deployment.id:
        describe = partial(_show_plan, proposal, f"Type **{environment.name}** to delete for good:\n\n")
        if _ask(Confirmation, environment, proposal.plan, describe).environment == environment.name:
            return
    raise refuse("MF520", environment=environment.name)


def _show_plan(proposal: Proposal, heading: str = "") -> str:
    """Write the full plan as an artifact, and return a heading and a summary that links to it."""
    result = sum_up("Planned", proposal)
    key = joined("plan", proposal.plan.project, proposal.plan.environment)
    artifact = create_markdown_artifact(markdown(result), key=key, description=result.message)
    return heading + question(result, f"{result.ui_url}/artifacts/artifact/{artifact}" if result.ui_url else None)


def _ask(form: type[Form], environment: Environment, plan: Plan, describe: Callable[[], str]) -> Form:
    """Suspend this run until the form about a plan is answered, and return the answer.

    Once it is answered, a worker starts the run anew: then this returns the answer at once, and describes nothing.
    """
    key = f"{form.__name__.lower()}-{plan.digest}"
    if not _is_asked(key):
        form = form.with_initial_data(description=describe())
    try:
        return suspend_flow_run(wait_for_input=form, timeout=environment.approval_timeout, key=key)
    except Pause:
        get_run_logger().warning(
            "Plan %s (%s) needs an answer: open %s, then ⋮ → Resume",
            plan.digest[:12],
            changes_by_action(plan.pending),
            url_for("flow-run", obj_id=flow_run.id),
        )
        raise


def _is_asked(key: str) -> bool:
    """Return whether this run was suspended with a question already; if not, delete what an earlier try left of it.

    A run that is retried is asked again, but the server would keep the form and the answer of its earlier try.
    """
    run_id = UUID(flow_run.id)
    with client() as api:
        if key in (api.read_flow_run(run_id).empirical_policy.pause_keys or ()):
            return True
        for item in api.filter_flow_run_input(run_id, f"suspended-{key}", limit=PARTS_OF_A_FORM, exclude_keys=set()):
            api.delete_flow_run_input(run_id, item.key)
    return False
