"""`check_ui`: verify that everything is as it was released, is healthy, and can be seen in the UI."""

from pathlib import Path

from prefect import flow

from meta_flows.models import DeployResult
from meta_flows.prefect_api.store import connected_store
from meta_flows.tasks.checking import observe_runs, report_check, verify_ui_in_browser, verify_ui_settings
from meta_flows.tasks.preparation import connect_to
from meta_flows.tasks.report import final_state


@flow(name="check-ui", flow_run_name="check {environment}", validate_parameters=True)
def check_ui(
    environment: str = "development",
    browser: bool = False,
    screenshots: Path | None = None,
    wait: float = 75,
    root: Path | None = None,
) -> DeployResult:
    """Compare an environment's deployments with the current release, and check that browsers can show them.

    What is not as it was released, is not scheduled, or cannot be seen in the UI is a failure. Paused deployments,
    missing workers and failed runs are no failures: they are the health of the deployments, and are reported.

    Args:
        environment: Environment to look at, by its long or short name.
        browser: Open the UI in a browser, too: it has to list each deployment, and to show its page.
        screenshots: Folder for pictures of the pages; build/screenshots/<environment> if not given.
        wait: How many seconds the scheduler may take for runs that are not scheduled yet.
        root: The repository; the working directory if not given.

    Returns:
        The state of each deployment; the run ends as Verified.

    Raises:
        DeployError: The run ends as NotVerified.
        MetaFlowsError: The environment is not known, or its server cannot be used.
    """
    root = (root or Path()).resolve()
    target = connect_to(root, environment)
    folder = screenshots or root / "build" / "screenshots" / target.name
    with connected_store() as store:
        observed = observe_runs(store, target, wait)
        settings = verify_ui_settings()
        seen = verify_ui_in_browser(target, observed, folder) if browser and not settings else []
        result = report_check(target, observed, settings, seen, folder)
    return final_state(result)
