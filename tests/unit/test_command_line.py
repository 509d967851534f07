"""What each command makes of its arguments, and how its process ends; nothing is deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from prefect import Flow

from meta_flows.cli import COMMANDS, app, deploying, inspecting, main, runner
from meta_flows.cli.options import LocalOrRemote, OnServer
from meta_flows.models import DeployResult
from tests.servers import Command
from tests.trees import build_tree

Call = tuple[str, str | None, dict[str, Any]]


def deploy(environment: str | None = None, **asked: Any) -> Call:
    """A run of `deploy_all` that was asked for nothing but this."""
    usual: dict[str, Any] = {
        "flows": [],
        "kinds": [],
        "pattern": None,
        "adopt": False,
        "prune": None,
        "prune_limit": None,
    }
    return "deploy-all", environment, {**usual, "parameters": {}, "dry_run": False, "approved": None, **asked}


def planned(environment: str | None = None, **asked: Any) -> Call:
    """The same of `plan`, which has nobody to ask."""
    name, environment, options = deploy(environment, dry_run=True, **asked)
    del options["approved"]
    return name, environment, options


CALLS: dict[str, Call] = {
    "deploy": deploy(),
    "deploy -e staging": deploy("staging"),
    "deploy --environment prod --yes": deploy("prod", approved="any"),
    "deploy --flow a --flow b-*": deploy(flows=["a", "b-*"]),
    "deploy a b-* --env staging": deploy("staging", flows=["a", "b-*"]),
    "deploy --kind python --kind docker --pattern x-*": deploy(kinds=["python", "docker"], pattern="x-*"),
    "deploy --adopt --prune --prune-limit 0.5": deploy(adopt=True, prune=True, prune_limit=0.5),
    "deploy --no-prune --dry-run": deploy(prune=False, dry_run=True),
    'deploy --parameter n=3 --parameter t=text --parameter l=["a"]': deploy(
        parameters={"n": 3, "t": "text", "l": ["a"]}
    ),
    "deploy --parameter a=b=c": deploy(parameters={"a": "b=c"}),
    "plan": planned(),
    "plan -e dev --flow a": planned("dev", flows=["a"]),
    "clean": (
        "clean-deployments",
        "development",
        {"pattern": None, "confirm": None, "dry_run": False, "approved": None},
    ),
    "clean -e staging --pattern a-* --dry-run --confirm staging": (
        "clean-deployments",
        "staging",
        {"pattern": "a-*", "confirm": "staging", "dry_run": True, "approved": None},
    ),
    "rollback": ("rollback", None, {"to": None, "dry_run": False, "approved": None}),
    "rollback --to 2026 --yes": ("rollback", None, {"to": "2026", "dry_run": False, "approved": "any"}),
    "reconcile -e prod --policy report": ("reconcile", "prod", {"policy": "report"}),
    "register -e staging --dry-run": ("register", "staging", {"dry_run": True}),
    "check-ui --browser --wait 5": ("check-ui", None, {"browser": True, "screenshots": None, "wait": 5.0}),
    "images build -e dev --flow a": ("images", "dev", {"action": "build", "flows": ["a"]}),
    "images push": ("images", None, {"action": "push", "flows": []}),
    "validate -e dev --kind python --import": (
        "validate",
        "dev",
        {"flows": [], "kinds": ["python"], "pattern": None, "import_flows": True},
    ),
    "validate --deployment a-python-dev": (
        "validate",
        None,
        {"flows": [], "kinds": [], "pattern": "a-python-dev", "import_flows": False},
    ),
}

WRONG = {
    "deploy --nope": "--nope",
    "deploy --prune-limit much": "much",
    "deploy --prune-limit 5": "not a share from 0 to 1",
    "plan --out flows": "flows cannot be written",
    "deploy --parameter count": "'count' is not KEY=VALUE",
    "reconcile --policy maybe": "maybe",
    "rollback surplus": "surplus",
    "nonsense": "nonsense",
}


class Calls(list[tuple[Call, OnServer]]):
    """The meta-flows that would be run, and where."""

    def run(
        self,
        activity: str,
        meta_flow: Flow[..., Any],
        on: OnServer,
        *,
        remote: bool = False,
        start_local: bool = True,
        **arguments: Any,
    ) -> DeployResult:
        self.append(((meta_flow.name, on.environment, arguments), on))
        assert remote == getattr(on, "remote", False)
        return DeployResult(environment=on.environment or "development", state="InSync", message="")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """Meta-flows are not run; the repository has environments and no flows."""
    made = Calls()
    for module in (deploying, inspecting, runner):
        monkeypatch.setattr(module, "run_meta_flow", made.run)
    names = ("development", "staging", "production")
    build_tree(tmp_path, {"flows/": b"", **{f"environments/{name}.yaml": "" for name in names}})
    monkeypatch.chdir(tmp_path)
    return made


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("line", CALLS)
def test_a_command_line_runs_its_meta_flow_with_what_it_says(calls: Calls, line: str) -> None:
    assert exit_code(*line.split()) == 0
    assert [call for call, _ in calls] == [CALLS[line]]


def test_options_that_all_commands_share_say_where_and_how(calls: Calls, tmp_path: Path) -> None:
    assert exit_code("deploy", "--root", str(tmp_path), "--api-url", "http://x/api", "--json", "-v") == 0
    assert exit_code("deploy", "--remote") == 0
    assert exit_code("plan", "--env", "prod", "-o", "wide") == 0
    assert [on for _, on in calls] == [
        LocalOrRemote(tmp_path, json=True, verbose=True, api_url="http://x/api"),
        LocalOrRemote(remote=True),
        OnServer(environment="prod", format="wide"),
    ]


def test_every_environment_is_cleaned_in_turn(calls: Calls) -> None:
    assert exit_code("clean", "--all-environments", "--dry-run") == 0
    assert [environment for (_, environment, _), _ in calls] == ["development", "production", "staging"]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_use_runs_nothing_and_says_what_is_wrong(
    calls: Calls, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert exit_code(*line.split()) == 2
    assert not calls
    shown = capsys.readouterr().err
    assert WRONG[line] in shown
    command = line.split(maxsplit=1)[0] if line.split(maxsplit=1)[0] in app else ""
    assert " ".join(filter(None, ["`meta-flows", command, "--help`"])) in shown


def test_help_groups_the_commands_and_keeps_what_is_between_angle_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    assert exit_code("check-ui", "--help") == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"─ {heading} ─") for heading in COMMANDS]
    assert places == sorted(places)
    assert "build/screenshots/<environment>" in " ".join(shown.replace("│", "").split())
    assert "default: False" not in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_every_command(shell: Literal["bash", "zsh", "fish"]) -> None:
    script = app.generate_completion(shell=shell)
    words = {word for commands in COMMANDS.values() for line in commands for word in line.split()}
    assert {word for word in words if word not in script} == set()


def test_a_process_ends_with_the_code_of_its_command_and_has_said_all(command: Command, tmp_path: Path) -> None:
    build_tree(tmp_path, {"flows/a.py": "from prefect import flow\n@flow\ndef a(): ...\n"})
    ended = command("discover", "--json")
    assert (ended.returncode, ended.stdout[-2:]) == (0, "}\n")
    wrong = command("discover", "--nope")
    assert (wrong.returncode, "MF901" in wrong.stderr) == (2, True)


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    build_tree(tmp_path, {f"flows/f{n}.py": f"from prefect import flow\n@flow\ndef f{n}(): ...\n" for n in range(300)})
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-m", "meta_flows", "discover", "--json"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("words", ["--json", "-o json", "--format=json", "-ojson"])
def test_wrong_use_is_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert exit_code("rollback", "surplus", *words.split()) == 2
    [error] = json.loads(capsys.readouterr().out)["errors"]
    assert (error["code"], error["remedy"]) == ("MF901", "`meta-flows rollback --help` lists what it takes.")
