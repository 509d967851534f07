"""Serving: flows offered from one process, by Prefect's own `serve`, where no worker runs."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from meta_flows.configuration import Environment, Selection, configure
from meta_flows.discovery import discover
from meta_flows.errors import MetaFlowsError


def serve_flows(root: Path, environment: Environment, flows: tuple[str, ...]) -> None:
    """Serve the selected flows until stopped.

    They carry no ownership tags: they live as long as this process, and are no part of the desired state.

    Raises:
        MetaFlowsError: A selected flow is invalid, or none is selected.
    """
    configured = configure(root, discover(root), environment, Selection(flows=flows), parameters={})
    if configured.refused:
        raise MetaFlowsError(configured.refused)
    os.chdir(root)
    serve(
        *(
            RunnerDeployment.from_entrypoint(
                item.flow.entrypoint,
                name=f"{item.configuration.slug}-served-{environment.short_name}",
                parameters=dict(item.configuration.parameters),
                description=item.configuration.description,
                tags=[*item.configuration.tags, "served"],
            )
            for item in configured.flows
        )
    )
