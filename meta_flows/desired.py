"""The desired state of an environment: every selected flow, rendered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from meta_flows import sources
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
from meta_flows.discovery import discover
from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import Deployment, ValidationError
from meta_flows.rendering import render, version

Released = Mapping[str, Mapping[str, Any]]


class Desired(NamedTuple):
    """The rendered deployments, and what kept others from being rendered."""

    deployments: tuple[Deployment, ...]
    refused: tuple[ValidationError, ...]


def released_with_same_code(
    item: ConfiguredFlow, environment: Environment, released: Released
) -> Mapping[str, Any] | None:
    """A released spec of this flow whose code is today's; what was derived from the code then holds now."""
    keys = (f"{item.flow.name}/{deployment_name(item.configuration.slug, kind, environment)}" for kind in item.kinds)
    specs = (released.get(key) for key in keys)
    return next((spec for spec in specs if spec and spec["version"] == version(item.flow)), None)


def new_entrypoints(configured: Configured, environment: Environment, released: Released) -> list[str]:
    """The flows whose parameter schema has to be computed, since their code is not what is released."""
    return [
        item.flow.entrypoint
        for item in configured.flows
        if released_with_same_code(item, environment, released) is None
    ]


def render_all(
    root: Path,
    configured: Configured,
    environment: Environment,
    *,
    released: Released,
    schemas: Mapping[str, Mapping[str, Any] | str],
) -> Desired:
    """Render every configured flow; what is wrong with one refuses that one.

    Args:
        root: The repository.
        configured: Its flows.
        environment: Where they go.
        released: What the last release rendered, by deployment key.
        schemas: Parameter schema of each new entrypoint, or why there is none.
    """
    checkout, template = sources.read_checkout(root), cache(partial(load_template, root))
    deployments: list[Deployment] = []
    refused: list[ValidationError] = []
    for item in configured.flows:
        earlier = released_with_same_code(item, environment, released)
        schema = earlier["parameter_openapi_schema"] if earlier else schemas[item.flow.entrypoint]
        if isinstance(schema, str):
            refused.append(problem("MF106", item.flow.place, path=item.flow.path, detail=schema))
            continue
        try:
            steps = sources.pull_steps(environment.source, root, checkout, item.flow, earlier)
            rendered = [
                render(item, kind, template(kind), environment=environment, root=root, pull_steps=steps, schema=schema)
                for kind in item.kinds
            ]
        except MetaFlowsError as error:
            refused.extend(error.errors)
        else:
            deployments.extend(rendered)
    return Desired(tuple(deployments), tuple(refused))


def desired_offline(root: Path, environment: str | None, selection: Selection) -> tuple[Environment, Desired]:
    """What the repository asks for, without a server; parameter schemas are left empty.

    Raises:
        MetaFlowsError: The environment is unknown or its files are wrong.
    """
    target = load_environment(root, environment)
    configured = configure(root, discover(root), target, selection, parameters={})
    no_schemas: dict[str, Mapping[str, Any]] = {item.flow.entrypoint: {} for item in configured.flows}
    desired = render_all(root, configured, target, released={}, schemas=no_schemas)
    return target, Desired(desired.deployments, (*configured.refused, *desired.refused))
