"""`deploy_all`: bring an environment's deployments in line with the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from meta_flows import prefect_api
from meta_flows.configuration import Selection
from meta_flows.models import DeployResult
from meta_flows.tasks.applying import apply_plan, close_release, open_release
from meta_flows.tasks.planning import is_released, observe, plan_changes, released_specs, render_deployments
from meta_flows.tasks.preparation import configure_flows, discover_flows, enter_environment, refuse_all_if_strict
from meta_flows.tasks.report import final_state, report
from meta_flows.tasks.verification import verify


@flow(name="deploy-all", flow_run_name="deploy {environment}", validate_parameters=True)
def deploy_all(
    environment: str = "development",
    flows: list[str] | None = None,
    kinds: list[str] | None = None,
    pattern: str | None = None,
    dry_run: bool = False,
    adopt: bool = False,
    parameters: dict[str, Any] | None = None,
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
        parameters: Parameter values that go before those of the files, for flows that have such parameters.
        root: The repository; the working directory if not given.

    Returns:
        What became of each deployment; the run ends as InSync, Deployed or Planned.

    Raises:
        DeployError: Something was left out or failed, and the run ends as Incomplete; what was done is in its `result`.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    selection = Selection(flows=tuple(flows or ()), kinds=tuple(kinds or ()), pattern=pattern)

    target = enter_environment(root, environment, dry_run)
    discovered = discover_flows(root)
    configured = configure_flows(root, discovered, target, selection, parameters or {})
    with prefect_api.client() as api:
        observed = observe(api, target, configured)
        released = released_specs(observed.release)
        rendered = render_deployments(root, configured, target, released)
        plan = plan_changes(rendered.deployments, observed, target, adopt)
        refused = refuse_all_if_strict(target, (*configured.refused, *rendered.refused, *plan.refused))
        stopped = dry_run or (target.strict and refused)
        if stopped or (plan.in_sync and is_released(plan, rendered.deployments, observed)):
            result = report(plan, {}, observed.live, refused, configured.notes)
            return final_state(result)

        release = open_release(plan, rendered.deployments, released, root)
        applied = apply_plan(api, plan)
        verified = verify(api, rendered.deployments, release, applied)
        close_release(api, release, applied, verified.errors)
        result = report(plan, applied, verified.live, (*refused, *verified.errors), configured.notes, release.id)
    return final_state(result)
