"""`reconcile`: find what is no longer as it was released, and bring it back."""

from functools import partial
from pathlib import Path
from typing import Literal

from prefect import flow

from meta_flows.flows.deploy_all import deploy_all
from meta_flows.models import DeployResult
from meta_flows.proposals import propose_repair
from meta_flows.tasks.checking import verify_health
from meta_flows.tasks.preparation import connect_to
from meta_flows.tasks.reconciling import check_out_branch, is_suspended, suspended, wait_for_jitter
from meta_flows.tasks.releasing import apply
from meta_flows.tasks.report import as_it_ended, final_state, report
from meta_flows.tasks.shell import open_context


@flow(name="reconcile", flow_run_name="reconcile {environment}", validate_parameters=True)
def reconcile(
    environment: str = "development",
    policy: Literal["report", "repair", "deploy"] | None = None,
    jitter: float = 0,
    root: Path | None = None,
) -> DeployResult:
    """Compare an environment's deployments with the current release, and deal with drift as the policy says.

    It compares with the release, not with what is checked out, so that it brings nothing to a server that no deploy has
    brought there. What operators pause or add is no drift, unless the repository declares otherwise.

    Args:
        environment: Environment to look at, by its long or short name.
        policy: Report drift, repair it, or deploy a branch; the environment's file says, if not given.
        jitter: Longest time that a scheduled run waits before it begins, in seconds.
        root: The repository; the working directory if not given.

    Returns:
        The outcome of each deployment; the run ends as InSync, Drifted, Repaired or Suspended, with the policy
        `deploy` as `deploy_all` does.

    Raises:
        DeployError: The run ends as RolledBack or RollbackIncomplete.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    wait_for_jitter(jitter)
    target = connect_to(root, environment)
    policy = policy or target.reconcile.policy
    if is_suspended(target):
        return final_state(suspended(target))
    if policy == "deploy":
        with check_out_branch(target, root) as checkout:
            return as_it_ended(deploy_all(environment=target.name, root=checkout, return_state=True))

    with open_context(target, root) as (context, api):
        proposal, applied = propose_repair(context), None
        if policy == "repair":
            plan_again = partial(propose_repair, context, locked=True)
            proposal, applied = apply(context, proposal, plan_again=lambda _: plan_again())
        health = verify_health(api, proposal, applied)
        result = report("Repaired", proposal, applied, health=health, unwritten="Drifted")
    return final_state(result)
