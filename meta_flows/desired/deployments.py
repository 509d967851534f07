"""The desired state of an environment: the rendered deployments of every selected flow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from meta_flows.configuration import (
    Configured,
    ConfiguredFlow,
    Environment,
    Selection,
    configure,
    deployment_name,
    load_environment,
    load_template,
)
from meta_flows.configuration.secrets import masked
from meta_flows.desired import sources
from meta_flows.desired.parameter_schemas import LoadedSchema, parameter_schemas
from meta_flows.desired.rendering import render, version
from meta_flows.diagnostics import MetaFlowsError, diagnostic, result_or_error
from meta_flows.discovery import discover
from meta_flows.images import BuildContext, Image, describe_image
from meta_flows.models import Diagnostic, FlowMetadata, Resource

Spec = Mapping[str, Any]
Released = Mapping[str, Spec]
"""The spec of each released deployment, by its key."""


class Images(NamedTuple):
    """The images of the selected flows.

    Attributes:
        of: The image of each flow that runs in one, or the error that keeps it from having one, by entrypoint.
        missing: Names of images that exist nowhere yet.
        left_out: Why deployments that run an image are left out; empty if they are not.
        notes: Notes for the report.
    """

    of: Mapping[str, Image | MetaFlowsError]
    missing: tuple[str, ...] = ()
    left_out: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """The name of each image, whose tag identifies its content, by the reference that deployments use."""
        return {image.reference: image.name for image in self.of.values() if isinstance(image, Image)}


class Desired(NamedTuple):
    """The rendered deployments, the errors that kept others from being rendered, and warnings."""

    deployments: tuple[Resource, ...]
    refused: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...] = ()


def _released_with_same_code(item: ConfiguredFlow, environment: Environment, released: Released) -> Spec | None:
    """Return a released spec of this flow and its present code, from which what depends on the code is reused."""
    keys = (f"{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}" for kind in item.kinds)
    specs = (released.get(key) for key in keys)
    return next((spec for spec in specs if spec and spec["version"] == version(item.flow)), None)


def flows_with_new_code(configured: Configured, environment: Environment, released: Released) -> list[ConfiguredFlow]:
    """Return the flows whose code is not the released code, so that their parameter schemas must be computed."""
    return [item for item in configured.flows if _released_with_same_code(item, environment, released) is None]


def describe_images(root: Path, configured: Configured, environment: Environment) -> dict[str, Image | MetaFlowsError]:
    """Return the image of each flow with a selected kind that runs in one, or its error, by entrypoint."""
    context, template = BuildContext(root), cache(partial(load_template, root))

    def image(item: ConfiguredFlow) -> Image | None:
        uses_image = any(template(kind).uses_image for kind in item.kinds)
        return describe_image(item.flow, environment, context) if uses_image else None

    found = {item.flow.entrypoint: result_or_error(image, item) for item in configured.flows}
    return {entrypoint: item for entrypoint, item in found.items() if item is not None}


def render_all(
    root: Path,
    configured: Configured,
    environment: Environment,
    images: Images,
    *,
    released: Released,
    schemas: Mapping[str, LoadedSchema],
) -> Desired:
    """Render every configured flow; an error in one flow leaves out that flow only, in all its kinds.

    Args:
        root: The repository.
        configured: The flows to render.
        environment: The environment to deploy to.
        images: The images of these flows.
        released: What the last release rendered.
        schemas: Parameter schema, by entrypoint, of each flow with new code.
    """
    checkout, template = sources.read_checkout(root), cache(partial(load_template, root))

    def render_flow(item: ConfiguredFlow, schema: Spec, earlier: Spec | None) -> list[Resource]:
        rendered = []
        for kind in item.kinds:
            used = template(kind)
            image = images.of.get(item.flow.entrypoint) if used.uses_image else None
            if isinstance(image, MetaFlowsError):
                raise image
            if used.uses_image and images.left_out:
                continue
            fetched = used.pull is None
            steps = sources.pull_steps(environment.source, root, checkout, item.flow, earlier) if fetched else ()
            describe = partial(render, item, kind, used, environment=environment, root=root)
            rendered.append(describe(pull_steps=steps, schema=schema, image=image))
        return rendered

    deployments, refused, warnings = list[Resource](), list[Diagnostic](), list[Diagnostic]()
    for item in configured.flows:
        earlier = _released_with_same_code(item, environment, released)
        loaded = LoadedSchema(earlier["parameter_openapi_schema"]) if earlier else schemas[item.flow.entrypoint]
        if error := not_loaded(item.flow, loaded):
            (refused if error.severity == "error" else warnings).append(error)
        if loaded.schema is not None:
            rendered = result_or_error(render_flow, item, loaded.schema, earlier)
            if isinstance(rendered, MetaFlowsError):
                refused += rendered.errors
            else:
                deployments += rendered
    return Desired(tuple(deployments), tuple(refused), tuple(warnings))


def as_error(warning: Diagnostic) -> Diagnostic:
    """Return the warning that a flow cannot be imported as an error, for a run that is asked to import every flow."""
    return warning.model_copy(update={"severity": "error"}) if warning.code == "MF106" else warning


def not_loaded(flow: FlowMetadata, loaded: LoadedSchema) -> Diagnostic | None:
    """Return why a flow cannot be imported, or None; a warning as long as its parameters are known.

    Its runs may have what this machine lacks, such as what is installed in an image.
    """
    if not loaded.reason:
        return None
    kind, _, text = loaded.reason.partition(": ")
    detail = f"{kind}: {masked('', text)}" if text else kind
    error = diagnostic("MF106", loaded.place or flow.place, path=flow.path, detail=detail)
    return error if loaded.schema is None else error.as_warning()


def render_offline(
    root: Path, configured: Configured, environment: Environment, *, import_flows: bool = False
) -> Desired:
    """Render without a server or a Docker engine; parameter schemas stay empty unless flows are imported."""
    variables = {item.flow.entrypoint: item.variables for item in configured.flows}
    schemas = parameter_schemas(root, variables) if import_flows else dict.fromkeys(variables, LoadedSchema({}))
    images = Images(describe_images(root, configured, environment))
    return render_all(root, configured, environment, images, released={}, schemas=schemas)


def desired_offline(root: Path, environment: str | None, selection: Selection) -> tuple[Environment, Desired]:
    """Return what the repository declares for an environment, without a server; parameter schemas stay empty.

    Raises:
        MetaFlowsError: The environment is unknown or its files are invalid.
    """
    target = load_environment(root, environment)
    configured = configure(root, discover(root), target, selection, parameters={})
    desired = render_offline(root, configured, target)
    return target, Desired(desired.deployments, (*configured.refused, *dict.fromkeys(desired.refused)))
