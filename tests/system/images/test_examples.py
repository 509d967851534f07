"""The images of the example flows, built by a real engine."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.images import Image

from tests.engines import StartWorker
from tests.servers import Server
from tests.trees import build_tree
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
SLUGS = ("rpa1", "rpa2", "rpa3")
SOMEBODY = "54321:54321"
Build = Callable[[Path, str], Image]
each = pytest.mark.parametrize("slug", SLUGS)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as it may be: code that only its owner can read, and much that belongs into no image."""
    root = tmp_path_factory.mktemp("context")
    shutil.copy(ROOT / ".dockerignore", root)
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__", "output"))
    strangers = (".env", ".git/config", "__pycache__/workflow.pyc", "output/report.json", "tests/test_it.py")
    for folder in ("", *(f"flows/{slug}/" for slug in SLUGS)):
        build_tree(root, {f"{folder}{name}": "TOKEN=stranger" for name in strangers})
    for path in root.glob("flows/*/**/*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return root


@pytest.fixture(scope="module")
def build(engine: docker.DockerClient, base_image: str) -> Iterator[Build]:
    """Build a flow's image; it is removed in the end, but what it was built of stays as the engine's cache."""
    built: list[Image] = []

    def made(context: Path, slug: str) -> Image:
        file, arguments = f"flows/{slug}/Dockerfile", {"BASE_IMAGE": base_image}
        image, _ = engine.images.build(path=str(context), dockerfile=file, buildargs=arguments, rm=True)
        built.append(image)
        return image

    yield made
    for image in built:
        engine.images.remove(str(image.id), force=True, noprune=True)


@pytest.fixture(scope="module")
def images(build: Build, context: Path) -> dict[str, Image]:
    """The image of each example."""
    return {slug: build(context, slug) for slug in SLUGS}


def layers(image: Image) -> tuple[list[str], list[str]]:
    """The layers that all flows share, and those of the flow."""
    found: list[str] = image.attrs["RootFS"]["Layers"]
    return found[:-2], found[-2:]


def output(engine: docker.DockerClient, image: Image, *command: str, user: str | None = None) -> str:
    """What a command prints in a container without any rights, network or writable files of its own."""
    run = engine.containers.run(
        image,
        list(command) or None,
        user=user,
        remove=True,
        cap_drop=["ALL"],
        network_mode="none",
        read_only=True,
        tmpfs={"/tmp": ""},
    )
    return str(run.decode())


def test_every_flow_of_a_package_loads_from_its_image(
    engine: docker.DockerClient, build: Build, context: Path, images: dict[str, Image]
) -> None:
    image = build(context, "trading")
    assert layers(image)[0] == layers(images["rpa1"])[0]
    assert output(engine, image).startswith("polygon-daily-ingestion days_back symbols use_distributed")
    modules = [f"flows.trading.{path.parent.name}.{path.stem}" for path in context.glob("flows/trading/*/*_flows.py")]
    assert len(modules) == 5
    output(engine, image, "python", "-c", f"import {', '.join(modules)}", user=SOMEBODY)


@each
@pytest.mark.parametrize("user", [None, SOMEBODY], ids=["default", "somebody"])
def test_the_smoke_command_loads_the_flow_whoever_runs_it(
    engine: docker.DockerClient, images: dict[str, Image], slug: str, user: str | None
) -> None:
    name, *parameters = output(engine, images[slug], user=user).split()
    assert name == f"{slug.upper()}ProcessingFlow"
    assert {"cleanup", "batch_size", "input_folder", "output_folder"} <= set(parameters)


def test_prefect_can_keep_its_files_for_a_user_without_a_name_or_a_home(
    engine: docker.DockerClient, images: dict[str, Image]
) -> None:
    command = ("prefect", "config", "set", "PREFECT_LOGGING_LEVEL=DEBUG")
    assert "Set 'PREFECT_LOGGING_LEVEL' to 'DEBUG'" in output(engine, images["rpa1"], *command, user=SOMEBODY)


@each
def test_nobody_is_root_unless_told_to(images: dict[str, Image], slug: str) -> None:
    assert images[slug].attrs["Config"]["User"] == "10001:10001"


@each
def test_an_image_holds_the_code_of_its_flow_and_nothing_else(
    engine: docker.DockerClient, images: dict[str, Image], slug: str
) -> None:
    assert output(engine, images[slug], "find", "/app", "-type", "f").split() == [f"/app/flows/{slug}/workflow.py"]
    assert output(engine, images[slug], "find", "/app", "-writable") == ""
    assert "stranger" not in str(images[slug].history())


def test_all_images_share_what_is_installed_and_changed_code_installs_nothing(
    build: Build, images: dict[str, Image], context: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(context, tmp_path / "changed")
    with (changed / "flows/rpa1/workflow.py").open("a") as code:
        code.write("# changed\n")
    found = [*map(layers, images.values()), layers(build(changed, "rpa1"))]
    assert [shared for shared, _ in found] == [found[0][0]] * 4
    assert len({tuple(own) for _, own in found}) == 4


def test_a_run_in_a_container_leaves_its_results_in_the_repository(
    images: dict[str, Image], server: Server, docker_worker: StartWorker, tmp_path: Path
) -> None:
    """As the user that it is told to run as, on the data that it is given."""
    pool, folder = f"pool-{uuid.uuid4().hex[:8]}", "flows/rpa1"
    shutil.copytree(ROOT / folder / "data", tmp_path / "data")
    (tmp_path / "output").mkdir()
    (tmp_path / "output").chmod(0o777)
    docker_worker(pool, server)
    deployment = server.post(
        "/deployments/",
        {
            "name": pool,
            "flow_id": server.post("/flows/", {"name": "RPA1ProcessingFlow"})["id"],
            "entrypoint": f"{folder}/workflow.py:rpa1_workflow",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/app"}}],
            "work_pool_name": pool,
            "job_variables": {
                "image": images["rpa1"].id,
                "image_pull_policy": "Never",
                "auto_remove": True,
                "mem_limit": "512m",
                "volumes": [f"{tmp_path}/data:/app/{folder}/data:ro", f"{tmp_path}/output:/app/{folder}/output"],
                "container_create_kwargs": {"user": SOMEBODY},
                "env": {"PREFECT_HOME": "/tmp/prefect"},
            },
        },
    )
    run = server.post(f"/deployments/{deployment['id']}/create_flow_run")

    def ended() -> str | None:
        state = server.get(f"/flow_runs/{run['id']}")["state"]
        return state["name"] if state["type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    assert wait_until(ended, timeout=120) == "Completed", (tmp_path / "worker.log").read_text()
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["report.json"]
    owner = (tmp_path / "output/report.json").stat()
    assert f"{owner.st_uid}:{owner.st_gid}" == SOMEBODY
