"""The Docker engine: find, build, push and pull images; every failure becomes a diagnostic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from typing import Literal, NamedTuple, TextIO, TypeAlias, cast

import docker
import python_on_whales
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.images import Image as BuiltImage
from prefect.docker import DockerImage

from meta_flows.diagnostics import MetaFlowsError, refuse
from meta_flows.images.naming import Image
from meta_flows.models import Location
from meta_flows.prefect_api.compat import engine_errors

Engine: TypeAlias = docker.DockerClient
Backend = Literal["docker-py", "buildx"]

BUILD_ERROR, PUSH_ERROR = engine_errors()

BROKEN = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)
"""What docker-py raises, itself or through its libraries; urllib3's while an answer is being read."""

SHOWN_LINES = 12
"""How many of the last lines of a failed build the error shows."""

CAUSES = (
    ("MF607", r"no space left on device"),
    ("MF606", r"unauthorized|authentication required|no basic auth|denied|forbidden|incorrect username"),
    (
        "MF605",
        r"no such host|connection refused|timeout|deadline|x509|tls:|HTTP response to HTTPS|EOF|unreachable|lookup",
    ),
)
"""Patterns of the engine's errors about a registry or its disk, by code."""


class Built(NamedTuple):
    """An image in an engine; `size` is in bytes."""

    size: int
    layers: int


@contextmanager
def connected() -> Iterator[Engine]:
    """Connect to the engine that DOCKER_HOST names.

    Raises:
        MetaFlowsError: MF601, no engine answers.
    """
    try:
        client = docker.DockerClient.from_env()
        client.ping()
    except BROKEN as error:
        raise refuse("MF601", detail=_reason(error)) from None
    try:
        yield client
    finally:
        client.close()


def folder_here(client: Engine) -> Path | None:
    """Return the folder of the engine's images, if it is on this machine."""
    folder = Path(client.info()["DockerRootDir"])
    return folder if client.api.base_url == "http+docker://localhost" and folder.exists() else None


def find(client: Engine, image: Image) -> Image | None:
    """Return an image if it is where workers get it from: the registry that it is pushed to, or else this engine.

    Raises:
        MetaFlowsError: MF605, the registry does not answer; MF606, it rejects the login.
    """
    if image.pushed:
        digest = registry_digest(client, image)
        return image.model_copy(update={"registry_digest": digest}) if digest else None
    return find_here(client, image)


def find_here(client: Engine, image: Image) -> Image | None:
    """Return an image if this engine has it."""
    return image if look_up(client, image) else None


def look_up(client: Engine, image: Image) -> Built | None:
    """Return the size and layers of an image in this engine; None if it has no such image."""
    try:
        found: BuiltImage = client.images.get(image.name)
    except ImageNotFound:
        return None
    return Built(found.attrs["Size"], len(found.attrs["RootFS"]["Layers"]))


def registry_digest(client: Engine, image: Image) -> str | None:
    """Return the digest of an image in its registry; None if it is not there.

    Raises:
        MetaFlowsError: MF605, the registry does not answer; MF606, it rejects the login.
    """
    try:
        return str(client.images.get_registry_data(image.name).id)
    except APIError as error:
        if _is_missing(error):
            return None
        raise _registry_error(image.repository, error) from None


def build(client: Engine, image: Image, root: Path, output: TextIOBase, *, backend: Backend) -> Built:
    """Build an image, under both its tags.

    Raises:
        MetaFlowsError: MF608, an instruction failed; MF609, there is no base image; MF607, the disk is full; MF601,
            the engine has stopped.
    """
    log = _Log(output)
    builders: dict[Backend, Callable[[Image, Path, TextIOBase], None]] = {"docker-py": _classic, "buildx": _buildx}
    try:
        builders[backend](image, root, log)
    except (BUILD_ERROR, AssertionError, RuntimeError, *BROKEN) as error:
        raise _build_error(image, log, error) from None
    move_tag(client, image)
    built = look_up(client, image)
    if built is None:
        raise _build_error(image, log, RuntimeError("the engine has no such image after its build"))
    return built


def _classic(image: Image, root: Path, output: TextIOBase) -> None:
    DockerImage(
        image.repository,
        tag=image.tag,
        dockerfile=image.dockerfile,
        stream_progress_to=cast(TextIO, output),
        context=root,
        pull=False,
        platform=image.platform,
        buildargs=image.build_args,
    ).build()


def _buildx(image: Image, root: Path, output: TextIOBase) -> None:
    """Build as Prefect does, but keep what buildx prints, which Prefect discards."""
    lines = python_on_whales.docker.buildx.build(
        root,
        file=root / image.dockerfile,
        tags=[image.name],
        platforms=[image.platform] if image.platform else None,
        build_args=image.build_args,
        load=True,
        stream_logs=True,
    )
    last = ""
    try:
        for last in cast(Iterable[str], lines):
            output.write(last)
    except python_on_whales.DockerException as error:
        raise BUILD_ERROR(last.strip() or str(error)) from None


def move_tag(client: Engine, image: Image) -> None:
    """Point the moving tag to this image."""
    client.images.get(image.name).tag(image.repository, image.moving_tag)


def push(client: Engine, image: Image, output: TextIOBase) -> str:
    """Push an image, under both its tags; return its digest in the registry.

    Raises:
        MetaFlowsError: MF605, MF606 or MF607.
    """
    try:
        for tag in (image.moving_tag, image.tag):
            DockerImage(
                image.repository, tag=tag, dockerfile=image.dockerfile, stream_progress_to=cast(TextIO, output)
            ).push()
    except (PUSH_ERROR, RuntimeError, *BROKEN) as error:
        raise _registry_error(image.repository, error) from None
    digest = registry_digest(client, image)
    if digest is None:
        raise refuse("MF605", repository=image.repository, detail="it accepted the image, but does not have it")
    return digest


def pull(client: Engine, image: Image) -> bool:
    """Pull an image; return whether its registry has it.

    Raises:
        MetaFlowsError: MF605, MF606 or MF607.
    """
    try:
        client.images.pull(image.repository, tag=image.tag)
    except BROKEN as error:
        if _is_missing(error):
            return False
        raise _registry_error(image.repository, error) from None
    move_tag(client, image)
    return True


def make_networks(client: Engine, names: Iterable[str]) -> list[str]:
    """Create the networks that do not exist; return their names."""
    required = set(names)
    known = {network.name for network in client.networks.list(names=sorted(required))} if required else set()
    for name in sorted(required - known):
        client.networks.create(name, driver="bridge")
    return sorted(required - known)


class _Log(TextIOBase):
    """A stream that writes to another one and keeps the text."""

    def __init__(self, output: TextIOBase) -> None:
        self._output, self.text = output, ""

    def write(self, text: str) -> int:
        self.text += text
        return self._output.write(text)


def _build_error(image: Image, log: _Log, error: Exception) -> MetaFlowsError:
    place, detail = Location(path=image.dockerfile), _reason(error)
    try:
        with connected():
            pass
    except MetaFlowsError as no_engine:
        return no_engine
    if re.search(CAUSES[0][1], detail):
        return refuse("MF607", repository=image.repository, detail=detail)
    steps = re.findall(r"^(?:Step \d+/\d+ :| > \[.*\d+/\d+\]) (.+?):?$", log.text, re.MULTILINE)  # classic, or buildx
    step = steps[-1].strip() if steps else "its beginning"
    if step.startswith("FROM") and re.search(r"pull access denied|not found|manifest|dial|lookup|resolve", detail):
        return refuse("MF609", place, base=step.split()[1], detail=detail)
    last = log.text[log.text.rfind(step) + len(step) :] if steps else log.text
    lines = [line for line in last.splitlines() if line.strip() and not line.startswith((" --->", "Removing"))]
    output = "".join(f"\n      {line}" for line in lines[-SHOWN_LINES:])
    return refuse("MF608", place, step=step, detail=detail, output=output, image=image.repository)


def _is_missing(error: Exception) -> bool:
    """Return whether a registry has no such image."""
    text = str(error).lower()
    return isinstance(error, NotFound) or any(
        reason in text for reason in ("manifest unknown", "name unknown", "not found")
    )


def _registry_error(repository: str, error: Exception) -> MetaFlowsError:
    detail = _reason(error)
    code = next((code for code, pattern in CAUSES if re.search(pattern, detail, re.IGNORECASE)), "MF605")
    return refuse(code, repository=repository, detail=detail)


def _reason(error: BaseException) -> str:
    """Return an error's message, without the exceptions that wrap it."""
    text = " ".join(str(getattr(error, "explanation", None) or error).split())
    reason = re.search(r"\[Errno -?\d+\] [^'\")]+", text)
    return reason[0] if reason else text
