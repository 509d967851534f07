"""Steps from flows to a plan: resolve the desired deployments, validate them against the server, plan their deploy."""

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


def plan_deploy(
    context: Context,
    api: Api,
    flows: tuple[FlowMetadata, ...],
    configured: Configured,
    options: DeployOptions,
    images: Images,
    observed: Observed,
) -> Proposal:
    """Resolve the selected flows of a repository into deployments, and plan their deploy."""
    observed, pools, desired = resolve(context, api, configured, images, observed, adopt=options.adopt)
    return proposals.propose_deploy(context, flows, configured, desired, observed, pools, images, options)


def plan_again(context: Context, plan: Callable[[Images, Observed], Proposal], proposal: Proposal) -> Proposal:
    """Plan a deploy anew, unless nothing has changed since it was planned."""
    if not proposal.outdated and proposals.is_current(context, proposal):
        return proposal
    return plan(proposal.images, proposals.observe(context))


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
    """Render the desired deployments of flows, plan their work pools, and validate them against the server.

    Args:
        context: Where they go.
        api: Client of the server.
        configured: The selected flows with their configuration.
        images: Their images.
        observed: The resources on the server that this project owns.
        adopt: Change work pools that this project does not own, too.
        import_flows: Import all flows for their parameter schemas, not only those whose code is new.

    Returns:
        The observed resources, with those that others own under a name that this project needs; the planned work
        pools; the deployments.
    """
    environment = context.environment
    addresses = {
        f"deployment/{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}"
        for item in configured.flows
        for kind in item.kinds
    }
    observed = proposals.observe_others(context, observed, addresses)
    released = {} if import_flows else observed.released
    desired = resolve_deployments(context.root, configured, environment, images, released)
    declared = proposals.environment_pools(environment)
    pools = proposals.plan_pools(context, declared, observed, desired.deployments, adopt=adopt)
    return observed, pools, validate_deployments(context, api, configured, desired, observed.live, pools.changes)


@step("resolve deployments")
def resolve_deployments(
    root: Path, configured: Configured, environment: Environment, images: Images, released: Mapping[str, Resource]
) -> Desired:
    """Render every desired deployment; compute parameter schemas only of flows whose code is new."""
    specs = {item.key: item.spec for item in released.values() if item.type == "deployment"}
    new = flows_with_new_code(configured, environment, specs)
    get_run_logger().info("%d of %d flows have new code", len(new), len(configured.flows))
    schemas = parameter_schemas(root, {item.flow.entrypoint: item.variables for item in new})
    return render_all(root, configured, environment, images, released=specs, schemas=schemas)


@step("validate deployments")
def validate_deployments(
    context: Context,
    api: Api,
    configured: Configured,
    rendered: Desired,
    live: Mapping[str, LiveResource],
    pool_changes: Iterable[Change],
) -> Desired:
    """Apply the rules that compare deployments with the server's pools, job variables, blocks and variables.

    Args:
        context: Where they go.
        api: Client of the server.
        configured: The selected flows.
        rendered: Their deployments.
        live: The observed resources, by address.
        pool_changes: The changes of work pools that are made before the deployments are written.
    """
    server_objects = _read_server_objects(api, rendered.deployments, live, pool_changes)
    template = cache(partial(load_template, context.root))
    valid, found = validation.check_deployments(
        configured, rendered.deployments, context.environment, server_objects, template
    )
    for error in found.errors:
        get_run_logger().error("%s", error)
    for warning in found.warnings:
        get_run_logger().warning("%s", warning)
    return Desired(valid, (*rendered.refused, *found.errors), (*rendered.warnings, *found.warnings))


def _read_server_objects(
    api: Api, deployments: Collection[Resource], live: Mapping[str, LiveResource], pool_changes: Iterable[Change]
) -> ServerObjects:
    """Return the pools, blocks and variables that deployments refer to, read in one request for each of the three."""
    references = validation.references(deployments)
    blocks = reads.read_blocks(api, {item.name.rpartition("/")[2] for item in references if item.what == "block"})
    variables = reads.read_variables(api, {item.name for item in references if item.what == "variable"})
    existing = {Reference("block", name) for name in blocks} | {Reference("variable", name) for name in variables}
    return ServerObjects(_read_pools(api, deployments, live, pool_changes), existing)


def _read_pools(
    api: Api, deployments: Collection[Resource], live: Mapping[str, LiveResource], pool_changes: Iterable[Change]
) -> dict[str, Pool]:
    """Return the work pools of deployments by name, as they are once their changes are made."""
    names = {item.spec["work_pool_name"] for item in deployments}
    found = {item.name: item for item in live.values() if item.type == "work_pool" and item.name in names}
    if unknown := names - found.keys():
        found |= {body["name"]: live_work_pool(body) for body in reads.read_work_pools(api, unknown).values()}
    paused = reads.read_paused_queues(api, found)
    pools = {
        name: Pool(
            variables=pool.spec["base_job_template"].get("variables", {}),
            limit=pool.spec["concurrency_limit"],
            paused=frozenset(
                {queue for of, queue in paused if of == name} | ({None} if pool.spec["is_paused"] else set())
            ),
            polled=pool.ready,
        )
        for name, pool in found.items()
    }
    for change in pool_changes:
        pools[change.name] = pools.get(change.name, Pool({}))._replace(
            variables=change.target["base_job_template"].get("variables", {}),
            limit=change.target.get("concurrency_limit"),
        )
    return pools
