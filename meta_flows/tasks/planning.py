"""Steps that say what the repository wants of the server: render, and check against what it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

from prefect import get_run_logger

from meta_flows import proposals, validation
from meta_flows.configuration import Configured, Environment, deployment_name, load_template
from meta_flows.desired.deployments import Desired, Images, flows_with_new_code, render_all
from meta_flows.desired.parameter_schemas import parameter_schemas
from meta_flows.models import Change, FlowMetadata, LiveResource, Resource
from meta_flows.prefect_api import reads
from meta_flows.prefect_api.connection import Api
from meta_flows.proposals import Context, DeployOptions, Observed, PlannedPools, Proposal
from meta_flows.resources.work_pool import live_work_pool
from meta_flows.tasks import step
from meta_flows.validation import Pool, Reference, ServerObjects


def propose_deploy(
    context: Context,
    api: Api,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    options: DeployOptions,
    images: Images,
    observed: Observed,
) -> Proposal:
    """Render and plan a deploy.

    Args:
        context: Where it goes.
        api: Client of the server.
        flows: All flows of the repository.
        configured: The selected ones with their configuration.
        options: What was asked for beside them.
        images: Their images.
        observed: What the server has that is ours.
    """
    observed, pools, desired = resolve(context, api, configured, images, observed, adopt=options.adopt)
    return proposals.propose_deploy(context, flows, configured, desired, observed, pools, images, options)


def resolve(
    context: Context,
    api: Api,
    configured: Configured,
    images: Images,
    observed: Observed,
    *,
    adopt: bool = False,
    import_flows: bool = False,
) -> tuple[Observed, PlannedPools, Desired]:
    """Render every desired deployment, and check it against what the server has.

    Args:
        context: Where it goes.
        api: Client of the server.
        configured: The selected flows with their configuration.
        images: Their images.
        observed: What the server has that is ours.
        adopt: Change work pools that are not ours, too.
        import_flows: Import all flows for their parameter schemas, and not only those whose code is new.

    Returns:
        What the server has that is ours or has the name of what is ours, what is planned for work pools, and the
        deployments.
    """
    environment = context.environment
    observed = proposals.observe_others(context, observed, _addresses(configured, environment))
    released = {} if import_flows else observed.released
    desired = render_deployments(context.root, configured, environment, images, released)
    declared = proposals.environment_pools(environment)
    pools = proposals.plan_pools(context, declared, observed, desired.deployments, adopt=adopt)
    return observed, pools, check_deployments(context, api, configured, desired, observed.live, pools.changes)


def propose_again(context: Context, propose: Callable[[Images, Observed], Proposal], proposal: Proposal) -> Proposal:
    """Propose a deploy anew, unless nothing has changed since it was proposed."""
    if not proposal.outdated and proposals.is_current(context, proposal):
        return proposal
    return propose(proposal.images, proposals.observe(context))


@step("render deployments")
def render_deployments(
    root: Path, configured: Configured, environment: Environment, images: Images, released: Mapping[str, Resource]
) -> Desired:
    """Render every desired deployment; parameter schemas are computed for flows whose code is new only."""
    specs = {item.key: item.spec for item in released.values() if item.type == "deployment"}
    new = flows_with_new_code(configured, environment, specs)
    get_run_logger().info("%d of %d flows have new code", len(new), len(configured.flows))
    schemas = parameter_schemas(root, {item.flow.entrypoint: item.variables for item in new})
    return render_all(root, configured, environment, images, released=specs, schemas=schemas)


def _addresses(configured: Configured, environment: Environment) -> set[str]:
    """The addresses of all deployments that are asked for."""
    return {
        f"deployment/{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}"
        for item in configured.flows
        for kind in item.kinds
    }


@step("validate deployments")
def check_deployments(
    context: Context,
    api: Api,
    configured: Configured,
    rendered: Desired,
    live: Mapping[str, LiveResource],
    pool_changes: Iterable[Change],
) -> Desired:
    """Apply the rules that compare deployments with what the server has: pools, job variables, blocks, variables.

    Args:
        context: Where it goes.
        api: Client of the server.
        configured: The flows.
        rendered: Their deployments.
        live: The resources that are known to exist, by address.
        pool_changes: What is made of them before the deployments are written.
    """
    server_objects = _server_objects(api, rendered.deployments, live, pool_changes)
    kept, found = validation.check_deployments(
        configured,
        rendered.deployments,
        context.environment,
        server_objects,
        cache(partial(load_template, context.root)),
    )
    for error in found.errors:
        get_run_logger().error("%s", error)
    for warning in found.warnings:
        get_run_logger().warning("%s", warning)
    refused, warnings = (*rendered.refused, *found.errors), (*rendered.warnings, *found.warnings)
    return Desired(kept, refused, warnings)


def _server_objects(
    api: Api, deployments: Collection[Resource], live: Mapping[str, LiveResource], pool_changes: Iterable[Change]
) -> ServerObjects:
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
    return ServerObjects(pools, existing)
