"""`--remote`: a registered meta-flow, run by a real worker and followed from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.servers import Server
from tests.shops import Shop
from tests.waiting import wait_until
from tests.workers import prefect_worker

REPOSITORY = Path(__file__).parents[3]

SLOW = """
import time
from prefect import flow, get_run_logger

@flow(name="deploy-all")
def deploy_all(environment: str = "development") -> None:
    get_run_logger().info("half-way")
    time.sleep(600)
"""

PAUSED = """
from prefect import flow, suspend_flow_run
from prefect.states import Completed

@flow(name="deploy-all")
def deploy_all(environment: str = "development"):
    suspend_flow_run(timeout=600, key="approve")
    return Completed(name="Deployed", message="after all")
"""


class Registered:
    """A shop whose `deploy_all` is registered on the session's server, as `make register` does it.

    Attributes:
        pool: Its work pool, without a worker.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop, self.pool = shop, f"{shop.project}-meta"
        shop.server.post("/work_pools/", {"name": self.pool, "type": "process"})
        self.register()

    def register(self, *, source: str | None = None, project: str | None = None, slugs: tuple[str, ...] = ()) -> None:
        """Put the deployment on the server; with a source it runs another flow than ours."""
        folder, entrypoint = REPOSITORY, "meta_flows/flows/deploy_all.py:deploy_all"
        names = ["environment", "flows", "dry_run", "parameters", "prune"]
        if source:
            self.shop.write("meta/slow.py", source)
            folder, entrypoint = self.shop.root / "meta", "slow.py:deploy_all"
        properties: dict[str, Any] = {name: {"title": name} for name in names}
        if slugs:
            properties["flows"] = {"type": "array", "items": {"type": "string", "enum": list(slugs)}}
        tags = ["meta-flow", f"project:{project or self.shop.project}-meta-flows", "environment:development"]
        body = {
            "name": "deploy-all-dev",
            "flow_id": self.shop.server.post("/flows/", {"name": "deploy-all"})["id"],
            "entrypoint": entrypoint,
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
            "work_pool_name": self.pool,
            "parameters": {"environment": "development", **({} if source else {"root": str(self.shop.root)})},
            "parameter_openapi_schema": {"type": "object", "properties": properties},
            "enforce_parameter_schema": False,
            "tags": tags,
        }
        self.id = self.shop.server.post("/deployments/", body)["id"]

    def runs(self) -> list[Any]:
        found: list[Any] = self.shop.server.post("/flow_runs/filter", {"deployments": {"id": {"any_": [self.id]}}})
        return found

    def state(self) -> str | None:
        return self.runs()[0]["state"]["name"] if self.runs() else None

    def deploy(self, *words: str) -> CompletedProcess[str]:
        return self.shop.meta_flows("deploy", "--remote", *words)


@pytest.fixture(autouse=True)
def only_here(server: Server) -> Iterator[None]:
    """Registered meta-flows of different projects have the same names, so each test begins and ends without any."""

    def forget() -> None:
        for deployment in server.post("/deployments/filter", {"deployments": {"tags": {"all_": ["meta-flow"]}}}):
            server.delete(f"/deployments/{deployment['id']}")

    forget()
    yield
    forget()


@pytest.fixture
def registered(shop: Shop) -> Registered:
    return Registered(shop)


def test_it_follows_the_log_and_ends_as_the_run_does(registered: Registered, tmp_path: Path) -> None:
    with prefect_worker(registered.pool, registered.shop.server, tmp_path):
        done = registered.deploy("--flow", "[ab]")
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(registered.shop.live()) == {"a-python-dev", "b-python-dev"}
        # the first test of a server makes the work pool, too
        assert len(re.findall(r"^\d\d:\d\d:\d\d Deployed: 2 created\b", done.stderr, re.MULTILINE)) == 1
        assert "development is deployed: 2 created" in done.stdout
        [run] = registered.runs()
        assert f"/runs/flow-run/{run['id']}" in done.stdout
        assert run["parameters"]["flows"] == ["a", "b"]
        assert set(run["parameters"]) == {"environment", "root", "flows"}

        again = registered.deploy("--json")
        result = json.loads(again.stdout)
        assert (again.returncode, result["state"], result["message"]) == (0, "Deployed", "1 created, 2 unchanged")

        registered.shop.write("flows/a/deployment.yaml", {"parameters": {"count": "many"}})
        failed = registered.deploy("--json")
        assert (failed.returncode, json.loads(failed.stdout)["state"]) == (1, "Incomplete")
        assert "MF220" in failed.stderr


def test_what_register_puts_there_is_what_is_run(shop: Shop, tmp_path: Path) -> None:
    shop.write("environments/development.yaml", {"work_pools": {"python": f"{shop.project}-pool"}})
    assert shop.meta_flows("register").returncode == 0
    with prefect_worker(f"{shop.project}-pool", shop.server, tmp_path):
        done = shop.meta_flows("deploy", "--remote", "--dry-run", "--flow", "a")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "development is planned, nothing was written: 1 to create" in done.stdout
        done = shop.meta_flows("clean", "--remote")
        assert done.returncode == 0, done.stdout + done.stderr
    shop.add_flow("d")
    done = shop.meta_flows("deploy", "--remote", "--json", "--flow", "d")
    assert [error["code"] for error in json.loads(done.stdout)["errors"]] == ["MF532"]


@pytest.mark.parametrize("project", ["another", None])
def test_what_is_not_registered_for_this_project_is_refused_with_the_remedy(shop: Shop, project: str | None) -> None:
    """Another project's registration has the same name."""
    if project:
        others = Registered(shop)
        others.register(project=project)
    done = shop.meta_flows("deploy", "--remote", "--json")
    assert done.returncode == 1
    [error] = json.loads(done.stdout)["errors"]
    assert (error["code"], "meta-flows register" in error["remedy"]) == ("MF531", True)
    if project:
        assert others.runs() == []


def test_what_the_registered_form_does_not_know_is_refused_before_anything_runs(registered: Registered) -> None:
    registered.register(slugs=("a", "b"))
    done = registered.deploy("--json", "--flow", "*")
    assert done.returncode == 1
    [error] = json.loads(done.stdout)["errors"]
    assert (error["code"], "does not know 'c'" in error["message"], "meta-flows register" in error["remedy"]) == (
        "MF532",
        True,
        True,
    )
    assert json.loads(registered.deploy("--json", "--flow", "nothing").stdout)["errors"][0]["code"] == "MF109"
    assert registered.runs() == []


def test_a_yes_counts_for_a_run_here_only(registered: Registered) -> None:
    """A run there is asked about there, and would wait for somebody who is not told."""
    registered.shop.write("environments/development.yaml", {"require_approval": True})
    done = registered.deploy("--yes", "--json")
    assert done.returncode == 2
    [error] = json.loads(done.stdout)["errors"]
    assert (error["code"], "approved in the Prefect UI" in error["message"]) == ("MF901", True)
    assert registered.runs() == []


class Terminal:
    """`meta-flows deploy --remote` at a terminal, as a person sees it."""

    def __init__(self, registered: Registered, *, interactive: bool = True) -> None:
        ours, theirs = pty.openpty()
        self._ours, self.text = ours, ""
        command = [sys.executable, "-m", "meta_flows", "deploy", "--remote"]
        other = theirs if interactive else subprocess.DEVNULL
        # A session of its own makes the pseudo-terminal its controlling one.
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", *command],
            cwd=registered.shop.root,
            env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
            stdin=other,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(ours, False)

    def shows(self, text: str) -> bool:
        with contextlib.suppress(OSError):  # nothing there yet, or nobody writes any more
            self.text += os.read(self._ours, 1 << 16).decode(errors="replace")
        return text in self.text

    def waits_for(self, text: str) -> None:
        try:
            wait_until(lambda: self.shows(text), timeout=120)
        except AssertionError:
            raise AssertionError(self.text) from None

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Its exit code; what it still writes is read meanwhile, or it could not end."""

        def ended() -> bool:
            self.shows("")
            return self.process.poll() is not None

        wait_until(ended, timeout=120)
        self.shows("")
        os.close(self._ours)
        return self.process.returncode


def test_ctrl_c_cancels_the_run_for_who_says_yes_and_waits_for_its_end(registered: Registered, tmp_path: Path) -> None:
    registered.register(source=SLOW)
    with prefect_worker(registered.pool, registered.shop.server, tmp_path):
        terminal = Terminal(registered)
        terminal.waits_for("half-way")
        terminal.interrupt()
        terminal.waits_for("Cancel the run?")
        terminal.types("y\n")
        assert terminal.end() == 1
    assert registered.state() == "Cancelled"
    assert terminal.text.count("half-way") == 1
    assert "development is as the run left it: it was cancelled" in terminal.text


def test_ctrl_c_leaves_the_run_to_who_says_no(registered: Registered) -> None:
    """No worker polls the pool, which is said, and the run waits for one."""
    terminal = Terminal(registered)
    terminal.waits_for(f"no worker polls '{registered.pool}' yet")
    terminal.waits_for(": Scheduled")
    terminal.interrupt()
    terminal.waits_for("Cancel the run?")
    terminal.types("n\n")
    assert terminal.end() == 130
    [run] = registered.runs()
    assert registered.state() in ("Scheduled", "Late")
    assert terminal.text.rindex(run["id"]) > terminal.text.index("is left running:")


def test_a_second_ctrl_c_just_leaves(registered: Registered) -> None:
    terminal = Terminal(registered)
    terminal.waits_for(": Scheduled")
    terminal.interrupt()
    terminal.waits_for("Cancel the run?")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "is left running:" in terminal.text
    assert registered.state() in ("Scheduled", "Late")


def test_without_a_terminal_ctrl_c_asks_nothing(registered: Registered) -> None:
    terminal = Terminal(registered, interactive=False)
    terminal.waits_for(": Scheduled")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "is left running:" in terminal.text and "Cancel the run?" not in terminal.text
    assert registered.state() in ("Scheduled", "Late")


def test_a_run_that_waits_for_an_answer_says_once_how_it_is_given(registered: Registered, tmp_path: Path) -> None:
    registered.register(source=PAUSED)
    with prefect_worker(registered.pool, registered.shop.server, tmp_path):
        terminal = Terminal(registered)
        terminal.waits_for("It waits for an answer")
        assert registered.state() == "Suspended"
        registered.shop.server.post(f"/flow_runs/{registered.runs()[0]['id']}/resume")
        assert terminal.end() == 0
    assert terminal.text.count("It waits for an answer") == 1
    assert "development is deployed: after all" in terminal.text


@pytest.mark.parametrize(
    "command", [["clean"], ["reconcile"], ["rollback"], ["validate", "-e", "development"]], ids=lambda words: words[0]
)
def test_every_meta_flow_can_be_run_there(shop: Shop, command: list[str]) -> None:
    done = shop.meta_flows(*command, "--remote", "--json")
    name = {"clean": "clean-deployments"}.get(command[0], command[0])
    [error] = json.loads(done.stdout)["errors"]
    assert error["code"] == "MF531"
    assert f"{name}/{name}-dev" in error["message"]
