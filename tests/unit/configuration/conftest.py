"""Tiny repositories, written as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.models import FlowMetadata, FlowParameter

Write = Callable[[dict[str, str]], Path]
Wrong = list[tuple[str, str | None, int | None]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files, by their path, below a root, which is given back."""

    def write_files(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write_files


def a_flow(
    *parameters: str, name: str = "Sales", path: str = "flows/sales/workflow.py", file: bool = True
) -> FlowMetadata:
    """A flow as discovery describes it, with a `deployment.yaml` beside it unless told otherwise."""
    folder = path.rpartition("/")[0]
    return FlowMetadata(
        name=name,
        path=path,
        module_path=path.removesuffix(".py").replace("/", "."),
        function_name=name.lower().replace(" ", "_"),
        line=7,
        description="What the docstring says.",
        parameters=tuple(FlowParameter(name=parameter, default="1") for parameter in parameters),
        deployment_file=f"{folder}/deployment.yaml" if file else None,
    )


def errors_of(refused: pytest.ExceptionInfo[MetaFlowsError]) -> Wrong:
    """Code, file and line of everything that was refused."""
    return [(error.code, error.file_path, error.line_number) for error in refused.value.errors]
