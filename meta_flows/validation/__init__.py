"""Rules that catch what Prefect accepts silently and what would otherwise fail only when a run starts.

Each rule is a generator of diagnostics of one flow or one deployment. No rule fails because of what a file contains.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from meta_flows.configuration import (
    Configured,
    ConfiguredFlow,
    Environment,
    Template,
    deployment_name,
    load_template,
)
from meta_flows.diagnostics import MetaFlowsError, diagnostic, result_or_error
from meta_flows.discovery import find_undeployable
from meta_flows.images import BuildContext
from meta_flows.models import Diagnostic, FlowMetadata, Resource, ValidationResult
from meta_flows.validation.dependencies import check_dependencies
from meta_flows.validation.deployments import (
    Pool,
    Reference,
    ServerObjects,
    check_deployment,
    check_schedules,
    newly_invalid_job_variables,
    references,
)
from meta_flows.validation.dockerfiles import check_dockerfile, check_volumes
from meta_flows.validation.requirements import Declarations
from meta_flows.validation.sources import check_signature, check_variables

__all__ = [
    "Pool",
    "Reference",
    "ServerObjects",
    "check_configured",
    "check_deployments",
    "check_source",
    "newly_invalid_job_variables",
    "references",
    "result",
]


def check_configured(
    root: Path, flows: Sequence[FlowMetadata], configured: Configured, environment: Environment, *, whole: bool
) -> Configured:
    """Apply every rule that needs no server; return the flows that passed, with all diagnostics.

    With `whole`, which fits a run without a selection, files that belong to none of the `flows` are reported as well.
    """
    declarations, context = Declarations(root), BuildContext(root)
    kinds = {kind for item in configured.flows for kind in item.kinds}
    templates = {kind: result_or_error(load_template, root, kind) for kind in kinds}  # rendering reports a broken one
    uses_image = {kind for kind, item in templates.items() if isinstance(item, Template) and item.uses_image}

    def rules(item: ConfiguredFlow) -> Iterator[Diagnostic]:
        yield from check_source(item.flow, declarations, item.configuration.parameters)
        yield from check_schedules(item)
        yield from check_variables(item, environment, root)
        if uses_image.intersection(item.kinds):
            yield from check_volumes(item, environment)
            yield from check_dockerfile(item.flow, environment, context, declarations)

    passed, found = [], list[Diagnostic]()
    for item in configured.flows:
        errors = _apply(rules(item), environment, item)
        found += errors
        passed += [] if result(errors).errors else [item]
    if whole:
        found += _apply(find_undeployable(root, flows), environment)
    findings = result((*configured.refused, *configured.warnings, *found))
    return configured.model_copy(
        update={"flows": tuple(passed), "refused": findings.errors, "warnings": findings.warnings}
    )


def check_deployments(
    configured: Configured,
    deployments: Iterable[Resource],
    environment: Environment,
    server_objects: ServerObjects | None = None,
    template: Callable[[str], Template] | None = None,
) -> tuple[tuple[Resource, ...], ValidationResult]:
    """Return the rendered deployments of the flows that passed, with all diagnostics.

    Without `server_objects` only parameters are checked; `template` loads a kind's template, to locate diagnostics.
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
        errors = _apply(rules, environment, item)
        found += errors
        if result(errors).errors:  # a flow is deployed in all its kinds or in none
            refused.update(deployment.name for deployment in rendered)
    return tuple(item for name, item in by_name.items() if name not in refused), result(found)


def result(errors: Iterable[Diagnostic]) -> ValidationResult:
    """Return the diagnostics without duplicates: flows share modules, files and pools, and what is wrong with them."""
    distinct = dict.fromkeys(errors)
    return ValidationResult(
        errors=tuple(error for error in distinct if error.severity == "error"),
        warnings=tuple(error for error in distinct if error.severity == "warning"),
    )


def check_source(
    flow: FlowMetadata, declarations: Declarations, parameters: Collection[str] = ()
) -> Iterator[Diagnostic]:
    """Check a flow and what it imports; `parameters` are those that its configuration sets."""
    yield from check_signature(flow, parameters)
    yield from check_dependencies(flow, declarations.of(flow))


def _apply(
    rules: Iterable[Diagnostic], environment: Environment, item: ConfiguredFlow | None = None
) -> list[Diagnostic]:
    """Return the diagnostics of some rules that are not ignored.

    A file that a rule cannot read ends these rules with its diagnostic. An unexpected exception ends them with the
    warning MF902, so that a defect in one rule stops no deploy.
    """
    found = list[Diagnostic]()
    try:
        found.extend(rules)
    except MetaFlowsError as error:
        found.extend(error.errors)
    except Exception as error:  # noqa: BLE001 - a rule that fails on something odd must not stop all other flows
        place = item.flow.place if item else None
        found.append(diagnostic("MF902", place, detail=f"{type(error).__name__}: {error}").as_warning())
    ignored = {*environment.ignore, *(item.configuration.ignore if item else ())}
    return [error for error in found if error.code not in ignored]
