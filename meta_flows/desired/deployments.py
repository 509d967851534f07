"""The desired state of an environment: every selected flow, rendered."""

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
from meta_flows.desired.parameter_schemas import Loaded
from meta_flows.desired.rendering import render, version
from meta_flows.diagnostics import MetaFlowsError, diagnostic, outcome
from meta_flows.discovery import discover
from meta_flows.images import Context, Image, describe_image
from meta_flows.models import Diagnostic, FlowMetadata, Resource

Released = Mapping[str, Mapping[str, Any]]


class Images(NamedTuple):
    """The images of the selected flows.

    Attributes:
        of: The image of each flow that is deployed as one, or what is wrong with it, by entrypoint.
        missing: Names of those that nothing has yet.
        left_out: Why deployments that run an image are left out, if they are.
        notes: What is worth knowing about them.
    """

    of: Mapping[str, Image | MetaFlowsError]
    missing: tuple[str, ...] = ()
    left_out: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """The name, which says what it is made of, of each image by what a deployment calls it."""
        return {image.reference: image.name for image in self.of.values() if isinstance(image, Image)}


class Desired(NamedTuple):
    """The rendered deployments, what kept others from being rendered, and what is worth a look."""

    deployments: tuple[Resource, ...]
    refused: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...] = ()


def released_with_same_code(
    item: ConfiguredFlow, environment: Environment, released: Released
) -> Mapping[str, Any] | None:
    """A released spec of this flow whose code is today's; what was derived from the code then holds now."""
    keys = (f"{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}" for kind in item.kinds)
    specs = (released.get(key) for key in keys)
    return next((spec for spec in specs if spec and spec["version"] == version(item.flow)), None)


def flows_with_new_code(configured: Configured, environment: Environment, released: Released) -> list[ConfiguredFlow]:
    """The flows whose parameter schema has to be computed, since their code is not what is released."""
    return [item for item in configured.flows if released_with_same_code(item, environment, released) is None]


def describe_images(root: Path, configured: Configured, environment: Environment) -> dict[str, Image | MetaFlowsError]:
    """The image of each flow that has a selected kind whose template wants one, by entrypoint; or what is wrong."""
    context, template = Context(root), cache(partial(load_template, root))

    def image(item: ConfiguredFlow) -> Image | None:
        wanted = any(template(kind).uses_image for kind in item.kinds)
        return describe_image(item.flow, environment, context) if wanted else None

    found = {item.flow.entrypoint: outcome(image, item) for item in configured.flows}
    return {entrypoint: item for entrypoint, item in found.items() if item is not None}


def render_all(
    root: Path,
    configured: Configured,
    environment: Environment,
    images: Images,
    *,
    released: Released,
    schemas: Mapping[str, Loaded],
) -> Desired:
    """Render every configured flow; what is wrong with one refuses that one.

    Args:
        root: The repository.
        configured: Its flows.
        environment: Where they go.
        images: Their images.
        released: What the last release rendered, by deployment key.
        schemas: Parameter schema of each new entrypoint, or why there is none.
    """
    checkout, template = sources.read_checkout(root), cache(partial(load_template, root))
    deployments: list[Resource] = []
    refused: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for item in configured.flows:
        earlier = released_with_same_code(item, environment, released)
        loaded = Loaded(earlier["parameter_openapi_schema"]) if earlier else schemas[item.flow.entrypoint]
        if error := not_loaded(item.flow, loaded):
            (refused if error.severity == "error" else warnings).append(error)
        if loaded.schema is None:
            continue
        try:  # a flow is deployed in all its kinds or in none
            rendered = []
            for kind in item.kinds:
                wanted = template(kind)
                image = images.of.get(item.flow.entrypoint) if wanted.uses_image else None
                if isinstance(image, MetaFlowsError):
                    raise image
                if wanted.uses_image and images.left_out:
                    continue
                fetched = wanted.pull is None
                steps = sources.pull_steps(environment.source, root, checkout, item.flow, earlier) if fetched else ()
                describe = partial(render, item, kind, wanted, environment=environment, root=root)
                rendered.append(describe(pull_steps=steps, schema=loaded.schema, image=image))
        except MetaFlowsError as error:
            refused.extend(error.errors)
        else:
            deployments.extend(rendered)
    return Desired(tuple(deployments), tuple(refused), tuple(warnings))


def as_error(warning: Diagnostic) -> Diagnostic:
    """What it is for who asked for every flow to be imported: there, one that cannot be is an error."""
    return warning.model_copy(update={"severity": "error"}) if warning.code == "MF106" else warning


def not_loaded(flow: FlowMetadata, loaded: Loaded) -> Diagnostic | None:
    """Why a flow cannot be imported, if it cannot; only a warning as long as its parameters are known.

    What its runs have, such as what is installed in an image, this machine may lack.
    """
    if not loaded.reason:
        return None
    kind, _, text = loaded.reason.partition(": ")
    detail = f"{kind}: {masked('', text)}" if text else kind
    error = diagnostic("MF106", loaded.place or flow.place, path=flow.path, detail=detail)
    return error if loaded.schema is None else error.as_warning()


def desired_offline(root: Path, environment: str | None, selection: Selection) -> tuple[Environment, Desired]:
    """What the repository asks for, without a server; parameter schemas are left empty.

    Raises:
        MetaFlowsError: The environment is unknown or its files are wrong.
    """
    target = load_environment(root, environment)
    configured = configure(root, discover(root), target, selection, parameters={})
    no_schemas = {item.flow.entrypoint: Loaded({}) for item in configured.flows}
    images = Images(describe_images(root, configured, target))
    desired = render_all(root, configured, target, images, released={}, schemas=no_schemas)
    return target, Desired(desired.deployments, (*configured.refused, *dict.fromkeys(desired.refused)))
