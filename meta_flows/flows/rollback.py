"""`rollback`: make an earlier release the current one, or undo one that was cut short."""

from pathlib import Path

from prefect import flow

from meta_flows import prefect_api
from meta_flows.models import DeployResult
from meta_flows.tasks.going_back import choose_release, propose_release, propose_undoing, read_history
from meta_flows.tasks.health import look_at_health
from meta_flows.tasks.preparation import enter_environment
from meta_flows.tasks.releasing import carry_out, undo, writing
from meta_flows.tasks.report import final_state, report


@flow(name="rollback", flow_run_name="rollback {environment}", validate_parameters=True)
def rollback(
    environment: str = "development", to: str | None = None, dry_run: bool = False, root: Path | None = None
) -> DeployResult:
    """Bring an environment's deployments back to what an earlier release made of them.

    A release that was killed half-way, or that could not be taken back, is undone first of all: everything that it
    touched becomes what it was before, to the last field. Otherwise the earlier release becomes the current one, as if
    it were deployed again: what operators did beside it stays.

    Args:
        environment: Environment to roll back, by its long or short name.
        to: Id of the release to go back to; the one before the current, if not given.
        dry_run: Stop after the plan; nothing is written.
        root: The repository; the working directory if not given.

    Returns:
        What became of each deployment; the run ends as Restored, InSync or Planned.

    Raises:
        DeployError: The run ends as RolledBack or RollbackIncomplete.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    target = enter_environment(root, environment)
    carried = None
    with prefect_api.client() as api, writing(api, target, pretend=dry_run) as lock:
        releases = read_history(api, target)
        if releases[0].unfinished and to is None:
            proposal = propose_undoing(api, releases[0])
            if not dry_run:
                carried = undo(api, releases[0])
        else:
            chosen = choose_release(releases, to, target)
            proposal = propose_release(api, target, chosen)
            if proposal.worth_doing and not dry_run:
                carried = carry_out(api, target, proposal, lock, root=root, restores=chosen)
        result = report("Restored", proposal, carried, health=look_at_health(api, proposal, carried))
    return final_state(result)
