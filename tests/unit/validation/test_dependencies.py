"""What is said of imports depends on what the repository declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_flows.configuration import Selection
from meta_flows.validation.pipeline import validate_repository
from tests.trees import build_tree

FLOW = "import no_such_library\nfrom prefect import flow\n\n@flow\ndef main(): ...\n"


@pytest.mark.parametrize(
    ("files", "codes"),
    [
        pytest.param({}, [], id="it declares nothing"),
        pytest.param({"requirements.txt": "prefect\n"}, ["MF121"], id="it declares something else"),
        pytest.param({"requirements.txt": "prefect\n", "setup.py": ""}, [], id="something declares more"),
        pytest.param({"requirements.txt": "no-such-library\n"}, [], id="it declares the library"),
    ],
)
def test_an_undeclared_import_is_named_only_where_the_repository_declares_its_requirements(
    tmp_path: Path, files: dict[str, str], codes: list[str]
) -> None:
    build_tree(tmp_path, {"flows/a/workflow.py": FLOW, **files})
    found, _ = validate_repository(tmp_path, Selection(), import_flows=False)
    assert [error.code for error in (*found.errors, *found.warnings)] == codes
