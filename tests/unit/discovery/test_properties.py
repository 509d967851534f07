"""Whatever a repository holds, discovery answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meta_flows.discovery import discover, select
from tests.budgets import examples
from tests.trees import build_tree

# Pieces that make sense together often enough to get past the parser.
PIECES = st.sampled_from(
    """
    from prefect import flow|import prefect|import prefect.flows as p|from . import x|from ... import *|import a.b
    from prefect import *|@flow|@flow()|@flow(name=|@prefect.flow(|**x)|)|name='a/b'|, retries=2|[[(|{1: 2}|'\\ud800'
    def f(a, *b: int, c=1, **d): pass|async def f(x='é'): yield|class A:|try:|except* E:|else:|finally: pass
    if __name__ == '__main__':|match x:|case [*_]:|lambda: 0|x: y = z|flow = prefect.flow|"doc"|f'{x}'|# coding: utf-16
    import importlib; importlib.import_module('.')|__import__('a..b')|staticmethod|\\|\0|\f|\t|;|=|-|.|,|\ufeff
    type X = int|def f(x): 'doc'
    """.strip()
    .replace("\n    ", "|")
    .split("|")
)
INDENTED = st.tuples(st.sampled_from(["", "    ", "        ", "\t"]), PIECES, st.sampled_from(["\n", " ", "", "\r"]))
SOURCE = st.lists(INDENTED.map("".join), max_size=20).map("".join)
ENCODED = st.builds(
    lambda cookie, text, encoding: f"{cookie}{text}".encode(encoding, "replace"),
    st.sampled_from(
        ["", "# coding: latin-1\n", "# coding: utf-7\n", "# coding: rot13\n", "\n# vim: fileencoding=big5\n"]
    ),
    SOURCE,
    st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-7"]),
)


@examples(300)
@given(st.one_of(st.binary(max_size=200), SOURCE.map(str.encode), ENCODED))
@example(b"import prefect\n@prefect.flow(description='\\ud800')\ndef f(x='\\ud800'): '''\\ud800'''\n")
@example(b"import prefect\n@prefect.flow(retries=0x" + b"f" * 5000 + b")\ndef f(): pass\n")
@example(b"import prefect\n@prefect.flow(x=" + b"-" * 500 + b"1)\ndef f(): pass\n")
def test_no_content_of_a_file_makes_it_fail(tmp_path: Path, content: bytes) -> None:
    build_tree(
        tmp_path, {"flows/etl/workflow.py": content, "flows/good.py": "import prefect\n@prefect.flow\ndef ok(): pass"}
    )
    flows = discover(tmp_path)
    assert "ok" in {flow.function_name for flow in flows}
    for flow in flows:
        assert flow.is_valid == (not flow.validation_errors)
        assert flow.model_validate_json(flow.model_dump_json()) == flow


@examples(50)
@given(st.binary(max_size=50))
def test_no_other_file_makes_it_fail(tmp_path: Path, content: bytes) -> None:
    names = ["flows/etl/.env", "flows/etl/deployment.yaml", "flows/etl/Dockerfile", "flows/etl/x.bin", "shared.py"]
    build_tree(tmp_path, dict.fromkeys(names, content))
    build_tree(tmp_path, {"flows/etl/workflow.py": "import prefect, shared\n@prefect.flow\ndef ok(): pass"})
    assert [flow.name for flow in discover(tmp_path)] == ["ok"]


@pytest.mark.parametrize("pattern", ["[", "[]", "[!", "***", "\\", "", "/", "\0", "\ud800", "(", "a" * 10_000])
def test_no_pattern_makes_a_selection_fail(tmp_path: Path, pattern: str) -> None:
    flows = discover(build_tree(tmp_path, {"flows/etl.py": "import prefect\n@prefect.flow\ndef ok(): pass"}))
    assert len(select(flows, [pattern])) <= 1
