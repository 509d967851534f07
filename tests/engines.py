"""The real things that images have to do with: an engine, a registry, a worker that starts containers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import docker
import httpx
import pytest
import yaml
from docker.errors import APIError, DockerException, ImageNotFound

from tests.servers import Server, free_port
from tests.waiting import wait_until
from tests.workers import prefect_worker

BASE_IMAGE = "python:3.12-slim"
USERNAME, PASSWORD = "robot", "not-a-secret"
HTPASSWD = f"{USERNAME}:$2b$05$metaflowsmetaflowsmetOnOOlX4XwTasOf4Z.EqyCC80U2JU7dsq"
"""PASSWORD as bcrypt, the only form that a registry reads."""

StartWorker = Callable[[str, Server], subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker engine of this machine."""
    try:
        client = docker.from_env()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(engine: docker.DockerClient) -> str:
    """What the example images are built on, pulled if it is missing."""
    try:
        engine.images.get(BASE_IMAGE)
    except ImageNotFound:
        try:
            engine.images.pull(BASE_IMAGE)
        except APIError as error:
            pytest.skip(f"{BASE_IMAGE} is not here and cannot be pulled: {error}")
    return BASE_IMAGE


class Registry(NamedTuple):
    """A registry in a process of its own, empty at first.

    Attributes:
        address: What names of its images begin with.
        auth: Name and password that it wants.
    """

    address: str
    auth: tuple[str, str] | None = None

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Its answer below `/v2/`."""
        return httpx.get(f"http://{self.address}/v2/{path}", auth=self.auth, headers=headers)


@contextmanager
def started_registry(folder: Path, auth: tuple[str, str] | None = None) -> Iterator[Registry]:
    """A registry for as long as the `with` lasts; engines speak plain HTTP to the loopback address."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if not program:
        pytest.skip("no registry is installed (Debian's package docker-registry)")
    made = Registry(f"127.0.0.1:{free_port()}", auth)
    configuration = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": made.address},
    }
    if auth:
        (folder / "htpasswd").write_text(HTPASSWD)
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(configuration))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (folder / "registry.log").read_text()
        try:
            return made.get("").is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers)
        yield made
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that serves everybody."""
    with started_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a password."""
    with started_registry(tmp_path_factory.mktemp("registry"), (USERNAME, PASSWORD)) as started:
        yield started


@pytest.fixture
def docker_worker(engine: docker.DockerClient, tmp_path: Path) -> Iterator[StartWorker]:
    """Start a worker for a pool; it ends with the test."""
    with ExitStack() as stack:
        yield lambda pool, server: stack.enter_context(prefect_worker(pool, server, tmp_path, "docker"))
