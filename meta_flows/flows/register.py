"""`register`: put the meta-flows themselves on the server, to be run from the Prefect UI and by schedule."""

from functools import partial
from pathlib import Path

from prefect import flow

from meta_flows.desired.registration import owner
from meta_flows.models import DeployResult
from meta_flows.proposals import propose_registration
from meta_flows.tasks.preparation import connect_to, resolve_meta_flows
from meta_flows.tasks.releasing import apply
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.shell import open_context


@flow(name="register", flow_run_name="register meta-flows for {environment}", validate_parameters=True)
def register(environment: str = "development", dry_run: bool = False, root: Path | None = None) -> DeployResult:
    """Create or update the deployments of the meta-flows for an environment.

    A deployment is written to only where it differs, so that what operators paused and what is scheduled stays.

    Args:
        environment: Environment to register them for, by its long or short name.
        dry_run: Stop after the plan; nothing is written.
        root: The repository; the working directory if not given.

    Returns:
        The outcome of each deployment; the run ends as Registered, InSync or Planned.

    Raises:
        DeployError: The run ends as RolledBack or RollbackIncomplete.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    target = connect_to(root, environment)
    meta_flows = resolve_meta_flows(root, target)
    with open_context(owner(target), root) as (context, _):
        plan = partial(propose_registration, context, meta_flows)
        proposal, applied = plan(), None
        if not dry_run:
            proposal, applied = apply(context, proposal, plan_again=lambda _: plan())
        result = report("Registered", proposal, applied)
    return final_state(result)
