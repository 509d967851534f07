"""`images`: build, push or pull the images of an environment's flows, without deploying anything."""

from pathlib import Path
from typing import Literal

from prefect import flow

from meta_flows.configuration import Selection
from meta_flows.models import DeployResult
from meta_flows.tasks.building import BUILDERS, build_images, observe_images, report_images, transfer_images
from meta_flows.tasks.preparation import connect_to, discover_flows, resolve_configuration
from meta_flows.tasks.report import final_state


@flow(name="images", flow_run_name="{action} images of {environment}", validate_parameters=True, task_runner=BUILDERS)
def images(
    environment: str = "development",
    action: Literal["build", "push", "pull"] = "build",
    flows: list[str] | None = None,
    root: Path | None = None,
) -> DeployResult:
    """Build the images that the engine lacks, push those that it has, or pull those that a registry has.

    Args:
        environment: Environment whose settings hold, by its long or short name.
        action: What to do.
        flows: Only these flows: globs over slugs, names, functions, folders and paths.
        root: The repository; the working directory if not given.

    Returns:
        What was done; the run ends as InSync, Built, Pushed or Pulled.

    Raises:
        DeployError: The run ends as Incomplete: something failed.
        MetaFlowsError: Nothing was done.
    """
    root = (root or Path()).resolve()
    target = connect_to(root, environment)
    discovered = discover_flows(root)
    configured = resolve_configuration(root, discovered, target, Selection(flows=tuple(flows or ())), {})
    observed = observe_images(root, configured, target, local=True)
    if action == "build":
        done = build_images(root, target, observed, push=False)
    else:
        done = transfer_images(target, observed, action)
    return final_state(report_images(target, configured, done, action))
