"""The real stack of docker-compose.yml: up, used as a team uses it, a server lost, and down without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.servers import Server, free_port
from tests.trees import build_tree
from tests.waiting import wait_until

HERE = Path(__file__).parents[3]

FLOW = """
from prefect import flow

@flow
def {name}(count: int = 1) -> int:
    return count
"""


def docker(*words: str) -> list[str]:
    """The lines that a docker command prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


class Stack:
    """The stack under a project, a port and a network of its own, for a small repository with the flow `a`."""

    def __init__(self, folder: Path) -> None:
        self.root, self.settings = folder / "repository", folder / "settings"
        self.project, port = f"stack-{uuid.uuid4().hex[:8]}", free_port()
        self.url = f"http://127.0.0.1:{port}"
        password = uuid.uuid4().hex
        self.server = Server(f"{self.url}/api", ("prefect", password))
        environment = {
            "project": self.project,
            "prefect_api_url": self.server.api_url,
            "registration": {"work_pool": "staging-meta-flows"},
        }
        settings = {
            "POSTGRES_PASSWORD": uuid.uuid4().hex,
            "REDIS_PASSWORD": uuid.uuid4().hex,
            "PREFECT_API_AUTH_STRING": f"prefect:{password}",
            "REPOSITORY": self.root,
            "WORKER_USER": f"{os.getuid()}:{os.getgid()}",
            "DOCKER_GID": Path("/var/run/docker.sock").stat().st_gid,
            "PORT": port,
            "NETWORK": self.project,
            "IMAGE": "meta-flows:test",
        }
        self.settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        build_tree(
            self.root, {"environments/defaults.yaml": yaml.safe_dump(environment), "environments/staging.yaml": "{}"}
        )
        self.add_flow("a")
        # `make up` writes it into the folder that its users are in, where Prefect's commands find it.
        (self.root / ".env").write_text(f"PREFECT_API_AUTH_STRING=prefect:{password}\n")

    def add_flow(self, name: str) -> None:
        build_tree(self.root, {f"flows/{name}/workflow.py": FLOW.format(name=name)})

    def compose(self, *words: str) -> list[str]:
        """Run docker compose on this stack."""
        files = ("--env-file", str(self.settings), "--file", str(HERE / "docker-compose.yml"))
        return docker("compose", "--project-name", self.project, *files, *words)

    def meta_flows(self, *words: str) -> subprocess.Popen[str]:
        """Start a command on this machine, as a user outside the stack does."""
        command = [sys.executable, "-m", "meta_flows", *words, "--environment", "staging", "--root", str(self.root)]
        return subprocess.Popen(command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def succeeds(self, *words: str) -> str:
        return end(self.meta_flows(*words))

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"/deployments/name/{name}")
        return found

    def run(self, deployment: dict[str, Any]) -> dict[str, Any]:
        """Trigger a run as the UI does; its state once a worker has brought it to an end."""
        run = self.server.post(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})

        def ended() -> dict[str, Any] | None:
            state: dict[str, Any] = self.server.get(f"/flow_runs/{run['id']}")["state"]
            return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return wait_until(ended, timeout=150)

    def deployments(self) -> set[str]:
        return set(self.server.deployments(self.project))

    def left(self) -> list[str]:
        """All that Docker has of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            line
            for words in (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
            for line in docker(*words, "--quiet", "--filter", label)
        ]


def end(command: subprocess.Popen[str]) -> str:
    """What a command printed, which must have succeeded."""
    output, _ = command.communicate(timeout=150)
    assert command.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests of this module, healthy within a limit."""
    for needed in ("version", "compose version"):
        if subprocess.run(["docker", *needed.split()], capture_output=True, check=False).returncode:
            pytest.skip(f"`docker {needed}` fails: the stack needs a Docker engine and compose 2 (.ci/engine)")
    made = Stack(tmp_path_factory.mktemp("stack"))
    try:
        made.compose("up", "--detach", "--build", "--wait", "--wait-timeout", "240")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "2")


def test_the_stack_comes_up_healthy_with_two_servers_behind_one_address(stack: Stack) -> None:
    listed = stack.compose("ps", "--format", "{{.Service}} {{.Health}}")
    assert sorted(listed) == [
        "docker-worker healthy",
        "meta-flows-worker healthy",
        "postgres healthy",
        "prefect healthy",
        "redis healthy",
        "server healthy",
        "server healthy",
        "services healthy",
        "worker healthy",
    ]
    assert httpx.get(f"{stack.url}/ui-settings").json()["api_url"] == stack.server.api_url
    assert httpx.get(stack.url, follow_redirects=True).status_code == 200


def test_nothing_answers_without_the_password_and_no_other_page_may_call(stack: Stack) -> None:
    path = f"{stack.server.api_url}/deployments/filter"
    assert httpx.post(path, json={}).status_code == 401
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = {
        origin: httpx.options(path, headers={"Origin": origin, **asked}).headers.get("access-control-allow-origin")
        for origin in (stack.url, "https://elsewhere.example")
    }
    assert allowed == {stack.url: stack.url, "https://elsewhere.example": None}
    assert httpx.get(f"{stack.url}/ui-settings").json()["auth"] == "BASIC"
    refused = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "--file", str(HERE / "docker-compose.yml"), "config"],
        env={
            "PATH": os.environ["PATH"],
            "POSTGRES_PASSWORD": "a",
            "REDIS_PASSWORD": "b",
            "REPOSITORY": "/c",
            "BIND": "0.0.0.0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode
    assert "PREFECT_API_AUTH_STRING" in refused.stderr


def test_only_what_builds_images_or_starts_containers_has_the_docker_socket(stack: Stack) -> None:
    found: dict[str, dict[str, Any]] = {}
    for container in stack.compose("ps", "--all", "--quiet"):
        [seen] = json.loads("\n".join(docker("inspect", container)))
        found[seen["Config"]["Labels"]["com.docker.compose.service"]] = seen
    sockets = {name for name, seen in found.items() if any("docker.sock" in each["Source"] for each in seen["Mounts"])}
    assert sockets == {"meta-flows-worker", "docker-worker"}
    for name, seen in found.items():
        host = seen["HostConfig"]
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert seen["Config"]["User"] not in ("", "0", "root"), name
    writable = {name for name, seen in found.items() if not seen["HostConfig"]["ReadonlyRootfs"]}
    assert writable == {"meta-flows-worker", "worker", "prefect"}


def test_what_is_deployed_from_this_machine_runs_on_the_stack_s_worker(stack: Stack) -> None:
    assert "staging is deployed: 1 created" in stack.succeeds("deploy", "--kind", "python")
    assert "Completed" in stack.succeeds("run", "a")


def test_deploy_all_triggered_in_the_ui_finds_in_sync_what_was_deployed_from_this_machine(stack: Stack) -> None:
    assert stack.run(stack.deployment("deploy-all/deploy-all-staging"))["name"] == "InSync"
    stack.add_flow("b")
    assert stack.run(stack.deployment("deploy-all/deploy-all-staging"))["name"] == "Deployed"
    assert stack.deployments() == {"a-python-staging", "b-python-staging"}


def test_a_flow_container_reaches_the_server_over_the_stack_s_network(stack: Stack) -> None:
    deployed = stack.deployment("a/a-python-staging")
    body = {
        **{key: deployed[key] for key in ("flow_id", "entrypoint", "pull_steps")},
        "name": "in-a-container",
        "work_pool_name": "staging-docker",
        "job_variables": {
            "image": "meta-flows:test",
            "image_pull_policy": "Never",
            "volumes": [f"{stack.root}:{stack.root}"],
            "auto_remove": True,
        },
    }
    assert stack.run(stack.server.post("/deployments/", body))["type"] == "COMPLETED"


def test_flow_containers_reach_the_api_and_nothing_else_of_the_stack(stack: Stack) -> None:
    services = {
        "prefect": 4200,
        "server": 4200,
        "postgres": 5432,
        "redis": 6379,
        "worker": 8080,
        "meta-flows-worker": 8080,
    }
    tried = f"""
import socket
for name, port in {services}.items():
    try:
        socket.create_connection((name, port), 3).close()
        print(name)
    except OSError:
        pass
"""
    inside = ("run", "--rm", "--network", stack.project, "meta-flows:test", "python", "-c", tried)
    assert docker(*inside) == ["prefect"]


def test_operators_sign_in_and_see_their_deployments(stack: Stack) -> None:
    assert "staging is as it was released" in stack.succeeds("check-ui", "--browser")


def test_redis_wants_its_password(stack: Stack) -> None:
    refused, *_ = stack.compose("exec", "-T", "-e", "REDISCLI_AUTH=", "redis", "redis-cli", "ping")
    assert refused == "NOAUTH Authentication required."


def test_a_deploy_does_not_fail_when_a_server_is_lost_meanwhile(stack: Stack) -> None:
    flows = [f"flow{number}" for number in range(30)]
    for flow in flows:
        stack.add_flow(flow)
    server, _ = stack.compose("ps", "--quiet", "server")
    deploying = stack.meta_flows("deploy")
    wait_until(lambda: len(stack.deployments()) > 5, every=0.02)
    docker("kill", server)
    assert deploying.poll() is None, "it was over before the server was"
    assert "30 created" in end(deploying)
    assert "32 unchanged" in stack.succeeds("deploy")


def test_down_leaves_nothing_behind(stack: Stack) -> None:
    """The last test of this stack."""
    assert stack.left()
    stack.compose("down", "--volumes", "--timeout", "2")
    assert stack.left() == []
