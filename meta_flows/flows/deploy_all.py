"""`deploy_all`: bring an environment's deployments in line with the repository."""

from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from meta_flows.configuration import Selection
from meta_flows.models import DeployResult
from meta_flows.proposals import DeployOptions
from meta_flows.tasks.approval import approve
from meta_flows.tasks.building import BUILDERS, build_missing_images, observe_images
from meta_flows.tasks.checking import verify_health
from meta_flows.tasks.planning import plan_again, plan_deploy
from meta_flows.tasks.preparation import connect_to, discover_flows, resolve_configuration, run_name, validate_flows
from meta_flows.tasks.releasing import apply
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.shell import observing, open_context


@flow(name="deploy-all", flow_run_name=run_name("deploy"), validate_parameters=True, task_runner=BUILDERS)
def deploy_all(
    environment: str = "development",
    flows: list[str] | None = None,
    kinds: list[str] | None = None,
    pattern: str | None = None,
    dry_run: bool = False,
    adopt: bool = False,
    prune: bool | None = None,
    prune_limit: float | None = None,
    parameters: dict[str, Any] | None = None,
    plan_digest: str | None = None,
    approved: str | None = None,
    root: Path | None = None,
) -> DeployResult:
    """Discover every flow, and create or update its deployments where they differ from what the repository says.

    Args:
        environment: Environment to deploy to, by its long or short name.
        flows: Only these flows: globs over slugs, names, functions, folders and paths.
        kinds: Only these kinds of deployment, e.g. python.
        pattern: Only deployments whose name, or flow/name, matches this glob.
        dry_run: Stop after the plan; nothing is written.
        adopt: Take over deployments of the same flow and name that this project does not own.
        prune: Delete deployments that the repository no longer asks for; the environment's file says, if not given.
        prune_limit: Largest share of the deployments that may be deleted, from 0 to 1.
        parameters: Parameter values that take precedence over those of the files, for flows that have such parameters.
        plan_digest: Digest of the only plan to carry out; any other is refused.
        approved: Digest of the plan that was approved already, or `any`; a run from the UI asks for it by a form.
        root: The repository; the working directory if not given.

    Returns:
        The outcome of each deployment; the run ends as InSync, Deployed or Planned.

    Raises:
        DeployError: The run ends as RolledBack: something failed, and everything is as it was before. As Incomplete:
            something was left out. As RollbackIncomplete: something failed, and so did the rollback. As Rejected: the
            plan was rejected.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    selection = Selection(flows=tuple(flows or ()), kinds=tuple(kinds or ()), pattern=pattern)
    options = DeployOptions(adopt, prune, prune_limit, selection.partial, plan_digest)

    target = connect_to(root, environment)
    with open_context(target, root) as (context, api), observing(context) as observed:
        discovered = discover_flows(root)
        configured = resolve_configuration(
            root, discovered, target, selection, parameters or {}, allow_none=bool(prune)
        )
        configured = validate_flows(root, discovered, configured, target, selection)
        images = observe_images(root, configured, target)
        plan = partial(plan_deploy, context, api, discovered, configured, options)
        proposal, applied = plan(images, observed.result()), None
        if not dry_run:
            proposal, applied = apply(
                context,
                proposal,
                approve=partial(approve, target, approved),
                build=partial(build_missing_images, root, target),
                plan_again=partial(plan_again, context, plan),
            )
        health = verify_health(api, proposal, applied)
        result = report("Deployed", proposal, applied, health=health)
    return final_state(result)
