"""Commands for images: build, push, pull."""

from __future__ import annotations

from typing import Literal

from meta_flows.commands.deploying import conclude, run_meta_flow
from meta_flows.commands.options import ApiUrl, Common, EnvironmentName, Flows, Where
from meta_flows.flows.images import images


def build(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Build the images that this machine's engine lacks."""
    return _run("build", environment, flow, api_url, common)


def push(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Push the images to the environment's registry."""
    return _run("push", environment, flow, api_url, common)


def pull(
    *,
    environment: EnvironmentName = None,
    flow: Flows = (),
    api_url: ApiUrl = None,
    common: Common = Common(),
) -> int:
    """Pull the images from the environment's registry."""
    return _run("pull", environment, flow, api_url, common)


def _run(
    action: Literal["build", "push", "pull"],
    environment: str | None,
    flow: tuple[str, ...],
    api_url: str | None,
    common: Common,
) -> int:
    doing = f"{action.capitalize()}ing images of"
    result = run_meta_flow(doing, images, environment, Where(api_url), common, action=action, flows=list(flow))
    return conclude(result, common)
