"""`validate`: report everything that a deploy would refuse or warn of, without planning one."""

from pathlib import Path

from prefect import flow

from meta_flows.configuration import Selection
from meta_flows.models import DeployResult
from meta_flows.proposals import check_plan
from meta_flows.tasks.building import BUILDERS, observe_images
from meta_flows.tasks.planning import resolve
from meta_flows.tasks.preparation import (
    connect_to,
    discover_flows,
    report_validation,
    resolve_configuration,
    validate_flows,
)
from meta_flows.tasks.report import final_state
from meta_flows.tasks.shell import observing, open_context


@flow(name="validate", flow_run_name="validate {environment}", validate_parameters=True, task_runner=BUILDERS)
def validate(
    environment: str = "development",
    flows: list[str] | None = None,
    kinds: list[str] | None = None,
    pattern: str | None = None,
    import_flows: bool = False,
    root: Path | None = None,
) -> DeployResult:
    """Apply every rule to the flows, their configuration and their deployments; nothing is written.

    Args:
        environment: Environment to check them for, by its long or short name.
        flows: Only these flows: globs over slugs, names, functions, folders and paths.
        kinds: Only these kinds of deployment, e.g. python.
        pattern: Only deployments whose name, or flow/name, matches this glob.
        import_flows: Import every flow, and not only those whose code is new, in a process of its own.
        root: The repository; the working directory if not given.

    Returns:
        The findings; the run ends as Valid.

    Raises:
        DeployError: The run ends as Invalid: a deploy would refuse something.
        MetaFlowsError: The environment is not known, or its server cannot be used.
    """
    root = (root or Path()).resolve()
    selection = Selection(flows=tuple(flows or ()), kinds=tuple(kinds or ()), pattern=pattern)

    target = connect_to(root, environment)
    with open_context(target, root) as (context, api), observing(context) as owned:
        discovered = discover_flows(root)
        configured = resolve_configuration(root, discovered, target, selection, {})
        configured = validate_flows(root, discovered, configured, target, selection)
        images = observe_images(root, configured, target)
        observed, pools, desired = resolve(context, api, configured, images, owned.result(), import_flows=import_flows)
        desired = check_plan(context, desired, observed, pools)
    return final_state(report_validation(target, configured, desired, import_flows=import_flows))
