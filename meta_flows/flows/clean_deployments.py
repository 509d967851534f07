"""`clean_deployments`: delete an environment's deployments, ours and no others."""

from functools import partial
from pathlib import Path

from prefect import flow

from meta_flows.models import DeployResult
from meta_flows.proposals import propose_clean
from meta_flows.tasks.approval import approve, confirm_deletion
from meta_flows.tasks.preparation import connect_to, run_name
from meta_flows.tasks.releasing import apply
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.shell import open_context


@flow(name="clean-deployments", flow_run_name=run_name("clean"), validate_parameters=True)
def clean_deployments(
    environment: str = "development",
    pattern: str | None = None,
    dry_run: bool = False,
    confirm: str | None = None,
    approved: str | None = None,
    root: Path | None = None,
) -> DeployResult:
    """Delete the deployments that this project owns in an environment.

    It never touches what others own or made by hand. A deploy creates again what the repository still declares, and a
    rollback what was released before.

    Args:
        environment: Environment to clean, by its long or short name.
        pattern: Only deployments whose name, or flow/name, matches this glob.
        dry_run: Stop after the plan; nothing is deleted.
        confirm: The environment's name, where it is production; a run from the UI asks for it.
        approved: Digest of the plan that was approved already, or `any`; a run from the UI asks for it by a form.
        root: The repository; the working directory if not given.

    Returns:
        The outcome of each deployment; the run ends as Cleaned, InSync or Planned.

    Raises:
        DeployError: The run ends as Incomplete: something could not be deleted.
        MetaFlowsError: Nothing was done; MF520, it was not confirmed.
    """
    root = (root or Path()).resolve()
    target = connect_to(root, environment)
    with open_context(target, root) as (context, _):
        plan = partial(propose_clean, context, pattern)
        proposal, applied = plan(), None
        if proposal.has_changes and not dry_run:
            confirm_deletion(target, proposal, confirm)
            ask = partial(approve, target, approved)
            proposal, applied = apply(context, proposal, approve=ask, plan_again=lambda _: plan())
        result = report("Cleaned", proposal, applied)
    return final_state(result)
