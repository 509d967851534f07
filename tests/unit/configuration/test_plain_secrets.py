"""Secrets in plain text are refused wherever they stand, at any depth, before anything is shown or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_flows.cli.options import parsed_parameters
from meta_flows.configuration import Selection
from meta_flows.desired.deployments import desired_offline
from meta_flows.diagnostics import MetaFlowsError
from tests.trees import build_tree

MARKER = "hunter2-and-more"
FLOW = "from prefect import flow\n\n\n@flow\ndef sales(db: dict = {}, days: int = 1) -> None: ...\n"
SALES, DEVELOPMENT = "flows/sales/deployment.yaml", "environments/development.yaml"
TEMPLATE = "environments/templates/python.yaml"
POOL: dict[str, Any] = {"work_pool": "dev-python"}


def refused(root: Path) -> list[tuple[str, str]]:
    """The codes and places of what is refused; the marker is in none of it."""
    try:
        _, desired = desired_offline(root, "development", Selection())
    except MetaFlowsError as error:
        found = error.errors
    else:
        found = desired.refused
    assert MARKER not in str(found)
    return [(error.code, str(error.file_path)) for error in found]


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Builds a repository of one flow and one file."""

    def build(file: str, stated: dict[str, Any]) -> Path:
        build_tree(tmp_path, {"flows/sales/workflow.py": FLOW, file: yaml.safe_dump(stated)})
        return tmp_path

    return build


GIT = {"source": {"type": "git", "repository": f"https://user:{MARKER}@git.example.com/flows.git", "commit": "a" * 40}}
TOKEN_ONLY = {**GIT, "source": {**GIT["source"], "repository": f"https://{MARKER}@git.example.com/flows.git"}}
CLONE = {"prefect.deployments.steps.git_clone": {"repository": "https://x/y.git", "access_token": MARKER}}

PLACES: dict[str, tuple[str, dict[str, Any], str]] = {
    "parameter": (SALES, {"parameters": {"db": {"login": {"password": MARKER}}}}, "MF303"),
    "parameter in a list": (SALES, {"parameters": {"db": {"logins": [{"password": MARKER}]}}}, "MF303"),
    "parameter of an environment": (
        SALES,
        {"environments": {"prod": {"parameters": {"db": {"token": MARKER}}}}},
        "MF303",
    ),
    "parameter of a schedule": (
        SALES,
        {"schedules": [{"cron": "0 6 * * *", "parameters": {"db": {"api_key": MARKER}}}]},
        "MF303",
    ),
    "default parameter": (DEVELOPMENT, {"default_parameters": {"db": {"password": MARKER}}}, "MF303"),
    "job variable": (SALES, {"job_variables": {"image_pull_secret": {"password": MARKER}}}, "MF301"),
    "command": (SALES, {"job_variables": {"command": f"python -m run --db-password {MARKER}"}}, "MF301"),
    "address in a job variable": (SALES, {"job_variables": {"proxy": f"http://me:{MARKER}@proxy:3128"}}, "MF301"),
    "tag": (SALES, {"tags": [f"password={MARKER}"]}, "MF301"),
    "description": (SALES, {"description": f"Log in at https://me:{MARKER}@shop.example.com"}, "MF301"),
    "git source": (DEVELOPMENT, GIT, "MF301"),
    "git source with a token": (DEVELOPMENT, TOKEN_ONLY, "MF301"),
    "build argument": (DEVELOPMENT, {"docker": {"build_args": {"PIP_TOKEN": MARKER}}}, "MF301"),
    "pull step of a template": (TEMPLATE, {**POOL, "pull": [CLONE]}, "MF301"),
    "job variable of a template": (TEMPLATE, {**POOL, "job_variables": {"env": {"DB_PASSWORD": MARKER}}}, "MF301"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_refused_where_it_stands(place: str, repository: Callable[..., Path]) -> None:
    file, stated, code = PLACES[place]
    root = repository(file, stated)
    (root / "environments" / "production.yaml").parent.mkdir(exist_ok=True)
    (root / "environments" / "production.yaml").touch()
    (root / "environments" / "development.yaml").touch()
    assert set(refused(root)) == {(code, file)}


@pytest.mark.parametrize(
    ("file", "stated"),
    [
        (SALES, {"parameters": {"db": {"password": "prompt"}}, "allow_plain": ["parameters.db.password"]}),
        (DEVELOPMENT, {"default_parameters": {"db": {"token": "ask"}}, "allow_plain": ["parameters.db.token"]}),
        (SALES, {"job_variables": {"env": {"PASSWORD": "ask"}}, "allow_plain": ["job_variables.env.PASSWORD"]}),
        (SALES, {"tags": ["token=none"], "allow_plain": ["tags"]}),
        (SALES, {"parameters": {"db": {"password": "{{ prefect.blocks.secret.db }}"}}}),
        (SALES, {"job_variables": {"command": "run --db-password {{ prefect.blocks.secret.db }}"}}),
        (SALES, {"job_variables": {"command": "run --token-file /run/token --password-stdin"}}),
        (SALES, {"description": "Pass --token to log in, or --api-key KEY; --password, too."}),
        (SALES, {"description": "See https://medium.com/@user/how-to and mail me@example.com."}),
    ],
)
def test_what_is_named_as_no_secret_or_only_refers_to_one_is_let_through(
    file: str, stated: dict[str, Any], repository: Callable[..., Path]
) -> None:
    assert refused(repository(file, stated)) == []


@pytest.mark.parametrize(
    "text", [f'db={{"password": "{MARKER}"}}', f"password={MARKER}", f"db=https://me:{MARKER}@host"]
)
def test_a_secret_on_the_command_line_is_refused(text: str) -> None:
    with pytest.raises(MetaFlowsError) as caught:
        parsed_parameters([text])
    assert [error.code for error in caught.value.errors] == ["MF303"]
    assert MARKER not in str(caught.value)
