"""`rollback`: make an earlier release the current one, or undo one that was cut short."""

from functools import partial
from pathlib import Path

from prefect import flow

from meta_flows.models import DeployResult
from meta_flows.proposals import propose_rollback
from meta_flows.tasks.approval import approve
from meta_flows.tasks.checking import verify_health
from meta_flows.tasks.preparation import connect_to, run_name
from meta_flows.tasks.releasing import apply
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.shell import open_context


@flow(name="rollback", flow_run_name=run_name("roll back"), validate_parameters=True)
def rollback(
    environment: str = "development",
    to: str | None = None,
    dry_run: bool = False,
    approved: str | None = None,
    root: Path | None = None,
) -> DeployResult:
    """Bring an environment's deployments back to what an earlier release made of them.

    A release that was killed half-way, or whose rollback failed, is undone first of all: everything that it wrote
    becomes what it was before, to the last field, and that needs no approval. Otherwise the earlier release becomes the
    current one, as if it were deployed again. What operators changed besides stays in both cases.

    Args:
        environment: Environment to roll back, by its long or short name.
        to: Id of the release to go back to; the one before the current, if not given.
        dry_run: Stop after the plan; nothing is written.
        approved: Digest of the plan that was approved already, or `any`; a run from the UI asks for it by a form.
        root: The repository; the working directory if not given.

    Returns:
        The outcome of each deployment; the run ends as Restored, InSync or Planned.

    Raises:
        DeployError: The run ends as RolledBack or RollbackIncomplete.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    target = connect_to(root, environment)
    with open_context(target, root) as (context, api):
        plan = partial(propose_rollback, context, to)
        proposal, applied = plan(), None
        if not dry_run:
            ask = partial(approve, target, approved)
            proposal, applied = apply(context, proposal, approve=ask, plan_again=lambda _: plan())
        health = verify_health(api, proposal, applied)
        result = report("Restored", proposal, applied, health=health)
    return final_state(result)
