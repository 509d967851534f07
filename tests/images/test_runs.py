"""The example flows, from nothing to their results: built, deployed, and run by a real docker worker."""

from __future__ import annotations

import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import yaml
from docker.models.containers import Container

from tests.conftest import Server
from tests.deploying.conftest import Command
from tests.images.conftest import StartWorker
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
RESULTS = {"rpa1": "report.json", "rpa2": "*.json", "rpa3": "*.json"}
MEBIBYTE = 1024**2


def test_the_examples_run_in_containers_under_their_limits_and_leave_their_results_in_the_repository(
    tmp_path: Path,
    server: Server,
    command: Command,
    engine: docker.DockerClient,
    base_image: str,
    docker_worker: StartWorker,
) -> None:
    project, root = f"runs-{uuid.uuid4().hex[:8]}", tmp_path / "repository"
    for folder in ("flows", "environments"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("output", "__pycache__"))
    shutil.copy(ROOT / ".dockerignore", root)
    stated = yaml.safe_load((root / "environments/development.yaml").read_text())
    stated |= {"project": project, "prefect_api_url": server.api_url, "docker": {"namespace": "meta-flows-examples"}}
    stated["work_pools"] = {"python": f"{project}-python", "docker": f"{project}-docker"}
    (root / "environments/development.yaml").write_text(yaml.safe_dump(stated))

    deployed = command("deploy", "--json", "--kind", "docker", cwd=root, timeout=600)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert {item["name"] for item in json.loads(deployed.stdout)["outcomes"]} == {
        f"{name}-docker-dev" for name in RESULTS
    }

    docker_worker(f"{project}-docker", server)

    def container() -> Container | None:
        started = engine.containers.list(filters={"label": f"io.prefect.work-pool-name={project}-docker"})
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
