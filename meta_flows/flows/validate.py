"""`validate`: say everything that a deploy would refuse, and what it would warn of, without planning one."""

from pathlib import Path

from prefect import flow

from meta_flows.configuration import Selection
from meta_flows.models import DeployResult
from meta_flows.proposals import check_plan
from meta_flows.tasks.building import BUILDERS, find_images
from meta_flows.tasks.planning import resolve
from meta_flows.tasks.preparation import (
    configure_flows,
    discover_flows,
    enter_environment,
    report_validation,
    validate_flows,
)
from meta_flows.tasks.report import final_state
from meta_flows.tasks.shell import connected, observing


@flow(name="validate", flow_run_name="validate {environment}", validate_parameters=True, task_runner=BUILDERS)
def validate(
    environment: str = "development",
    flows: list[str] | None = None,
    kinds: list[str] | None = None,
    pattern: str | None = None,
    import_flows: bool = False,
    root: Path | None = None,
) -> DeployResult:
    """Apply every rule to the flows, their configuration and the deployments that they come to; nothing is written.

    Args:
        environment: Environment to check them for, by its long or short name.
        flows: Only these flows: globs over slugs, names, functions, folders and paths.
        kinds: Only these kinds of deployment, e.g. python.
        pattern: Only deployments whose name, or flow/name, matches this glob.
        import_flows: Import every flow, and not only those whose code is new, in a process of its own.
        root: The repository; the working directory if not given.

    Returns:
        What was found; the run ends as Valid.

    Raises:
        DeployError: The run ends as Invalid: a deploy would refuse something.
        MetaFlowsError: The environment is not known, or its server cannot be asked.
    """
    root = (root or Path()).resolve()
    selection = Selection(flows=tuple(flows or ()), kinds=tuple(kinds or ()), pattern=pattern)

    target = enter_environment(root, environment)
    with connected(target, root) as (context, api), observing(context) as ours:
        discovered = discover_flows(root)
        configured = configure_flows(root, discovered, target, selection, {}, allow_none=False)
        configured = validate_flows(root, discovered, configured, target, selection)
        images = find_images(root, configured, target)
        observed, pools, checked = resolve(context, api, configured, images, ours.result(), import_flows=import_flows)
        checked = check_plan(context, checked, observed, pools)
    return final_state(report_validation(target, configured, checked, import_flows=import_flows))
