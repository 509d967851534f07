"""Steps about images: what each flow's is called, which are missing, and building, pushing and pulling them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.task_runners import ThreadPoolTaskRunner

from meta_flows.configuration import Configured, Environment, LocalSource
from meta_flows.desired.deployments import Images, describe_images
from meta_flows.diagnostics import MetaFlowsError, outcome, refuse
from meta_flows.engine import joined
from meta_flows.images import Image
from meta_flows.models import DeployResult, Resource
from meta_flows.prefect_api.compat import url_for
from meta_flows.prefect_api.progress import progress
from meta_flows.proposals import Proposal
from meta_flows.reporting import markdown
from meta_flows.tasks import step

if TYPE_CHECKING:  # the engine's libraries take half a second to import, and most deploys need none
    from meta_flows.images.engine import Backend


class Made(NamedTuple):
    """An image, and what was done about it, in words."""

    image: Image
    told: str


BUILDERS: Any = ThreadPoolTaskRunner(max_workers=4)
"""How many images are worked on at a time."""

Make = Callable[..., PrefectFuture[Made]]


@step("find images")
def find_images(root: Path, configured: Configured, environment: Environment, *, local: bool = False) -> Images:
    """Say which image each flow wants, and look which of them there are; nothing happens where no flow wants one.

    Without an engine the deployments that run an image are left out, and a strict environment refuses them.

    Args:
        root: The repository.
        configured: Its flows.
        environment: Where they go.
        local: Look into this machine's engine, and not where workers get images from; it is an error if there is none.
    """
    described = describe_images(root, configured, environment)
    if not described:
        return Images({})
    from meta_flows.images import engine

    try:
        with engine.connected() as client:
            look = engine.find_here if local else engine.find
            found = {name: outcome(look, client, image) for name, image in _by_name(described.values()).items()}
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


def prepare_images(root: Path, environment: Environment, proposal: Proposal) -> Proposal:
    """Build what images a proposal lacks, and what else its containers need on this machine."""
    images = proposal.images
    if images.missing:
        proposal = proposal._replace(images=build_images(root, environment, images), outdated=True)
    prepare(environment, proposal.desired, root)
    return proposal


def build_images(root: Path, environment: Environment, images: Images, *, push: bool = True) -> Images:
    """Build what is missing, and push it where the environment has a registry; what fails refuses its flows only.

    The first one is built before all others: what images have in common is then built once.
    """
    missing = [image for name, image in _by_name(images.of.values()).items() if name in images.missing]
    made: dict[str, Made | MetaFlowsError] = {}

    for batch in (missing[:1], missing[1:]):
        made |= _outcomes(
            "build images", batch, lambda image: build_image.submit(root, image, environment.docker.build_backend, push)
        )
    return _after(images, made)


def push_images(environment: Environment, images: Images) -> Images:
    """Push every image that the engine has to the environment's registry.

    Raises:
        MetaFlowsError: MF611, the environment has no registry.
    """
    _ensure_registry(environment)
    return _after(images, _outcomes("push images", _by_name(images.of.values()).values(), push_image.submit))


def pull_images(environment: Environment, images: Images) -> Images:
    """Get every image from the environment's registry.

    Raises:
        MetaFlowsError: MF611, the environment has no registry.
    """
    _ensure_registry(environment)
    return _after(images, _outcomes("pull images", _by_name(images.of.values()).values(), pull_image.submit))


@step("build {image.repository}")
def build_image(root: Path, image: Image, backend: Backend, push: bool) -> Made:
    """Build one image, with the engine's output in the log; push it if workers get it from a registry."""
    started = time.monotonic()
    from meta_flows.images import engine

    with engine.connected() as client:
        built = engine.build(client, image, root, _Lines(get_run_logger()), backend=backend)
        told = (
            f"image {image.name} was built in {time.monotonic() - started:.0f} s: "
            f"{built.size / 1e6:.0f} MB, {built.layers} layers"
        )
        if push and image.pushed:
            digest = engine.push(client, image, _Lines(get_run_logger()))
            image, told = image.model_copy(update={"registry_digest": digest}), f"{told}, and pushed"
    get_run_logger().info("%s", told)
    return Made(image, told)


@step("push {image.repository}")
def push_image(image: Image) -> Made:
    """Push one image."""
    from meta_flows.images import engine

    with engine.connected() as client:
        if engine.look_up(client, image) is None:
            raise refuse("MF612", image=image.name)
        engine.move_tag(client, image)
        digest = engine.push(client, image, _Lines(get_run_logger()))
    return Made(image.model_copy(update={"registry_digest": digest}), f"image {image.name} was pushed as {digest}")


@step("pull {image.repository}")
def pull_image(image: Image) -> Made:
    """Pull one image."""
    from meta_flows.images import engine

    with engine.connected() as client:
        if not engine.pull(client, image):
            raise refuse("MF613", image=image.name)
    return Made(image, f"image {image.name} was pulled")


@step("report")
def report_images(
    environment: Environment, configured: Configured, images: Images, action: Literal["build", "push", "pull"]
) -> DeployResult:
    """Sum up what was done about images, as an artifact too."""
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
        run_link=url_for("flow-run", obj_id=flow_run.id) if flow_run.id else None,
        ui_url=get_current_settings().ui_url,
    )
    key = joined("images", *environment.ownership)
    create_markdown_artifact(markdown(result), key=key, description=result.message)
    return result


@step("prepare networks and folders")
def prepare_engine(deployments: Iterable[Resource], root: Path) -> None:
    """Make what containers of this machine are going to need: their networks, and folders for what they write."""
    variables = [item.spec["job_variables"] for item in deployments]
    networks = {name for each in variables for name in each.get("networks", ())}
    for volume in (str(volume) for each in variables for volume in each.get("volumes", ())):
        if volume.startswith(f"{root}/"):
            Path(volume.partition(":")[0]).mkdir(parents=True, exist_ok=True)
    if networks:
        from meta_flows.images import engine

        with engine.connected() as client:
            for name in engine.make_networks(client, networks):
                get_run_logger().info("Network %s was created", name)


def prepare(environment: Environment, resources: Iterable[Resource], root: Path) -> None:
    """`prepare_engine`, where containers run on this machine: with a local source."""
    in_containers = [item for item in resources if "image" in item.spec.get("job_variables", ())]
    if in_containers and isinstance(environment.source, LocalSource):
        prepare_engine(in_containers, root)


class _Lines(io.TextIOBase):
    """A stream whose lines go to a log."""

    def __init__(self, logger: Logger | LoggerAdapter[Logger]) -> None:
        self._logger, self._rest = logger, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._logger.info("%s", line.rstrip())
        return len(text)


def _ensure_registry(environment: Environment) -> None:
    if environment.docker.registry is None:
        raise refuse("MF611", environment=environment.name)


def _by_name(images: Iterable[Image | MetaFlowsError]) -> dict[str, Image]:
    return {image.name: image for image in images if isinstance(image, Image)}


def _outcomes(doing: str, images: Iterable[Image], make: Make) -> dict[str, Made | MetaFlowsError]:
    futures = {image.name: make(image) for image in images}
    made = {}
    with progress(doing, len(futures)) as advance:
        for name, future in futures.items():
            made[name] = outcome(future.result)
            advance()
    return made


def _after(images: Images, made: Mapping[str, Made | MetaFlowsError]) -> Images:
    now: dict[str, Any] = {name: item.image if isinstance(item, Made) else item for name, item in made.items()}
    notes = tuple(item.told for item in made.values() if isinstance(item, Made))
    return Images(_with(images.of, now), left_out=images.left_out, notes=notes)


def _with(
    described: Mapping[str, Image | MetaFlowsError], found: Mapping[str, Image | MetaFlowsError | None]
) -> dict[str, Image | MetaFlowsError]:
    """The same images, with what was found out about those of some names."""
    return {
        entrypoint: (found.get(image.name) or image) if isinstance(image, Image) else image
        for entrypoint, image in described.items()
    }
