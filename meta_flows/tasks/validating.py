"""Steps that apply the rules of validation, and the report of what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from meta_flows import validation
from meta_flows.configuration import Configured, Environment, Selection, load_template
from meta_flows.desired import Desired, as_error
from meta_flows.engine import joined
from meta_flows.models import Change, DeployResult, FlowMetadata, LiveResource, Resource
from meta_flows.prefect_api import reads
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.connection import Api
from meta_flows.reporting import markdown
from meta_flows.resources.work_pool import live_work_pool
from meta_flows.tasks import step
from meta_flows.validation import Pool, Reference, Surroundings


@step("validate flows")
def validate_flows(
    root: Path,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    environment: Environment,
    selection: Selection,
) -> Configured:
    """Apply every rule that needs no server; what one refuses is left out, with its code."""
    checked = validation.check_configured(root, flows, configured, environment, whole=not selection.partial)
    for error in checked.refused:
        if error not in configured.refused:
            get_run_logger().error("%s", error)
    for warning in checked.warnings:
        get_run_logger().warning("%s", warning)
    return checked


@step("validate deployments")
def check_deployments(
    api: Api,
    root: Path,
    configured: Configured,
    rendered: Desired,
    live: Mapping[str, LiveResource],
    pool_changes: Iterable[Change],
    environment: Environment,
) -> Desired:
    """Apply the rules that compare deployments with what the server has: pools, job variables, blocks, variables.

    Args:
        api: Client of the server.
        root: The repository.
        configured: The flows.
        rendered: Their deployments.
        live: The resources that are known to exist, by address.
        pool_changes: What is made of them before the deployments are written.
        environment: Where it goes.
    """
    surroundings = _surroundings(api, rendered.deployments, live, pool_changes)
    kept, found = validation.check_deployments(
        configured, rendered.deployments, environment, surroundings, cache(partial(load_template, root))
    )
    for error in found.errors:
        get_run_logger().error("%s", error)
    for warning in found.warnings:
        get_run_logger().warning("%s", warning)
    refused, warnings = (*rendered.refused, *found.errors), (*rendered.warnings, *found.warnings)
    return Desired(kept, refused, warnings)


def _surroundings(
    api: Api, deployments: Collection[Resource], live: Mapping[str, LiveResource], pool_changes: Iterable[Change]
) -> Surroundings:
    """What the server has of all that deployments refer to, in one request for each sort of it."""
    used = {item.spec["work_pool_name"] for item in deployments}
    known = {item.name: item for item in live.values() if item.type == "work_pool" and item.name in used}
    if others := used - known.keys():
        known |= {body["name"]: live_work_pool(body) for body in reads.read_work_pools(api, others).values()}
    paused = reads.read_paused_queues(api, known)
    pools = {
        name: Pool(
            variables=pool.spec["base_job_template"].get("variables", {}),
            limit=pool.spec["concurrency_limit"],
            paused=frozenset(
                {queue for of, queue in paused if of == name} | ({None} if pool.spec["is_paused"] else set())
            ),
            polled=pool.ready,
        )
        for name, pool in known.items()
    }
    for change in pool_changes:
        pools[change.name] = pools.get(change.name, Pool({}))._replace(
            variables=change.target["base_job_template"].get("variables", {}),
            limit=change.target.get("concurrency_limit"),
        )
    wanted = validation.references(deployments)
    blocks = reads.read_blocks(api, {item.name.rpartition("/")[2] for item in wanted if item.what == "block"})
    variables = reads.read_variables(api, {item.name for item in wanted if item.what == "variable"})
    existing = {Reference("block", name) for name in blocks} | {Reference("variable", name) for name in variables}
    return Surroundings(pools, existing)


@step("report")
def report_validation(
    environment: Environment, configured: Configured, checked: Desired, *, import_flows: bool
) -> DeployResult:
    """Sum up what the rules say, as an artifact too.

    Args:
        environment: What was checked.
        configured: Its flows.
        checked: Their deployments.
        import_flows: Whether a flow that cannot be imported here is an error.
    """
    warnings = (*configured.warnings, *checked.warnings)
    if import_flows:
        warnings = tuple(map(as_error, warnings))
    found = validation.result((*configured.refused, *checked.refused, *warnings))
    counts = f"{len(found.errors)} errors, {len(found.warnings)} warnings"
    result = DeployResult(
        environment=environment.name,
        state="Valid" if found.is_valid else "Invalid",
        message=f"{counts}; {len(checked.deployments)} deployments can be deployed",
        refused=found.errors,
        warnings=found.warnings,
        notes=configured.notes,
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = joined("validation", *environment.ownership)
    create_markdown_artifact(markdown(result), key=key, description=result.message)
    return result
