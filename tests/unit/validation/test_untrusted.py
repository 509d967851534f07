"""A repository that is anybody's: checking it reads nothing outside it, waits for nothing and fills no memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from meta_flows.configuration import Selection
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.models import ValidationResult
from meta_flows.validation import pipeline
from tests.trees import build_tree

WHOLE = {
    "flows/sales/workflow.py": """
        import requests
        from prefect import flow

        from flows.sales.shared import RATE


        @flow
        def sales(rate: float = RATE) -> None: ...
    """,
    "flows/sales/shared.py": "RATE = 2.0\n",
    "flows/sales/.env": "REGION=north\n",
    "flows/sales/requirements.txt": "-r more.txt\n",
    "flows/sales/more.txt": "requests\n",
    "flows/sales/deployment.yaml": "kinds: [python, docker]\n",
    "flows/sales/Dockerfile": """
        FROM python:3.12-slim
        WORKDIR /app
        COPY . .
        RUN pip install prefect -r flows/sales/requirements.txt
        USER 1000
    """,
    ".dockerignore": ".git\n",
    ".prefectignore": "build\n",
    "environments/defaults.yaml": "project: shop\n",
    "environments/development.yaml": "work_pools:\n  docker: {name: dev-docker, base_job_template: pool.json}\n",
    "environments/pool.json": "{}\n",
    "environments/templates/docker.yaml": "work_pool: dev-docker\njob_variables: {image: '{{ image.reference }}'}\n",
}
MARKER = "not for this repository"


def to_secret(file: Path) -> None:
    secret = file.parents[len(file.parents) - 3] / "secret-of-the-machine"
    secret.write_text(f"{MARKER}: yes\n")
    file.symlink_to(secret)


def sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(200_000_000)


FAULTS: dict[str, Callable[[Path], None]] = {
    "link to a file outside": to_secret,
    "link to an endless device": lambda file: file.symlink_to("/dev/zero"),
    "pipe": os.mkfifo,
    "far too large": sparse,
}


def findings(check: Callable[[], tuple[ValidationResult, str]]) -> str:
    try:
        found, _ = check()
    except MetaFlowsError as error:
        return "\n".join(map(str, error.errors))
    return "\n".join(map(str, (*found.errors, *found.warnings)))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", WHOLE)
def test_a_file_that_is_none_of_the_repository_is_named_and_not_read(path: str, fault: str, tmp_path: Path) -> None:
    root = build_tree(tmp_path / "repository", WHOLE)
    (root / path).unlink()
    FAULTS[fault](root / path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alone = findings(lambda: pipeline.validate_repository(root, Selection(), import_flows=False))
    deployed = findings(lambda: pipeline.validate_offline(root, "development", Selection(), import_flows=False))
    assert MARKER not in alone + deployed
    assert path in alone + deployed, (alone, deployed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_the_whole_repository_is_fine(tmp_path: Path) -> None:
    root = build_tree(tmp_path, WHOLE)
    assert findings(lambda: pipeline.validate_repository(root, Selection(), import_flows=False)) == ""
    deployed = findings(lambda: pipeline.validate_offline(root, "development", Selection(), import_flows=False))
    assert "MF2" not in deployed
    assert "MF1" not in deployed


def test_a_link_within_the_repository_is_followed(tmp_path: Path) -> None:
    root = build_tree(tmp_path, {**WHOLE, "flows/sales/.env": Path("../../region.env"), "region.env": "REGION=north\n"})
    assert "MF216" not in findings(
        lambda: pipeline.validate_offline(root, "development", Selection(), import_flows=False)
    )


def test_a_folder_of_the_name_of_a_file_is_something_else(tmp_path: Path) -> None:
    root = build_tree(tmp_path, {**{path: text for path, text in WHOLE.items() if path != "flows/sales/.env"}})
    (root / "flows/sales/.env").mkdir()  # a virtual environment
    assert "MF216" not in findings(
        lambda: pipeline.validate_offline(root, "development", Selection(), import_flows=False)
    )
