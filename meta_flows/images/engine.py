"""The Docker engine: what it has, and what it builds, pushes and pulls; whatever goes wrong becomes a coded error."""

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
"""What docker-py raises, itself or by what it is built on; the last while an answer is under way."""

TOLD_LINES = 12
"""How many of the last lines of a build that failed are part of the error."""

CAUSES = (
    ("MF607", r"no space left on device"),
    ("MF606", r"unauthorized|authentication required|no basic auth|denied|forbidden|incorrect username"),
    (
        "MF605",
        r"no such host|connection refused|timeout|deadline|x509|tls:|HTTP response to HTTPS|EOF|unreachable|lookup",
    ),
)
"""What the engine says of a registry, or of its disk, by code."""


class Built(NamedTuple):
    """What an engine has of an image; sizes are in bytes."""

    size: int
    layers: int


@contextmanager
def connected() -> Iterator[Engine]:
    """The engine that the shell names.

    Raises:
        MetaFlowsError: MF601, none answers.
    """
    try:
        client = docker.DockerClient.from_env()
        client.ping()
    except BROKEN as error:
        raise refuse("MF601", detail=_plainly(error)) from None
    try:
        yield client
    finally:
        client.close()


def folder_here(client: Engine) -> Path | None:
    """Where the engine keeps its images, if that is on this machine."""
    folder = Path(client.info()["DockerRootDir"])
    return folder if client.api.base_url == "http+docker://localhost" and folder.exists() else None


def find(client: Engine, image: Image) -> Image | None:
    """An image, if it is where workers get it from: the registry that it is pushed to, or else this engine.

    Raises:
        MetaFlowsError: MF605, the registry does not answer; MF606, it does not let us in.
    """
    if image.pushed:
        digest = registry_digest(client, image)
        return image.model_copy(update={"registry_digest": digest}) if digest else None
    return find_here(client, image)


def find_here(client: Engine, image: Image) -> Image | None:
    """An image, if this engine has it."""
    return image if look_up(client, image) else None


def look_up(client: Engine, image: Image) -> Built | None:
    """What the engine has of an image; None if nothing."""
    try:
        found: BuiltImage = client.images.get(image.name)
    except ImageNotFound:
        return None
    return Built(found.attrs["Size"], len(found.attrs["RootFS"]["Layers"]))


def registry_digest(client: Engine, image: Image) -> str | None:
    """Digest of an image in its registry; None if it is not there.

    Raises:
        MetaFlowsError: MF605, the registry does not answer; MF606, it does not let us in.
    """
    try:
        return str(client.images.get_registry_data(image.name).id)
    except NotFound:
        return None
    except APIError as error:
        if re.search(r"manifest unknown|not found|name unknown", str(error), re.IGNORECASE):
            return None
        raise _refused(image.repository, error) from None


def build(client: Engine, image: Image, root: Path, output: TextIOBase, *, backend: Backend) -> Built:
    """Build an image, under both its tags.

    Raises:
        MetaFlowsError: MF608, an instruction failed; MF609, there is no base image; MF607, the disk is full; MF601,
            the engine went away.
    """
    said = _Memory(output)
    builders: dict[Backend, Callable[[Image, Path, TextIOBase], None]] = {"docker-py": _classic, "buildx": _buildx}
    try:
        builders[backend](image, root, said)
    except (BUILD_ERROR, AssertionError, RuntimeError, *BROKEN) as error:
        raise _build_failed(image, said, error) from None
    move_tag(client, image)
    built = look_up(client, image)
    if built is None:
        raise _build_failed(image, said, RuntimeError("the engine has no such image after its build"))
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
    """As Prefect does it, except that Prefect keeps nothing of what buildx prints."""
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
    """Let the moving tag name this image."""
    client.images.get(image.name).tag(image.repository, image.moving_tag)


def push(client: Engine, image: Image, output: TextIOBase) -> str:
    """Push an image, under both its tags; its digest in the registry.

    Raises:
        MetaFlowsError: MF605, MF606 or MF607.
    """
    try:
        for tag in (image.moving_tag, image.tag):
            DockerImage(
                image.repository, tag=tag, dockerfile=image.dockerfile, stream_progress_to=cast(TextIO, output)
            ).push()
    except (PUSH_ERROR, RuntimeError, *BROKEN) as error:
        raise _refused(image.repository, error) from None
    digest = registry_digest(client, image)
    if digest is None:
        raise refuse("MF605", repository=image.repository, detail="it took the image, but does not have it")
    return digest


def pull(client: Engine, image: Image) -> bool:
    """Get an image from its registry; whether it is there.

    Raises:
        MetaFlowsError: MF605, MF606 or MF607.
    """
    try:
        client.images.pull(image.repository, tag=image.tag)
    except NotFound:
        return False
    except BROKEN as error:
        if re.search(r"manifest unknown|not found", str(error), re.IGNORECASE):
            return False
        raise _refused(image.repository, error) from None
    move_tag(client, image)
    return True


def make_networks(client: Engine, names: Iterable[str]) -> list[str]:
    """Make the networks that are missing; their names."""
    wanted = set(names)
    known = {network.name for network in client.networks.list(names=sorted(wanted))} if wanted else set()
    for name in sorted(wanted - known):
        client.networks.create(name, driver="bridge")
    return sorted(wanted - known)


class _Memory(TextIOBase):
    """A stream that passes everything on and remembers it."""

    def __init__(self, output: TextIOBase) -> None:
        self._output, self.text = output, ""

    def write(self, text: str) -> int:
        self.text += text
        return self._output.write(text)


def _build_failed(image: Image, said: _Memory, error: Exception) -> MetaFlowsError:
    place, detail = Location(path=image.dockerfile), _plainly(error)
    try:
        with connected():
            pass
    except MetaFlowsError as gone:
        return gone
    if re.search(CAUSES[0][1], detail):
        return refuse("MF607", repository=image.repository, detail=detail)
    steps = re.findall(r"^(?:Step \d+/\d+ :| > \[.*\d+/\d+\]) (.+?):?$", said.text, re.MULTILINE)  # classic, or buildx
    step = steps[-1].strip() if steps else "its beginning"
    if step.startswith("FROM") and re.search(r"pull access denied|not found|manifest|dial|lookup|resolve", detail):
        return refuse("MF609", place, base=step.split()[1], detail=detail)
    last = said.text[said.text.rfind(step) + len(step) :] if steps else said.text
    lines = [line for line in last.splitlines() if line.strip() and not line.startswith((" --->", "Removing"))]
    told = "".join(f"\n      {line}" for line in lines[-TOLD_LINES:])
    return refuse("MF608", place, step=step, detail=detail, output=told, image=image.repository)


def _refused(repository: str, error: Exception) -> MetaFlowsError:
    detail = _plainly(error)
    code = next((code for code, pattern in CAUSES if re.search(pattern, detail, re.IGNORECASE)), "MF605")
    return refuse(code, repository=repository, detail=detail)


def _plainly(error: BaseException) -> str:
    """What an error says, without what carried it."""
    text = " ".join(str(getattr(error, "explanation", None) or error).split())
    reason = re.search(r"\[Errno -?\d+\] [^'\")]+", text)
    return reason[0] if reason else text
