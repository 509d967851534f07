"""What discovery reads from source is what Prefect has after it loads the flow; these fail when Prefect changes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import InvalidNameError, MissingFlowError
from prefect.flows import load_flow_from_entrypoint
from prefect.types.names import BANNED_CHARACTERS

from meta_flows.discovery import discover
from meta_flows.discovery.definitions import BANNED_IN_NAMES
from tests.trees import build_tree
from tests.unit.discovery.test_definitions import DECORATED, DESCRIPTIONS, METHODS, NAMES
from tests.unit.discovery.test_imports import ENTRY, FLOW, SHADOWS, SHAPES, tree


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The repository as a worker has it: the current folder. What Prefect does to `sys` is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(sys.modules)
    yield tmp_path
    for name in [*sys.modules]:
        if name not in before:
            del sys.modules[name]
    sys.modules.update(before)


def load(entrypoint: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)


def agrees(root: Path) -> int:
    """Compare every flow of a repository with what Prefect loads, and count them."""
    found = discover(root)
    for flow in found:
        loaded = load(flow.entrypoint)
        assert flow.is_valid
        assert flow.name == loaded.name
        assert flow.description == loaded.description
        assert flow.line in range(*_lines(loaded))
        assert {parameter.name for parameter in flow.parameters} == set(inspect.signature(loaded.fn).parameters)
        assert [parameter.name for parameter in flow.parameters if parameter.required] == loaded.parameters.required
        for option in ("retries", "log_prints", "timeout_seconds"):
            assert flow.metadata.get(option, getattr(loaded, option)) == getattr(loaded, option)
    return len(found)


def _lines(flow: Flow[..., Any]) -> tuple[int, int]:
    lines, first = inspect.getsourcelines(flow.fn)
    return first, first + len(lines)


# Loaded by Prefect, these would fail for reasons of their own.
LOADABLE = {key: source for key, source in DECORATED.items() if key not in ("under a with",)}


@pytest.mark.parametrize("source", LOADABLE.values(), ids=LOADABLE)
def test_prefect_loads_what_is_found(root: Path, source: str) -> None:
    assert agrees(build_tree(root, {"flows/etl/workflow.py": source})) == 1


@pytest.mark.parametrize("source", [source for source, _ in NAMES.values()], ids=NAMES)
def test_names_agree(root: Path, source: str) -> None:
    assert agrees(build_tree(root, {"flows/etl/workflow.py": f"from prefect import flow\n{source}"})) == 1


@pytest.mark.parametrize("source", [source for source, _ in DESCRIPTIONS.values()], ids=DESCRIPTIONS)
def test_descriptions_agree(root: Path, source: str) -> None:
    assert agrees(build_tree(root, {"flows/etl/workflow.py": f"from prefect import flow\n{source}"})) == 1


def test_parameters_and_options_agree(root: Path) -> None:
    source = """
        from prefect import flow

        @flow(name="Sales, daily", retries=2, log_prints=True, timeout_seconds=60, description="What it does.")
        def etl(a, b: int, c: str | None = None, *, key: float, last: "list[int]" = ()): ...
    """
    assert agrees(build_tree(root, {"flows/etl/workflow.py": source})) == 1


def test_static_methods_agree(root: Path) -> None:
    assert agrees(build_tree(root, {"flows/etl/workflow.py": METHODS})) == 3


@pytest.mark.parametrize("method", ["plain", "of_class", "of_class_too"])
def test_prefect_cannot_run_a_method_that_needs_self_or_cls(root: Path, method: str) -> None:
    """Its schema shows no such parameter, so no run is given one, and each fails before it starts.

    Since Python 3.13 a class method does not even make a flow of what it wraps.
    """
    build_tree(root, {"flows/etl/workflow.py": METHODS})
    if sys.version_info >= (3, 13) and method == "of_class":
        with pytest.raises(MissingFlowError):
            load(f"flows/etl/workflow.py:Sales.{method}")
        return
    loaded = load(f"flows/etl/workflow.py:Sales.{method}")
    assert loaded.parameters.required == []
    with pytest.raises(Exception, match="Field required"):
        loaded.validate_parameters({})


def test_prefect_refuses_the_same_characters() -> None:
    assert frozenset(BANNED_CHARACTERS) == BANNED_IN_NAMES
    for character in BANNED_IN_NAMES:
        with pytest.raises(InvalidNameError):
            Flow(lambda: None, name=f"a{character}b")


NOT_LOADED = {
    "in a function",  # imported when the function runs
    "in a method",
    "for type checkers",
    "by a computed name",
    "through a broken module",
    "nothing of that name",
    "not below a module",
    "above the root",
    "in a try",
    "in other blocks",
    "not another flow's folder",
    "in src",  # on `sys.path` only if somebody puts it there
    "root before src",
    "a local module hides an installed one",  # unless Prefect has loaded it before, as here
    "a local package hides an installed one",
    "a local module hides a standard one",
    "a folder of other things is no module",
}
CASES: list[tuple[str, tuple[object, ...]]] = [*SHAPES.items(), *SHADOWS.items()]
SAME_AS_LOADED = {key: case[:2] for key, case in CASES if key not in NOT_LOADED}


@pytest.mark.parametrize(("code", "files"), SAME_AS_LOADED.values(), ids=SAME_AS_LOADED)
def test_the_import_closure_is_what_python_loads(root: Path, code: str, files: str | Mapping[str, str | Path]) -> None:
    guarded = f"try:\n{indent(code, '    ')}\nexcept ImportError:\n    pass"
    build_tree(root, {**tree(files), ENTRY: FLOW + guarded})
    (flow,) = (flow for flow in discover(root) if flow.path == ENTRY)
    before = set(sys.modules)
    load(flow.entrypoint)
    new = (getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before)
    loaded = {Path(file).relative_to(root).as_posix() for file in new if file and Path(file).is_relative_to(root)}
    assert set(flow.local_modules) == loaded
