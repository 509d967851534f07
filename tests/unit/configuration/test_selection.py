"""A selection means what it names; a name that means nothing is refused with the nearest one that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meta_flows.configuration import Selection, configure, load_environment
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.discovery import discover
from tests.trees import build_tree

FLOW = "from prefect import flow\n@flow(name='{name}')\ndef {function}(window: int = 1): ...\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return build_tree(
        tmp_path,
        {
            f"flows/{name}/flow.py": FLOW.format(name=name.title(), function=f"run_{name}")
            for name in ("orders", "returns")
        },
    )


def selected(root: Path, parameters: dict[str, Any] | None = None, **selection: Any) -> list[str]:
    environment = load_environment(root, None)
    found = configure(root, discover(root), environment, Selection(**selection), parameters=parameters or {})
    return [item.configuration.slug for item in found.flows]


@pytest.mark.parametrize("glob", ["orders", "Orders", "run_orders", "ord*", "flows/orders", "flows/orders/flow.py"])
def test_a_flow_is_selected_by_any_of_its_names(shop: Path, glob: str) -> None:
    assert selected(shop, flows=(glob,)) == ["orders"]


@pytest.mark.parametrize(
    ("selection", "parameters", "message"),
    [
        ({"flows": ("ordres",)}, {}, "'ordres', did you mean 'orders'?"),
        ({"flows": ("orders", "retruns")}, {}, "'retruns', did you mean 'returns'?"),
        ({"flows": ("orders", "x*")}, {}, "'x*'"),
        ({"kinds": ("pyton",)}, {}, "kind 'pyton', did you mean 'python'?"),
        ({}, {"windw": 1}, "no selected flow has a parameter 'windw', did you mean 'window'?"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_the_nearest(
    shop: Path, selection: dict[str, Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(MetaFlowsError) as refused:
        selected(shop, parameters, **selection)
    assert message in str(refused.value)
