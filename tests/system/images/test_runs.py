"""The example flows, from nothing to their results: built, deployed, and run by a real docker worker."""

from __future__ import annotations

import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import docker
import pytest
import yaml
from docker.models.containers import Container

from tests.engines import Registry, StartWorker
from tests.servers import Command, Server
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
DEPLOY = ("deploy", "--json", "--kind", "docker", "--adopt")
"""Adopts what the test before has left on the server that they share."""

RESULTS = {"rpa1": "report.json", "rpa2": "*.json", "rpa3": "*.json"}
MEBIBYTE = 1024**2


class Examples(NamedTuple):
    """A copy of the example flows and their environments, under a project of its own.

    Attributes:
        root: Its folder.
        pool: Its docker work pool.
    """

    root: Path
    pool: str


@pytest.fixture
def examples(tmp_path: Path, server: Server, base_image: str) -> Examples:
    """The examples, not deployed yet."""
    project, root = f"runs-{uuid.uuid4().hex[:8]}", tmp_path / "repository"
    for folder in ("flows", "environments"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("output", "__pycache__"))
    shutil.copy(ROOT / ".dockerignore", root)
    stated = yaml.safe_load((root / "environments/development.yaml").read_text())
    stated |= {"project": project, "prefect_api_url": server.api_url, "docker": {"namespace": "meta-flows-examples"}}
    stated["work_pools"] = {"python": f"{project}-python", "docker": f"{project}-docker"}
    (root / "environments/development.yaml").write_text(yaml.safe_dump(stated))
    return Examples(root, f"{project}-docker")


def test_the_examples_run_in_containers_under_their_limits_and_leave_their_results_in_the_repository(
    examples: Examples, server: Server, command: Command, engine: docker.DockerClient, docker_worker: StartWorker
) -> None:
    root, pool = examples
    deployed = command(*DEPLOY, "--flow", "rpa?", cwd=root, timeout=600)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    names = {row["name"] for row in json.loads(deployed.stdout)["outcomes"] if row["type"] == "deployment"}
    assert names == {f"{name}-docker-dev" for name in RESULTS}

    docker_worker(pool, server)

    def container() -> Container | None:
        started = engine.containers.list(filters={"label": f"io.prefect.work-pool-name={pool}"})
        return started[0] if started else None

    with ThreadPoolExecutor() as threads:
        running = threads.submit(command, "run", "rpa1", "--kind", "docker", cwd=root)
        limits = wait_until(container).attrs["HostConfig"]
        assert (limits["Memory"], limits["CpuQuota"]) == (512 * MEBIBYTE, 50_000)
        ended = {"rpa1": running.result()}
    ended |= {name: command("run", name, "--kind", "docker", cwd=root) for name in ("rpa2", "rpa3")}
    for name, done in ended.items():
        assert done.returncode == 0, done.stdout + done.stderr
        assert list((root / "flows" / name / "output" / "docker").rglob(RESULTS[name])), name


def test_all_flows_of_a_package_share_one_image_and_run_from_it(
    examples: Examples, server: Server, command: Command, docker_worker: StartWorker
) -> None:
    root, pool = examples
    deployed = command(*DEPLOY, "--flow", "trading", cwd=root, timeout=600)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    project = pool.removesuffix("-docker")
    images = {name: item["job_variables"]["image"] for name, item in server.deployments(project).items()}
    assert len(images) == 7
    assert len(set(images.values())) == 1

    docker_worker(pool, server)
    done = command("run", "market-data-cleanup", "--kind", "docker", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "flows/trading/output/docker/development.db").is_file()


def test_what_was_pushed_runs_by_its_digest_after_the_image_was_removed_here(
    examples: Examples,
    server: Server,
    command: Command,
    engine: docker.DockerClient,
    registry: Registry,
    docker_worker: StartWorker,
) -> None:
    root, pool = examples
    shell = {"DOCKER_REGISTRY": registry.address}
    deployed = command(*DEPLOY, "--flow", "rpa1", cwd=root, timeout=600, **shell)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    repository = f"{registry.address}/meta-flows-examples/rpa1"
    (image,) = engine.images.list(repository)
    engine.images.remove(image.attrs["Id"], force=True, noprune=True)
    assert not engine.images.list(repository)

    docker_worker(pool, server)
    done = command("run", "rpa1", "--kind", "docker", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    (pulled,) = engine.images.list(repository)
    assert pulled.tags == []  # it came by its digest
    wait_until(lambda: not engine.containers.list(filters={"ancestor": pulled.attrs["Id"]}))
    engine.images.remove(pulled.attrs["Id"], force=True, noprune=True)
