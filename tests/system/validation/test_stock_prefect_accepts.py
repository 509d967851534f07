"""What `prefect deploy` takes without a word, and we refuse before the first write: one repository, both commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prefect.workers.process import ProcessWorker

from tests.servers import Server
from tests.trees import build_tree


def flow(signature: str = "count: int = 1", *, above: str = "") -> str:
    """A source file with one flow; NAME stands for the flow's name."""
    return f"""
{above}
from prefect import flow


@flow(name="NAME")
def report({signature}) -> None:
    pass
"""


class Mistake(NamedTuple):
    """A repository with one mistake; all that is not said here is right.

    Attributes:
        code: Under which we refuse it.
        said: What a message about it has: ours does, and nothing that stock Prefect prints.
        configuration: YAML of the deployment, which prefect.yaml and our deployment.yaml spell alike.
        job_variables: YAML of what the one has in `work_pool` and the other at the top.
        source: The flow's file.
        files: What else is in the flow's folder.
        copies: How many folders have that flow.
    """

    code: str
    said: str
    configuration: str = ""
    job_variables: str = "{}"
    source: str = flow()
    files: Mapping[str, str] = {}
    copies: int = 1


MISTAKES = {
    "unknown parameter": Mistake("MF211", "cuont", "parameters: {cuont: 1}"),
    "unknown parameter of a schedule": Mistake(
        "MF211", "cuont", "schedules: [{cron: 0 6 * * *, parameters: {cuont: 1}}]"
    ),
    "parameter of a schedule has the wrong type": Mistake(
        "MF220", "count", "schedules: [{cron: 0 6 * * *, parameters: {count: many}}]"
    ),
    "required parameter that no schedule states": Mistake(
        "MF221", "count", "schedules: [{cron: 0 6 * * *}]", source=flow("count: int")
    ),
    "cron that never fires": Mistake("MF222", "never", "schedules: [{cron: 0 0 30 2 *}]"),
    "rrule that never fires": Mistake("MF222", "never", "schedules: [{rrule: FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30}]"),
    "misspelt key for schedules": Mistake("MF202", "schedule_s", "schedule_s: [{cron: 0 6 * * *}]"),
    "misspelt key for tags": Mistake("MF202", "'tag'", "tag: [sales]"),
    "misspelt key for parameters": Mistake("MF202", "parametres", "parametres: {count: 1}"),
    "key stated twice": Mistake("MF208", "tags", "tags: [sales]\ntags: [finance]"),
    "unknown job variable": Mistake("MF413", "memory", job_variables="{memory: 2Gi}"),
    "variable that does not exist": Mistake(
        "MF415", "regoin", job_variables="{env: {REGION: '{{ prefect.variables.regoin }}'}}"
    ),
    "two flows of one name overwrite each other": Mistake("MF103", "also used", copies=2),
    "default is None for a text": Mistake("MF116", "region", source=flow("region: str = None")),
    "default is a text for a number": Mistake("MF116", "count", source=flow("count: int = 'many'")),
    "parameter that no run can be given": Mistake(
        "MF118", "convert", source=flow("convert: Callable[[str], int]", above="from collections.abc import Callable")
    ),
    "import that no requirement declares": Mistake(
        "MF121",
        "hypothesis",
        source=flow(above="import hypothesis"),
        files={"requirements.txt": "prefect\nhttpx\n"},
    ),
    "import that is not installed": Mistake(
        "MF121", "pandsa", source=flow(above="import pandsa"), files={"requirements.txt": "prefect\n"}
    ),
    "import of a file that is not there": Mistake(
        "MF122", "tabels", source=flow(above="from flows.shared.tabels import read")
    ),
}

VALID = Mistake("", "", "schedules: [{cron: 0 6 * * *, parameters: {count: 2}}]", "{env: {REGION: north}}")


def repository(mistakes: Mapping[str, Mistake], server: Server, pool: str, project: str = "") -> dict[str, str]:
    """A repository of flows for both: with a prefect.yaml, and with a deployment.yaml in each folder.

    Args:
        mistakes: By the name of the flow that has it.
        server: Where to deploy.
        pool: Its work pool.
        project: Its name in our ownership tags.
    """
    environment = {"project": project, "prefect_api_url": server.api_url, "work_pools": {"python": pool}}
    files = {"environments/development.yaml": yaml.safe_dump(environment), "prefect.yaml": "deployments:\n"}
    for name, mistake in mistakes.items():
        for copy in range(mistake.copies):
            folder = f"flows/{name}-{copy}"
            entry = [
                "name: nightly",
                f"entrypoint: {folder}/workflow.py:report",
                f"work_pool: {{name: {pool}, job_variables: {mistake.job_variables}}}",
                *mistake.configuration.splitlines(),
            ]
            files["prefect.yaml"] += "  - " + "\n    ".join(entry) + "\n"
            files[f"{folder}/deployment.yaml"] = f"{mistake.configuration}\njob_variables: {mistake.job_variables}\n"
            files[f"{folder}/workflow.py"] = mistake.source.replace("NAME", name)
            files.update({f"{folder}/{path}": content for path, content in mistake.files.items()})
    return files


def deployed(server: Server, flow_name: str) -> list[dict[str, Any]]:
    """Raw deployments of a flow."""
    found: list[dict[str, Any]] = server.post("/deployments/filter", {"flows": {"name": {"any_": [flow_name]}}})
    return found


def unique() -> str:
    """A name that nothing else on the server has."""
    return f"p{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def pool(server: Server) -> str:
    """A process work pool as the UI makes it, with Prefect's own job template."""
    body = {"name": unique(), "type": "process", "base_job_template": ProcessWorker.get_default_base_job_template()}
    server.post("/work_pools/", body)
    return str(body["name"])


class Done(NamedTuple):
    """What one command over all mistakes has done: one by one they would take minutes.

    Attributes:
        process: Its exit code and output.
        flows: Name of the flow by the mistake that it has.
    """

    process: subprocess.CompletedProcess[str]
    flows: dict[str, str]


def run(words: Sequence[str], folder: Path, server: Server, pool: str, project: str = "") -> Done:
    """Write all mistakes, and one flow without any, into one repository, and run a command in it."""
    flows = {title: unique() for title in (*MISTAKES, "none")}
    mistakes = {flows[title]: mistake for title, mistake in {**MISTAKES, "none": VALID}.items()}
    process = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=build_tree(folder, repository(mistakes, server, pool, project)),
        env={**os.environ, "PREFECT_API_URL": server.api_url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return Done(process, flows)


@pytest.fixture(scope="module")
def stock(server: Server, pool: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return run(["prefect", "--no-prompt", "deploy", "--all"], tmp_path_factory.mktemp("stock"), server, pool)


@pytest.fixture(scope="module")
def ours(server: Server, pool: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    words = ["meta_flows", "deploy", "--json"]
    return run(words, tmp_path_factory.mktemp("ours"), server, pool, project=unique())


@pytest.mark.parametrize("title", MISTAKES)
def test_stock_prefect_deploys_it_without_a_word(stock: Done, server: Server, title: str) -> None:
    output = stock.process.stdout + stock.process.stderr
    assert stock.process.returncode == 0, output
    assert [deployment["name"] for deployment in deployed(server, stock.flows[title])] == ["nightly"]
    assert MISTAKES[title].said not in output
    assert "warning" not in output.lower()


@pytest.mark.parametrize("title", MISTAKES)
def test_ours_refuses_it_before_the_first_write(ours: Done, server: Server, title: str) -> None:
    name, mistake = ours.flows[title], MISTAKES[title]
    refused = json.loads(ours.process.stdout)["refused"]
    errors = {error["code"]: error["message"] for error in refused if f"/{name}-" in str(error["file_path"])}
    assert list(errors) == [mistake.code]
    assert mistake.said in errors[mistake.code]
    assert server.post("/flows/filter", {"flows": {"name": {"any_": [name]}}}) == []


def test_ours_deploys_the_flow_without_a_mistake_and_fails(ours: Done, server: Server) -> None:
    assert ours.process.returncode == 1
    assert len(deployed(server, ours.flows["none"])) == 1
