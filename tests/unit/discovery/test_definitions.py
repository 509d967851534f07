"""What is a flow, and what its source tells about it."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from meta_flows.discovery import discover
from meta_flows.models import FlowMetadata
from tests.trees import build_tree


def found(tmp_path: Path, source: str) -> tuple[FlowMetadata, ...]:
    return discover(build_tree(tmp_path, {"flows/etl/workflow.py": source}))


def only(tmp_path: Path, source: str) -> FlowMetadata:
    (flow,) = found(tmp_path, source)
    return flow


FLOW = "\ndef etl(): pass"
INDENTED = "\n    @flow\n    def etl(): pass"

DECORATED = {
    "bare": "from prefect import flow\n@flow" + FLOW,
    "called": "from prefect import flow\n@flow()" + FLOW,
    "called with arguments": "from prefect import flow\n@flow(retries=2, log_prints=True)" + FLOW,
    "attribute": "import prefect\n@prefect.flow" + FLOW,
    "attribute called": "import prefect\n@prefect.flow(retries=1)" + FLOW,
    "module alias": "import prefect as p\n@p.flow" + FLOW,
    "function alias": "from prefect import flow as f\n@f" + FLOW,
    "from the defining module": "from prefect.flows import flow\n@flow" + FLOW,
    "defining module": "import prefect.flows\n@prefect.flows.flow" + FLOW,
    "defining module, through the package": "import prefect.flows\n@prefect.flow" + FLOW,
    "defining module alias": "import prefect.flows as pf\n@pf.flow" + FLOW,
    "defining module from the package": "from prefect import flows\n@flows.flow()" + FLOW,
    "star": "from prefect import *\n@flow" + FLOW,
    "import in a try": "try:\n    from prefect import flow\nexcept ImportError:\n    raise\n@flow" + FLOW,
    "import with a fallback": "try:\n    from prefect import flow\nexcept ImportError:\n    flow = None\n@flow" + FLOW,
    "import in an if": "import sys\nif sys.version_info:\n    from prefect import flow\n@flow" + FLOW,
    "import in a with": "from contextlib import *\nwith suppress(ImportError):\n    from prefect import flow\n@flow"
    + FLOW,
    "rebinding": "from prefect import flow\nmy_flow = flow\n@my_flow" + FLOW,
    "annotated rebinding": "import prefect\nmy_flow: object = prefect.flow\n@my_flow(retries=1)" + FLOW,
    "rebinding of a rebinding": "import prefect\na = prefect\nb = a.flow\n@b" + FLOW,
    "async": "from prefect import flow\n@flow\nasync def etl(): pass",
    "generator": "from prefect import flow\n@flow\ndef etl(): yield 1",
    "async generator": "from prefect import flow\n@flow\nasync def etl(): yield 1",
    "under an if": "from prefect import flow\nif True:" + INDENTED,
    "under an else": "from prefect import flow\nif False:\n    pass\nelse:" + INDENTED,
    "under a try": "from prefect import flow\ntry:\n    @flow\n    def etl(): pass\nfinally:\n    pass",
    "under an except": "from prefect import flow\ntry:\n    import no\nexcept ImportError:" + INDENTED,
    "under a with": "from prefect import flow\nwith open('x') as f:" + INDENTED,
    "under a match": "from prefect import flow\nmatch 1:\n    case _:\n        @flow\n        def etl(): pass",
    "below another decorator": "from prefect import flow\ndef register(f): return f\n@register\n@flow" + FLOW,
    "above another decorator": "import functools\nfrom prefect import flow\n@flow\n@functools.cache" + FLOW,
    "under an if not": "import typing\nfrom prefect import flow\nif not typing.TYPE_CHECKING:" + INDENTED,
}


@pytest.mark.parametrize("source", DECORATED.values(), ids=DECORATED)
def test_a_flow_is_found_however_it_is_decorated(tmp_path: Path, source: str) -> None:
    flow = only(tmp_path, source)
    assert (flow.name, flow.function_name, flow.is_valid) == ("etl", "etl", True)
    assert flow.entrypoint == "flows/etl/workflow.py:etl"
    assert flow.module_path == "flows.etl.workflow"


NO_FLOW = {
    "another library's flow": "import prefect\nfrom metaflow import flow\n@flow" + FLOW,
    "another library's module": "import prefect\nimport other as p\n@p.flow" + FLOW,
    "a local module called prefect": "from .prefect import flow\n@flow" + FLOW,
    "a submodule's flow": "from prefect.client import flow\n@flow" + FLOW,
    "replaced by another import": "from prefect import flow\nfrom other import flow\n@flow" + FLOW,
    "replaced by a function": "from prefect import flow\ndef flow(f): return f\n@flow" + FLOW,
    "replaced by a class": "from prefect import flow\nclass flow: pass\n@flow" + FLOW,
    "replaced by a value": "from prefect import flow\nflow = str\n@flow" + FLOW,
    "another attribute": "import prefect\n@prefect.task" + FLOW,
    "flow of a thing": "import prefect\n@prefect.client.flow" + FLOW,
    "a result's flow": "import prefect\n@prefect().flow" + FLOW,
    "not decorated": "from prefect import flow" + FLOW,
    "never bound": "# prefect\n@flow" + FLOW,
    "bound too late": "@flow" + FLOW + "\nfrom prefect import flow",
    "in a function": "from prefect import flow\ndef f():" + INDENTED,
    "in an async function": "from prefect import flow\nasync def f():" + INDENTED,
    "in a method": "from prefect import flow\nclass A:\n    def f(self):\n        @flow\n        def etl(): pass",
    "in the main block": "from prefect import flow\nif __name__ == '__main__':" + INDENTED,
    "in the main block, reversed": "from prefect import flow\nif '__main__' == __name__:" + INDENTED,
    "for type checkers": "import typing\nfrom prefect import flow\nif typing.TYPE_CHECKING:" + INDENTED,
    "imported in a function only": "def f():\n    from prefect import flow\n@flow" + FLOW,
    "empty": "",
    "a comment": "# prefect",
}


@pytest.mark.parametrize("source", NO_FLOW.values(), ids=NO_FLOW)
def test_what_is_no_deployable_flow_is_not_listed(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, source) == ()


METHODS = """
    from prefect import flow

    class Sales:
        @staticmethod
        @flow
        def outer(): ...

        @flow
        @staticmethod
        def inner(): ...

        class Daily:
            @flow(name="nested")
            @staticmethod
            def run(): ...

        @flow
        def plain(self): ...

        @classmethod
        @flow
        def of_class(cls): ...

        @flow
        @classmethod
        def of_class_too(cls): ...
"""


def test_static_methods_are_listed_in_either_order(tmp_path: Path) -> None:
    assert [(flow.name, flow.function_name) for flow in found(tmp_path, METHODS)] == [
        ("outer", "Sales.outer"),
        ("inner", "Sales.inner"),
        ("nested", "Sales.Daily.run"),
    ]


def test_methods_that_need_self_or_cls_are_not_listed(tmp_path: Path) -> None:
    """Prefect loads them, but every run of such a deployment fails for the missing parameter (see test_as_prefect)."""
    functions = {flow.function_name for flow in found(tmp_path, METHODS)}
    assert not functions & {"Sales.plain", "Sales.of_class", "Sales.of_class_too"}


def test_several_flows_of_one_file_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    source = """\
        from prefect import flow

        @flow(
            name="zeta",
        )
        def one(): ...

        @flow
        def alpha(): ...
    """
    assert [(flow.name, flow.line) for flow in found(tmp_path, source)] == [("zeta", 6), ("alpha", 9)]


def test_the_line_is_that_of_the_def_whatever_precedes_it(tmp_path: Path) -> None:
    source = "from prefect import flow\r\n\f\r\n# comment\r\n@flow\r\ndef etl(): pass\r\n"
    assert only(tmp_path, source).line == 5


def test_a_later_definition_replaces_an_earlier_one_of_the_same_name(tmp_path: Path) -> None:
    source = "from prefect import flow\n@flow(name='a')\ndef etl(): pass\n@flow(name='b')\ndef etl(): pass"
    flow = only(tmp_path, source)
    assert (flow.name, flow.is_valid) == ("b", True)


NAMES = {
    "function": ("@flow\ndef my_sales_flow(): pass", "my-sales-flow"),
    "leading underscore": ("@flow\ndef _private(): pass", "-private"),
    "capitals": ("@flow\ndef MyFlow(): pass", "MyFlow"),
    "given": ("@flow(name='Sales, daily')\ndef f(): pass", "Sales, daily"),
    "given with underscore": ("@flow(name='a_b')\ndef f(): pass", "a_b"),
    "joined literals": ("@flow(name='a' 'b')\ndef f(): pass", "ab"),
    "raw": (r"@flow(name=r'a\b')" + "\ndef f(): pass", r"a\b"),
    "empty": ("@flow(name='')\ndef my_f(): pass", "my-f"),
    "none": ("@flow(name=None)\ndef my_f(): pass", "my-f"),
    "other scripts": ("@flow(name='Umsätze ✓')\ndef f(): pass", "Umsätze ✓"),
    "identifier in another script": ("@flow\ndef umsätze_täglich(): pass", "umsätze-täglich"),
    "name beside options": ("@flow(name='n', **{'retries': 1})\ndef f(): pass", "n"),
}


@pytest.mark.parametrize(("source", "name"), NAMES.values(), ids=NAMES)
def test_a_name_is_the_literal_or_else_the_function_with_dashes(tmp_path: Path, source: str, name: str) -> None:
    flow = only(tmp_path, f"from prefect import flow\n{source}")
    assert (flow.name, flow.is_valid) == (name, True)


@pytest.mark.parametrize(
    ("argument", "expression"),
    [
        ("name=NAME", "NAME"),
        ("name=f'a-{NAME}'", "f'a-{NAME}'"),
        ("name='a' + 'b'", "'a' + 'b'"),
        ("name=(\n  'é' +\n  NAME)", "'é' +\n  NAME"),
        ("**OPTIONS", "**OPTIONS"),
    ],
)
def test_a_computed_name_is_invalid(tmp_path: Path, argument: str, expression: str) -> None:
    flow = only(tmp_path, f"from prefect import flow\nNAME = 'x'\n@flow({argument})\ndef my_etl(): pass")
    (error,) = flow.validation_errors
    assert (flow.is_valid, flow.name, error.code) == (False, "my-etl", "MF104")
    assert error.message.endswith(f"is computed: {expression}")
    assert (error.file_path, error.line_number) == ("flows/etl/workflow.py", 4 if "\n" in argument else 3)


def test_the_error_points_at_the_name(tmp_path: Path) -> None:
    (error,) = only(tmp_path, "from prefect import flow\n@flow(name=NAME)\ndef f(): pass").validation_errors
    assert str(error.place) == "flows/etl/workflow.py:2:12"


@pytest.mark.parametrize(
    ("literal", "detail"),
    [
        ("'a/b'", "it contains /"),
        ("'50%'", "it contains %"),
        ("'a&b'", "it contains &"),
        ("'<x>'", "it contains < >"),
        ("7", "it is not a string"),
        ("b'x'", "it is not a string"),
        (r"'\ud800'", "it is not Unicode"),
    ],
)
def test_a_name_that_prefect_refuses_is_invalid(tmp_path: Path, literal: str, detail: str) -> None:
    flow = only(tmp_path, f"from prefect import flow\n@flow(name={literal})\ndef f(): pass")
    (error,) = flow.validation_errors
    assert (flow.is_valid, error.code, error.line_number) == (False, "MF105", 2)
    assert error.message.endswith(detail)


DESCRIPTIONS = {
    "none": ("@flow\ndef f(): pass", None),
    "docstring": ("@flow\ndef f():\n    '''First.\n\n        More.\n    Last.\n    '''", "First.\n\n    More.\nLast."),
    "given": ("@flow(description='  as it is ')\ndef f():\n    'Doc.'", "  as it is "),
    "given empty": ("@flow(description='')\ndef f():\n    'Doc.'", "Doc."),
    "given none": ("@flow(description=None)\ndef f():\n    'Doc.'", "Doc."),
    "blank docstring": ("@flow\ndef f():\n    '  '", ""),
    "computed docstring": ("@flow\ndef f():\n    f'Doc.'", None),
    "bytes": ("@flow\ndef f():\n    b'Doc.'", None),
}


@pytest.mark.parametrize(("source", "description"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_is_the_literal_or_else_the_docstring(
    tmp_path: Path, source: str, description: str | None
) -> None:
    assert only(tmp_path, f"from prefect import flow\n{source}").description == description


def test_a_computed_description_gives_way_to_the_docstring(tmp_path: Path) -> None:
    flow = only(tmp_path, "from prefect import flow\n@flow(description=TEXT)\ndef f():\n    'Doc.'")
    assert (flow.description, flow.is_valid) == ("Doc.", True)


def test_parameters_are_as_written(tmp_path: Path) -> None:
    source = """
        from prefect import flow

        @flow
        def etl(a, b: int, /, c: "list[ str ]" = None, d = 1_000, *rest: str,
                ümlaut: dict[str, int] = {'é': 0x10}, key, last: str = "x"  "y", **more: object) -> None: ...
    """
    assert [(p.name, p.annotation, p.default, p.variadic, p.required) for p in only(tmp_path, source).parameters] == [
        ("a", None, None, False, True),
        ("b", "int", None, False, True),
        ("c", '"list[ str ]"', "None", False, False),
        ("d", None, "1_000", False, False),
        ("rest", "str", None, True, False),
        ("ümlaut", "dict[str, int]", "{'é': 0x10}", False, False),
        ("key", None, None, False, True),
        ("last", "str", '"x"  "y"', False, False),
        ("more", "object", None, True, False),
    ]


def test_a_default_over_several_lines_keeps_its_text(tmp_path: Path) -> None:
    flow = only(tmp_path, "from prefect import flow\n@flow\ndef f(x=[\n    'ä',\n    2,\n]): pass")
    assert flow.parameters[0].default == "[\n    'ä',\n    2,\n]"


def test_metadata_holds_the_literal_arguments_as_json(tmp_path: Path) -> None:
    source = dedent(r"""
        from prefect import flow
        @flow(
            name="n", version="1.2", retries=-3, retry_delay_seconds=0.5, log_prints=True, persist_result=None,
            tags=("a", "b"), nested={"x": [1, {2: "y"}]}, on_failure=[hook], task_runner=Runner(), text=f"{x}",
            blob=b"x", unordered={1, 2}, endless=1e999, imaginary=1j, lone="\ud800", dots=..., **OTHERS,
        )
        def f(): pass
    """)
    metadata = only(tmp_path, source).metadata
    assert metadata == {
        "name": "n",
        "version": "1.2",
        "retries": -3,
        "retry_delay_seconds": 0.5,
        "log_prints": True,
        "persist_result": None,
        "tags": ["a", "b"],
        "nested": {"x": [1, {"2": "y"}]},
    }
    assert json.loads(json.dumps(metadata)) == metadata


def test_functions_that_call_each_other_often_are_read_once(tmp_path: Path) -> None:
    """Each calls the next one twice, the last one the flow: 2 ** 60 ways lead there."""
    helpers = [f"def f{number}():\n    f{number + 1}()\n    f{number + 1}()\n" for number in range(60)]
    source = "\n".join(["from prefect import flow\n@flow\ndef f60(): ...", *helpers, "f0()\n"])
    assert [error.code for error in only(tmp_path, source).validation_errors] == ["MF119"]
