"""`register`: put the meta-flows themselves on the server, to be run from the Prefect UI and by schedule."""

from functools import partial
from pathlib import Path

from prefect import flow

from meta_flows.desired.registration import owner
from meta_flows.models import DeployResult
from meta_flows.proposals import propose_registration
from meta_flows.tasks.approval import unasked
from meta_flows.tasks.preparation import enter_environment, render_meta_flows
from meta_flows.tasks.releasing import carry_out
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.shell import connected


@flow(name="register", flow_run_name="register meta-flows for {environment}", validate_parameters=True)
def register(environment: str = "development", dry_run: bool = False, root: Path | None = None) -> DeployResult:
    """Create or update the deployments of the meta-flows for an environment.

    What operators paused, and the runs that are scheduled, stay: a deployment is written to only where it differs.

    Args:
        environment: Environment to register them for, by its long or short name.
        dry_run: Stop after the plan; nothing is written.
        root: The repository; the working directory if not given.

    Returns:
        What became of each deployment; the run ends as Registered, InSync or Planned.

    Raises:
        DeployError: The run ends as RolledBack or RollbackIncomplete.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    target = enter_environment(root, environment)
    wanted = render_meta_flows(root, target)
    ended = None
    with connected(owner(target), root) as (context, _):
        propose = partial(propose_registration, context, wanted)
        proposal = propose()
        if not dry_run:
            proposal, ended = carry_out(context, proposal, unasked, lambda _: propose())
        result = report("Registered", proposal, ended)
    return final_state(result)
