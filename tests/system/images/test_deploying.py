"""Docker deployments: images built once per content, pushed, rolled back, and what goes wrong on the way."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.engines import BASE_IMAGE, PASSWORD, USERNAME, Registry
from tests.servers import Command, Server, free_port
from tests.shops import Shop

TEMPLATE = {
    "work_pool": "{{ environment.work_pools.docker.name }}",
    "job_variables": {
        "image": "{{ image.reference }}",
        "networks": "{{ environment.docker.networks }}",
        "mem_limit": "{{ limits.memory }}",
        "container_create_kwargs": {"cpu_quota": "{{ limits.cpu_quota }}"},
    },
    "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ image.workdir }}"}}],
}


class Dock(Shop):
    """A shop whose flows a and b are deployed as images, and c as a process."""

    def __init__(self, root: Path, server: Server, command: Command, engine: docker.DockerClient) -> None:
        super().__init__(root, server, command)
        self.engine = engine
        for name in ("development", "production"):
            self.write(f"environments/{name}.yaml", self.environment(strict=name == "production"))
        self.write("environments/templates/docker.yaml", TEMPLATE)
        self.write("shared/tools.py", "VALUE = 1\n")
        for name in "ab":
            self.write_dockerfile(name)
            self.write(f"flows/{name}/deployment.yaml", {"kinds": ["docker"]})

    def environment(self, strict: bool = False, **docker_settings: Any) -> dict[str, Any]:
        """An environment's file."""
        pools = {"python": f"{self.project}-python", "docker": f"{self.project}-docker"}
        images = {"namespace": self.project, **docker_settings}
        return {"work_pools": pools, "strict": strict, "docker": images, "ignore": ["MF626"]}  # nothing runs them

    def write_dockerfile(self, name: str, more: str = "", base: str = "scratch") -> None:
        """Write a flow's Dockerfile; what is not run needs no more than its files."""
        copies = f"COPY shared shared\nCOPY flows/{name} flows/{name}"
        self.write(f"flows/{name}/Dockerfile", f"FROM {base}\nWORKDIR /app\n{copies}\n{more}\n")

    def variables(self, name: str, environment: str = "dev") -> dict[str, Any]:
        """Job variables of a flow's docker deployment, as the server has them."""
        found: dict[str, Any] = self.live()[f"{name}-docker-{environment}"]["job_variables"]
        return found

    def image(self, name: str) -> str:
        """What a flow's deployment asks its worker for."""
        return str(self.variables(name)["image"])

    def tags(self, repository: str) -> set[str]:
        """The tags that the engine has of a repository."""
        return {tag.rpartition(":")[2] for image in self.engine.images.list(repository) for tag in image.tags}

    def forget(self, *repositories: str) -> None:
        """Remove images from the engine."""
        for image in (image for repository in repositories for image in self.engine.images.list(repository)):
            self.engine.images.remove(str(image.id), force=True, noprune=True)  # others build on its layers


@pytest.fixture
def dock(
    tmp_path: Path, server: Server, command: Command, engine: docker.DockerClient, base_image: str
) -> Iterator[Dock]:
    """A repository with two flows that are deployed as images, not deployed yet."""
    made = Dock(tmp_path / "dock", server, command, engine)
    yield made
    made.forget(f"{made.project}/a", f"{made.project}/b")


def built(result: dict[str, Any]) -> set[str]:
    """The folders of the images that a deploy has built."""
    return set(re.findall(r"/([ab]):\w+ was built in ", " ".join(result["notes"])))


def errors(result: dict[str, Any]) -> list[tuple[str, str | None, int | None]]:
    return [(error["code"], error["file_path"], error["line_number"]) for error in result["refused"]]


def test_an_image_is_built_for_each_content_once(dock: Dock) -> None:
    first = dock.deploy()
    assert first["state"] == "Deployed"
    assert built(first) == {"a", "b"}
    before = {name: dock.image(name) for name in "ab"}
    for name, image in before.items():
        repository, tag = image.split(":")
        assert repository == f"{dock.project}/{name}"
        assert dock.tags(repository) == {tag, "dev"}
        assert dock.live()[f"{name}-docker-dev"]["pull_steps"] == [
            {"prefect.deployments.steps.set_working_directory": {"directory": "/app"}}
        ]

    again = dock.deploy()
    assert (again["state"], built(again)) == ("InSync", set())

    dock.write("flows/a/data.csv", "1\n")
    assert built(dock.deploy()) == {"a"}
    assert (dock.image("a") != before["a"], dock.image("b")) == (True, before["b"])

    dock.write("shared/tools.py", "VALUE = 2\n")
    assert built(dock.deploy()) == {"a", "b"}

    dock.forget(f"{dock.project}/b")
    mended = dock.deploy()
    assert built(mended) == {"b"}
    assert {outcome["state"] for outcome in mended["outcomes"]} == {"Unchanged"}


def test_a_dry_run_builds_nothing_and_says_what_it_would(dock: Dock) -> None:
    result = dock.deploy("--dry-run")
    assert sum(" is built by a deploy" in note for note in result["notes"]) == 2
    assert dock.tags(f"{dock.project}/a") == set()


def test_a_rollback_points_at_the_image_before(dock: Dock) -> None:
    dock.deploy()
    before = dock.image("a")
    dock.write("flows/a/data.csv", "1\n")
    dock.deploy()
    assert dock.image("a") != before
    done = dock.meta_flows("rollback", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dock.image("a") == before


def test_limits_networks_and_volumes_reach_the_container(dock: Dock) -> None:
    network = f"{dock.project}-network"
    environment = {**dock.environment(networks=[network]), "resource_limits": {"memory": "256Mi", "cpu": "500m"}}
    dock.write("environments/development.yaml", environment)
    volumes = {"job_variables": {"volumes": ["./flows/a/output:/app/output", "cache:/cache"]}}
    dock.write("flows/a/deployment.yaml", {"kinds": {"docker": volumes}, "resource_limits": {"memory": "1G"}})
    dock.deploy("--flow", "a", "--flow", "b")
    try:
        assert [found.name for found in dock.engine.networks.list(names=[network])] == [network]
    finally:
        for found in dock.engine.networks.list(names=[network]):
            found.remove()
    owner = dock.root.stat()
    a, b = dock.variables("a"), dock.variables("b")
    assert (a["networks"], a["mem_limit"], b["mem_limit"]) == ([network], "1000000000b", "256m")
    assert a["volumes"] == [f"{dock.root}/flows/a/output:/app/output", "cache:/cache"]
    assert a["container_create_kwargs"] == {"cpu_quota": 50_000, "user": f"{owner.st_uid}:{owner.st_gid}"}
    assert b["container_create_kwargs"] == {"cpu_quota": 50_000}
    assert (dock.root / "flows/a/output").is_dir()


FAILURES = {
    "an instruction fails": ("RUN echo told && false", "MF608", "told"),
    "a source is missing": ("COPY flows/nothing .", "MF622", "flows/nothing"),
    "a base is missing": ("FROM no-such-base-image:1\nWORKDIR /app\nCOPY . .", "MF609", "no-such-base-image:1"),
}


@pytest.mark.parametrize(("more", "code", "told"), FAILURES.values(), ids=FAILURES.keys())
def test_what_cannot_be_built_is_left_as_it_was_and_other_flows_go_on(
    dock: Dock, more: str, code: str, told: str
) -> None:
    dock.deploy("--flow", "a")
    before = dock.live()["a-docker-dev"]
    dock.write_dockerfile("a", more, BASE_IMAGE)
    done = dock.meta_flows("deploy", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["state"]) == (1, "Incomplete")
    assert [(said, path) for said, path, _ in errors(result)] == [(code, "flows/a/Dockerfile")]
    assert told in result["refused"][0]["message"]
    live = dock.live()
    assert live["a-docker-dev"] == before
    assert {"b-docker-dev", "c-python-dev"} <= live.keys()


def test_where_everything_or_nothing_is_wanted_a_failed_build_stops_the_deploy(dock: Dock) -> None:
    dock.write_dockerfile("a", "RUN false", BASE_IMAGE)
    done = dock.meta_flows("deploy", "--json", "--environment", "production")
    assert [code for code, *_ in errors(json.loads(done.stdout))] == ["MF608", "MF504"]
    assert dock.live() == {}


def test_without_an_engine_the_rest_is_deployed_and_what_is_left_out_is_not_gone(dock: Dock) -> None:
    dock.deploy()
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    dock.write("flows/c/deployment.yaml", {"parameters": {"count": 3}})
    before = dock.live()
    result = dock.deploy("--prune", DOCKER_HOST=nowhere)
    assert result["state"] == "Deployed"
    assert any("no Docker engine answers" in note and "Start Docker" in note for note in result["notes"])
    after = dock.live()
    assert {name for name in before if before[name] != after.get(name)} == {"c-python-dev"}

    done = dock.meta_flows("deploy", "--json", "--environment", "production", DOCKER_HOST=nowhere)
    assert [code for code, *_ in errors(json.loads(done.stdout))] == ["MF601", "MF504"]
    assert dock.live() == after


def test_what_a_registry_has_is_deployed_by_digest_and_can_be_pulled(dock: Dock, registry: Registry) -> None:
    dock.write("environments/development.yaml", dock.environment(registry=registry.address))
    repository = f"{dock.project}/a"
    planned = dock.meta_flows("plan", "--out", "plan.json")
    assert planned.returncode == 0, planned.stderr
    applied = dock.deploy("--plan", "plan.json")
    assert (applied["state"], built(applied)) == ("Deployed", {"a", "b"})
    tags = registry.get(f"{repository}/tags/list").json()["tags"]
    (tag,) = set(tags) - {"dev"}
    manifest = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    digest = registry.get(f"{repository}/manifests/{tag}", **manifest).headers["Docker-Content-Digest"]
    assert dock.image("a") == f"{registry.address}/{repository}@{digest}"

    dock.forget(f"{registry.address}/{repository}", f"{registry.address}/{dock.project}/b")
    assert dock.deploy()["state"] == "InSync"
    assert dock.tags(f"{registry.address}/{repository}") == set()
    pulled = dock.meta_flows("images", "pull", "--json", "--flow", "a")
    assert (pulled.returncode, json.loads(pulled.stdout)["state"]) == (0, "Pulled"), pulled.stderr
    assert tag in dock.tags(f"{registry.address}/{repository}")

    dock.write("flows/a/data.csv", "1\n")
    missing = dock.meta_flows("images", "pull", "--json", "--flow", "a")
    assert [code for code, *_ in errors(json.loads(missing.stdout))] == ["MF613"]
    unbuilt = dock.meta_flows("images", "push", "--json", "--flow", "a")
    assert [code for code, *_ in errors(json.loads(unbuilt.stdout))] == ["MF612"]
    assert json.loads(dock.meta_flows("images", "build", "--json", "--flow", "a").stdout)["state"] == "Built"
    assert json.loads(dock.meta_flows("images", "push", "--json", "--flow", "a").stdout)["state"] == "Pushed"
    assert len(registry.get(f"{repository}/tags/list").json()["tags"]) == 3
    dock.forget(f"{registry.address}/{repository}", f"{registry.address}/{dock.project}/b")


def test_a_registry_that_wants_a_password_is_named_until_somebody_logs_in(
    dock: Dock, locked_registry: Registry, tmp_path: Path
) -> None:
    repository = f"{locked_registry.address}/{dock.project}/a"
    dock.write("environments/development.yaml", dock.environment(registry=locked_registry.address))
    shell = {"DOCKER_CONFIG": str(tmp_path)}
    done = dock.meta_flows("deploy", "--json", "--flow", "a", **shell)
    result = json.loads(done.stdout)
    assert [code for code, *_ in errors(result)] == ["MF606"], done.stderr
    assert "docker login" in result["refused"][0]["remedy"]
    assert dock.live() == {}

    token = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {locked_registry.address: {"auth": token}}}))
    assert dock.deploy("--flow", "a", **shell)["state"] == "Deployed"
    assert dock.image("a").startswith(f"{repository}@sha256:")
    dock.forget(repository)


def test_a_registry_that_does_not_answer_is_named(dock: Dock) -> None:
    dock.write("environments/development.yaml", dock.environment(registry=f"127.0.0.1:{free_port()}"))
    result = json.loads(dock.meta_flows("deploy", "--json").stdout)
    assert [code for code, *_ in errors(result)] == ["MF605", "MF605"]
    assert set(dock.live()) == {"c-python-dev"}


@pytest.mark.parametrize(("backend", "state"), [("buildx", "Deployed"), ("docker-py", "Incomplete")])
def test_a_dockerfile_that_needs_buildkit_is_built_by_buildx(dock: Dock, backend: str, state: str) -> None:
    environment = dock.environment(build_backend=backend, build_args={"WORD": "true"})
    dock.write("environments/development.yaml", environment)
    dock.write_dockerfile("a", "ARG WORD=false\nRUN --mount=type=tmpfs,target=/scratch ${WORD}", BASE_IMAGE)
    done = dock.meta_flows("deploy", "--json", "--flow", "a")
    result = json.loads(done.stdout)
    assert result["state"] == state, done.stdout + done.stderr
    assert [code for code, *_ in errors(result)] == ([] if state == "Deployed" else ["MF608"])


def test_a_build_by_buildx_that_fails_names_the_step(dock: Dock) -> None:
    dock.write("environments/development.yaml", dock.environment(build_backend="buildx"))
    dock.write_dockerfile("a", "RUN echo told && false", BASE_IMAGE)
    result = json.loads(dock.meta_flows("deploy", "--json", "--flow", "a").stdout)
    assert errors(result) == [("MF608", "flows/a/Dockerfile", None)]
    assert "`RUN echo told && false`" in result["refused"][0]["message"]


class Cable:
    """Leads to the engine until the first output of a build; then nowhere."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect("/var/run/docker.sock")
            builds = threading.Event()
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target, builds), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, builds: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if b"/build?" in data[:200]:
                    builds.set()
                target.sendall(data)
                if builds.is_set() and b"Step " in data:
                    break
        if builds.is_set():
            self.cut()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Let nobody through any more."""
        with suppress(OSError):  # closed before; closing alone would let one more through
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_an_engine_that_stops_while_it_builds_is_named_and_nothing_of_the_flow_is_deployed(dock: Dock) -> None:
    dock.write_dockerfile("a", "RUN sleep 20", BASE_IMAGE)
    cable = Cable()
    try:
        done = dock.meta_flows("deploy", "--json", "--flow", "a", "--flow", "c", DOCKER_HOST=cable.address)
    finally:
        cable.cut()
    result = json.loads(done.stdout)
    assert [code for code, *_ in errors(result)] == ["MF601"], done.stderr
    assert set(dock.live()) == {"c-python-dev"}
