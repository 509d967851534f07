"""The example workflow of docs/ci.md calls the stages and commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from meta_flows.cli import app

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "docs/examples/pipeline.sh"
WORKFLOW = ROOT / "docs/examples/github-actions.yaml"


def test_the_workflow_uses_official_actions_and_stages_that_exist() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"pull_request", "push"}  # YAML reads `on` as true
    assert workflow["jobs"]["apply"]["needs"] == "plan"
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {step["uses"].partition("/")[0] for step in steps if "uses" in step} == {"actions"}
    stages = re.findall(r"(\S+pipeline\.sh) (\w+)", text)
    assert {(ROOT / path, stage) for path, stage in stages} == {(PIPELINE, "plan"), (PIPELINE, "apply")}


def test_the_plan_that_is_uploaded_is_the_one_that_is_applied() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]

    def artifact(job: str, action: str) -> dict[str, str]:
        [step] = [step for step in jobs[job]["steps"] if step.get("uses", "").startswith(f"actions/{action}")]
        inputs: dict[str, str] = step["with"]
        return inputs

    up, down = artifact("plan", "upload-artifact"), artifact("apply", "download-artifact")
    assert up["name"] == down["name"]
    assert Path(up["path"]) == Path(down["path"]) / "plan.json"


def commands(script: str) -> list[list[str]]:
    """Every call of `meta-flows` in a shell script, word by word, without what the shell does about it."""
    calls = re.findall(r"^\s*meta-flows (.+?)(?: \|\|.*| \d?>.*)?$", script, re.MULTILINE)
    return [shlex.split(call) for call in calls]


def test_every_command_of_the_pipeline_is_one_that_meta_flows_takes() -> None:
    calls = commands(PIPELINE.read_text(encoding="utf-8"))
    assert [words[0] for words in calls] == ["validate", "plan", "deploy"]
    for words in calls:
        app.parse_args(words, exit_on_error=False, print_error=False)
