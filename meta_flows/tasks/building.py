"""Steps about images: observe which of them exist, and build, push and pull them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prefect import get_run_logger
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from meta_flows.configuration import Configured, Environment, LocalSource
from meta_flows.desired.deployments import Images, describe_images
from meta_flows.diagnostics import MetaFlowsError, refuse, result_or_error
from meta_flows.images import Image
from meta_flows.models import DeployResult, Resource
from meta_flows.prefect_api.progress import progress
from meta_flows.proposals import Proposal
from meta_flows.tasks import publish, step

if TYPE_CHECKING:  # the engine's libraries take half a second to import, and most deploys need none
    from meta_flows.images.engine import Backend


class Done(NamedTuple):
    """An image that was built, pushed or pulled, and the note that says so."""

    image: Image
    note: str


BUILDERS: Any = ThreadPoolTaskRunner(max_workers=4)
"""Builds, pushes or pulls four images at a time."""


@step("observe images")
def observe_images(root: Path, configured: Configured, environment: Environment, *, local: bool = False) -> Images:
    """Name the image of each flow that runs in one, and look up which of them exist.

    Without a Docker engine the deployments that run an image are left out, and a strict environment refuses them.

    Args:
        root: The repository.
        configured: Its flows.
        environment: The environment that they are for.
        local: Look them up in this machine's engine, not where workers get them from, and fail if it has no engine.
    """
    described = describe_images(root, configured, environment)
    if not described:
        return Images({})
    from meta_flows.images import engine

    try:
        with engine.connected() as client:
            find = engine.find_here if local else engine.find
            found = {name: result_or_error(find, client, image) for name, image in _by_name(described.values()).items()}
    except MetaFlowsError as error:
        if environment.strict or local:
            return Images(dict.fromkeys(described, error))
        [no_engine] = error.errors
        get_run_logger().warning("%s", error)
        left_out = f"what runs in a container is left out: {no_engine.message}. {no_engine.remedy}"
        return Images(described, left_out=left_out, notes=(left_out,))
    missing = tuple(sorted(name for name, image in found.items() if image is None))
    get_run_logger().info("%d of %d images are there", len(found) - len(missing), len(found))
    notes = tuple(f"image {name} is built by a deploy" for name in missing)
    return Images(_with(described, found), missing=missing, notes=notes)


def build_missing_images(root: Path, environment: Environment, proposal: Proposal) -> Proposal:
    """Build the images that a proposal lacks, and create what else its containers need on this machine."""
    images = proposal.images
    if images.missing:
        proposal = proposal._replace(images=build_images(root, environment, images), outdated=True)
    in_containers = [item for item in proposal.desired if "image" in item.spec.get("job_variables", ())]
    if in_containers and isinstance(environment.source, LocalSource):  # they run on this machine
        prepare_engine(in_containers, root)
    return proposal


def build_images(root: Path, environment: Environment, images: Images, *, push: bool = True) -> Images:
    """Build the missing images, and push them where the environment has a registry; a failure refuses its flows only.

    The first image is built before all others: what they have in common is then built once.
    """
    missing = [image for name, image in _by_name(images.of.values()).items() if name in images.missing]
    backend = environment.docker.build_backend
    done: dict[str, Done | MetaFlowsError] = {}
    for batch in (missing[:1], missing[1:]):
        done |= _run("build images", batch, lambda image: build_image.submit(root, image, backend, push))
    return _after(images, done)


def transfer_images(environment: Environment, images: Images, action: Literal["push", "pull"]) -> Images:
    """Push every image to the environment's registry, or pull it from there.

    Raises:
        MetaFlowsError: MF611, the environment has no registry.
    """
    if environment.docker.registry is None:
        raise refuse("MF611", environment=environment.name)
    transfer = {"push": push_image, "pull": pull_image}[action]
    return _after(images, _run(f"{action} images", _by_name(images.of.values()).values(), transfer.submit))


@step("build {image.repository}")
def build_image(root: Path, image: Image, backend: Backend, push: bool) -> Done:
    """Build one image, with the engine's output in the log; push it if workers get it from a registry."""
    started = time.monotonic()
    from meta_flows.images import engine

    with engine.connected() as client:
        built = engine.build(client, image, root, _LogStream(get_run_logger()), backend=backend)
        note = (
            f"image {image.name} was built in {time.monotonic() - started:.0f} s: "
            f"{built.size / 1e6:.0f} MB, {built.layers} layers"
        )
        if push and image.pushed:
            digest = engine.push(client, image, _LogStream(get_run_logger()))
            image, note = image.model_copy(update={"registry_digest": digest}), f"{note}, and pushed"
    get_run_logger().info("%s", note)
    return Done(image, note)


@step("push {image.repository}")
def push_image(image: Image) -> Done:
    """Push one image."""
    from meta_flows.images import engine

    with engine.connected() as client:
        if engine.look_up(client, image) is None:
            raise refuse("MF612", image=image.name)
        engine.move_tag(client, image)
        digest = engine.push(client, image, _LogStream(get_run_logger()))
    return Done(image.model_copy(update={"registry_digest": digest}), f"image {image.name} was pushed as {digest}")


@step("pull {image.repository}")
def pull_image(image: Image) -> Done:
    """Pull one image."""
    from meta_flows.images import engine

    with engine.connected() as client:
        if not engine.pull(client, image):
            raise refuse("MF613", image=image.name)
    return Done(image, f"image {image.name} was pulled")


@step("prepare networks and folders")
def prepare_engine(deployments: Iterable[Resource], root: Path) -> None:
    """Create the networks of containers on this machine, and the folders of the repository that they mount."""
    job_variables = [item.spec["job_variables"] for item in deployments]
    for volume in (str(volume) for variables in job_variables for volume in variables.get("volumes", ())):
        if volume.startswith(f"{root}/"):
            Path(volume.partition(":")[0]).mkdir(parents=True, exist_ok=True)
    networks = {name for variables in job_variables for name in variables.get("networks", ())}
    if networks:
        from meta_flows.images import engine

        with engine.connected() as client:
            for name in engine.make_networks(client, networks):
                get_run_logger().info("Network %s was created", name)


@step("report")
def report_images(
    environment: Environment, configured: Configured, images: Images, action: Literal["build", "push", "pull"]
) -> DeployResult:
    """Sum up what was built, pushed or pulled, as an artifact too."""
    failed = (error for item in images.of.values() if isinstance(item, MetaFlowsError) for error in item.errors)
    refused = (*configured.refused, *dict.fromkeys(failed))
    done = {"build": "Built", "push": "Pushed", "pull": "Pulled"}[action]
    counts = {done.lower(): len(images.notes), "refused": len(refused)}
    result = DeployResult(
        environment=environment.name,
        state="Incomplete" if refused else done if images.notes else "InSync",
        message=", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do",
        refused=refused,
        notes=images.notes,
    )
    return publish(result, "images", environment.ownership)


class _LogStream(io.TextIOBase):
    """A stream whose lines go to a log."""

    def __init__(self, logger: Logger | LoggerAdapter[Logger]) -> None:
        self._logger, self._rest = logger, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._logger.info("%s", line.rstrip())
        return len(text)


def _by_name(images: Iterable[Image | MetaFlowsError]) -> dict[str, Image]:
    return {image.name: image for image in images if isinstance(image, Image)}


def _run(
    doing: str, images: Iterable[Image], start: Callable[[Image], PrefectFuture[Done]]
) -> dict[str, Done | MetaFlowsError]:
    """Start a task for each image at once, and return their results by the image's name."""
    futures = {image.name: start(image) for image in images}
    results = {}
    with progress(doing, len(futures)) as advance:
        for name, future in futures.items():
            results[name] = result_or_error(future.result)
            advance()
    return results


def _after(images: Images, done: Mapping[str, Done | MetaFlowsError]) -> Images:
    """Return the images as they are after these results, with their notes."""
    now = {name: item.image if isinstance(item, Done) else item for name, item in done.items()}
    notes = tuple(item.note for item in done.values() if isinstance(item, Done))
    return Images(_with(images.of, now), left_out=images.left_out, notes=notes)


def _with(
    described: Mapping[str, Image | MetaFlowsError], found: Mapping[str, Image | MetaFlowsError | None]
) -> dict[str, Image | MetaFlowsError]:
    """Return the same images, each replaced by what was found under its name, if anything was."""
    return {
        entrypoint: (found.get(image.name) or image) if isinstance(image, Image) else image
        for entrypoint, image in described.items()
    }
