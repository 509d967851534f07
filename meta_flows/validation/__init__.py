"""Rules that catch what Prefect accepts without a word, and what would only show when a run starts.

Each rule is a generator of what is wrong with one flow or one deployment; none of them fails for what a file says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from meta_flows.configuration import (
    Configured,
    ConfiguredFlow,
    Environment,
    FlowConfiguration,
    Template,
    deployment_name,
    load_template,
)
from meta_flows.diagnostics import MetaFlowsError, diagnostic, outcome
from meta_flows.discovery import find_undeployable
from meta_flows.images import Context
from meta_flows.models import Diagnostic, FlowMetadata, Resource, ValidationResult
from meta_flows.validation.dependencies import check_dependencies
from meta_flows.validation.deployments import Pool, Reference, ServerObjects, newly_invalid_job_variables, references
from meta_flows.validation.deployments import check as check_deployment
from meta_flows.validation.dockerfiles import check_dockerfile, check_volumes
from meta_flows.validation.requirements import Declarations
from meta_flows.validation.schedules import check_schedules
from meta_flows.validation.sources import check_signature, check_variables

__all__ = [
    "Pool",
    "Reference",
    "ServerObjects",
    "check_configured",
    "check_deployments",
    "check_sources",
    "newly_invalid_job_variables",
    "references",
    "result",
]


def check_sources(
    root: Path, flows: Iterable[FlowMetadata], configured: Mapping[str, FlowConfiguration], ignore: Collection[str] = ()
) -> Iterator[Diagnostic]:
    """What is wrong with flows and what they import, no environment considered; what discovery said comes first.

    Args:
        root: The repository.
        flows: The flows.
        configured: What is known of their configuration, by entrypoint.
        ignore: Codes that do not count.
    """
    declarations = Declarations(root)
    for flow in flows:
        yield from flow.validation_errors
        if flow.is_valid:
            known = configured.get(flow.entrypoint)
            ignored = {*ignore, *(known.ignore if known else ())}
            found = _of_source(flow, declarations, known.parameters if known else ())
            yield from (error for error in found if error.code not in ignored)


def check_configured(
    root: Path, flows: Sequence[FlowMetadata], configured: Configured, environment: Environment, *, whole: bool
) -> Configured:
    """The same flows without those that a rule refuses, and with all that the rules say.

    Args:
        root: The repository.
        flows: All its flows.
        configured: The selected ones with their configuration.
        environment: Where they go.
        whole: Whether nothing was selected: then what belongs to no flow is looked at, too.
    """
    declarations, context = Declarations(root), Context(root)
    kinds = {kind for item in configured.flows for kind in item.kinds}
    templates = {kind: outcome(load_template, root, kind) for kind in kinds}  # a broken one is said where it is used
    uses_image = {kind for kind, item in templates.items() if isinstance(item, Template) and item.uses_image}

    def rules(item: ConfiguredFlow) -> Iterator[Diagnostic]:
        yield from _of_source(item.flow, declarations, item.configuration.parameters)
        yield from check_schedules(item)
        yield from check_variables(item, environment, root)
        if uses_image.intersection(item.kinds):
            yield from check_volumes(item, environment)
            yield from check_dockerfile(item.flow, environment, context, declarations)

    kept, found = [], list[Diagnostic]()
    for item in configured.flows:
        errors = _applied(rules(item), environment, item)
        found += errors
        kept += [] if result(errors).errors else [item]
    if whole:
        found += _applied(find_undeployable(root, flows), environment)
    said = result((*configured.refused, *configured.warnings, *found))
    return configured.model_copy(update={"flows": tuple(kept), "refused": said.errors, "warnings": said.warnings})


def check_deployments(
    configured: Configured,
    deployments: Iterable[Resource],
    environment: Environment,
    server_objects: ServerObjects | None = None,
    template: Callable[[str], Template] | None = None,
) -> tuple[tuple[Resource, ...], ValidationResult]:
    """The rendered deployments without those of flows that a rule refuses, and all that the rules say.

    Args:
        configured: The flows that they were rendered from.
        deployments: All of them.
        environment: Where they go.
        server_objects: What the server has; without it only parameters are checked.
        template: The template of a kind, for places.
    """
    by_name = {deployment.name: deployment for deployment in deployments}
    refused, found = set[str](), list[Diagnostic]()
    for item in configured.flows:
        names = (deployment_name(item.configuration.slug, kind, environment) for kind in item.kinds)
        rendered = [by_name[name] for name in names if name in by_name]
        rules = (
            error
            for deployment in rendered
            for error in check_deployment(item, deployment, server_objects, template and template(deployment.kind))
        )
        errors = _applied(rules, environment, item)
        found += errors
        if result(errors).errors:  # a flow is deployed in all its kinds or in none
            refused.update(deployment.name for deployment in rendered)
    return tuple(item for name, item in by_name.items() if name not in refused), result(found)


def result(errors: Iterable[Diagnostic]) -> ValidationResult:
    """What was found, each once: flows share modules, files and pools, and what is wrong with them."""
    distinct = dict.fromkeys(errors)
    return ValidationResult(
        errors=tuple(error for error in distinct if error.severity == "error"),
        warnings=tuple(error for error in distinct if error.severity == "warning"),
    )


def _of_source(flow: FlowMetadata, declarations: Declarations, stated: Collection[str] = ()) -> Iterator[Diagnostic]:
    yield from check_signature(flow, stated)
    yield from check_dependencies(flow, declarations.of(flow))


def _applied(
    rules: Iterable[Diagnostic], environment: Environment, item: ConfiguredFlow | None = None
) -> list[Diagnostic]:
    """What rules say that are not to be ignored; a file that cannot be read ends them, and is said.

    So is what we have not thought of; it ends no deploy.
    """
    found = list[Diagnostic]()
    try:
        ended = outcome(partial(found.extend, rules))
    except Exception as error:  # noqa: BLE001 - a rule that fails on something odd must not stop all other flows
        place = item.flow.place if item else None
        found.append(diagnostic("MF902", place, detail=f"{type(error).__name__}: {error}").as_warning())
        ended = None
    ignored = {*environment.ignore, *(item.configuration.ignore if item else ())}
    said = [*found, *(ended.errors if isinstance(ended, MetaFlowsError) else ())]
    return [error for error in said if error.code not in ignored]
