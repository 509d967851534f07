"""Choosing among flows by glob."""

from __future__ import annotations

import pytest

from meta_flows.discovery import select
from meta_flows.models import FlowMetadata


def flow(name: str, path: str, function: str) -> FlowMetadata:
    return FlowMetadata(name=name, path=path, module_path="", function_name=function)


FLOWS = (
    flow("Sales", "flows/rpa1/workflow.py", "sales_flow"),
    flow("users", "flows/rpa2/workflow.py", "Users.check"),
    flow("orders", "flows/team/rpa3/workflow.py", "order_flow"),
    flow("flows/bad.py", "flows/bad.py", ""),
)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["Sales", "users", "orders", "flows/bad.py"]),
        (["Sales"], ["Sales"]),
        (["sales"], []),
        (["*s"], ["Sales", "users", "orders"]),
        (["f*"], []),
        (["*"], ["Sales", "users", "orders", "flows/bad.py"]),
        (["rpa1/"], ["Sales"]),
        (["team"], ["orders"]),
        (["sales_flow"], ["Sales"]),
        (["Users.*"], ["users"]),
        (["rpa1"], ["Sales"]),
        (["rpa?"], ["Sales", "users", "orders"]),
        (["rpa[12]"], ["Sales", "users"]),
        (["flows/rpa2/workflow.py"], ["users"]),
        (["./flows/rpa2/workflow.py"], ["users"]),
        (["flows/rpa2/"], ["users"]),
        (["flows/team"], ["orders"]),
        (["flows/*"], ["Sales", "users", "orders", "flows/bad.py"]),
        (["orders", "rpa1"], ["Sales", "orders"]),
        (["*/bad.py"], ["flows/bad.py"]),
        (["nothing"], []),
    ],
)
def test_a_pattern_is_a_glob_over_names_functions_paths_and_folders(patterns: list[str], names: list[str]) -> None:
    assert [flow.name for flow in select(FLOWS, patterns)] == names
