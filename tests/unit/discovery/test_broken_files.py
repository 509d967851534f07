"""A file that cannot be parsed is one invalid entry that says what and where, and the others go on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.discovery import discover
from meta_flows.models import FlowMetadata
from tests.trees import build_tree

GOOD = "from prefect import flow\n@flow\ndef good(): pass\n"
BAD = "flows/bad/workflow.py"


def beside_a_good_one(tmp_path: Path, content: str | bytes | Path) -> FlowMetadata:
    """The entry of a broken file; asserts that there is exactly one, and that a good flow is found as well."""
    bad, good = discover(build_tree(tmp_path, {BAD: content, "flows/good/workflow.py": GOOD}))
    assert (good.name, good.is_valid) == ("good", True)
    assert (bad.name, bad.path, bad.function_name, bad.is_valid) == (BAD, BAD, "", False)
    return bad


BROKEN = {
    "syntax": (GOOD + "def f(:\n", "MF101", 4, 7),
    "unclosed": (GOOD + "x = (1,\n", "MF101", 4, 5),
    "indentation": (GOOD + "def f():\nx = 1\n", "MF101", 5, 1),
    "tabs and spaces": (GOOD + "if x:\n\ty\n        z\n", "MF101", 6, None),
    "not UTF-8": (GOOD.encode() + b"# a\n#   caf\xe9\n", "MF102", 5, 8),
    "not UTF-8 on the first line": (b"# caf\xe9\n" + GOOD.encode(), "MF102", 1, 6),
    "unknown encoding": (b"# coding: klingon\n" + GOOD.encode(), "MF102", None, None),
    "encoding that is none of text": (b"# coding: hex\n" + GOOD.encode(), "MF102", None, None),
    "encoding against the byte order mark": (b"\xef\xbb\xbf# coding: latin-1\n", "MF102", None, None),
    "UTF-16": (GOOD.encode("utf-16"), "MF102", 1, 1),
    "null bytes": (GOOD + "x = '\0'\n", "MF102", None, None),
    "only a null byte": (b"\0", "MF102", None, None),
    "lone surrogates": (b"# coding: utf-7\nx = '+2AA-'\n", "MF102", None, None),
    "brackets without end": ("(" * 100_000, "MF101", None, None),
    "nested operators": ("x = " + "-" * 100_000 + "1", "MF101", None, None),
    "endless decorator": ("import prefect\n@prefect" + ".y" * 100_000 + "\ndef f(): pass", "MF101", None, None),
    "nested blocks": ("".join(" " * i + "if x:\n" for i in range(200)), "MF101", None, None),
    "broken link": (Path("nowhere.py"), "MF102", None, None),
    "link to itself": (Path("workflow.py"), "MF102", None, None),
}


@pytest.mark.parametrize(("content", "code", "line", "column"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_invalid_entry(
    tmp_path: Path, content: str | bytes | Path, code: str, line: int | None, column: int | None
) -> None:
    (error,) = beside_a_good_one(tmp_path, content).validation_errors
    assert (error.code, error.file_path) == (code, BAD)
    if line:
        assert error.line_number == line
    if column:
        assert error.column_number == column


@pytest.mark.parametrize("bomb", ["x = " + "+".join(["1"] * 100_000), "x" + ".y" * 100_000, "x" + "()" * 100_000])
def test_what_only_some_versions_of_python_can_parse_does_no_harm(tmp_path: Path, bomb: str) -> None:
    *bad, good = discover(build_tree(tmp_path, {BAD: bomb, "flows/good/workflow.py": GOOD}))
    assert (good.name, good.is_valid) == ("good", True)
    assert [error.code for flow in bad for error in flow.validation_errors] in ([], ["MF101"])


READABLE = {
    "empty": b"",
    "only a byte order mark": b"\xef\xbb\xbf",
    "no newline at the end": b"x = 1",
    "form feeds": b"\x0c\nx = 1\x0c\n",
    "old Mac newlines": b"x = 1\ry = 2\r",
    "many else-ifs": b"if x: pass\n" + b"elif y: pass\n" * 300,
    "invalid escapes": rb"x = '\d'" + b"\n",
    "comparison with a literal": b"assert (1, 'x')\nif 1 is 1: pass\n",
}


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE)
def test_an_odd_file_that_python_accepts_is_no_error(tmp_path: Path, content: bytes) -> None:
    assert discover(build_tree(tmp_path, {BAD: content})) == ()


@pytest.mark.parametrize(
    ("first_lines", "encoding"),
    [
        ("# coding: latin-1\n", "latin-1"),
        ("#!/usr/bin/env python\n# -*- coding: cp1252 -*-\r\n", "cp1252"),
        ("\ufeff", "utf-8"),
        ("\ufeff# coding: utf-8\n", "utf-8"),
    ],
)
def test_the_declared_encoding_is_honoured(tmp_path: Path, first_lines: str, encoding: str) -> None:
    source = f"{first_lines}from prefect import flow\n@flow(name='café')\ndef f(x='é'): 'Ünder'\n"
    (flow,) = discover(build_tree(tmp_path, {"flows/etl/workflow.py": source.encode(encoding)}))
    assert (flow.name, flow.description, flow.parameters[0].default) == ("café", "Ünder", "'é'")


def test_columns_on_the_first_line_are_right_after_a_byte_order_mark(tmp_path: Path) -> None:
    source = "\ufefffrom prefect import flow; x = lambda é: 1\n@flow\ndef f(é='ö', x: int=1): pass"
    (flow,) = discover(build_tree(tmp_path, {"flows/etl/workflow.py": source}))
    assert [parameter.default for parameter in flow.parameters] == ["'ö'", "1"]


def test_python_warnings_about_flows_are_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build_tree(tmp_path, {BAD: r"x = '\d'; assert (x, 'y'); 1 is 1; 0x1for x in y" + "\n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert discover(tmp_path) == ()
    assert capfd.readouterr() == ("", "")


def test_a_folder_named_like_a_python_file_is_a_folder(tmp_path: Path) -> None:
    (flow,) = discover(build_tree(tmp_path, {"flows/etl.py/workflow.py": GOOD}))
    assert flow.path == "flows/etl.py/workflow.py"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything, where the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, as pytest's own are not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("path", ["flows/bad/workflow.py", "flows/bad/"])
def test_what_may_not_be_read_is_an_invalid_entry(open_folder: Path, path: str) -> None:
    build_tree(open_folder, {BAD: GOOD, "flows/good/workflow.py": GOOD})
    (open_folder / path).chmod(0)
    try:
        with as_nobody():
            bad, good = discover(open_folder)
    finally:
        (open_folder / path).chmod(0o700)
    assert (bad.path, bad.validation_errors[0].code, good.is_valid) == (path, "MF102", True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_an_invalid_entry_and_not_waited_for(tmp_path: Path) -> None:
    build_tree(tmp_path, {"flows/good/workflow.py": GOOD})
    os.mkfifo(tmp_path / "flows/good/pipe.py")
    pipe, good = discover(tmp_path)
    assert (pipe.path, pipe.validation_errors[0].code) == ("flows/good/pipe.py", "MF102")
    assert good.is_valid


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_no_unicode_is_an_invalid_entry(tmp_path: Path) -> None:
    build_tree(tmp_path, {"flows/good/workflow.py": GOOD})
    (tmp_path / "flows/good" / os.fsdecode(b"caf\xe9.py")).write_text(GOOD)
    bad, good = discover(tmp_path)
    assert (bad.path, bad.validation_errors[0].code) == ("flows/good/caf?.py", "MF102")
    assert good.is_valid
    assert bad.model_dump_json()


@pytest.mark.parametrize("folder", ["flows", "flows/nowhere", "a/file", "../nowhere"])
def test_a_missing_folder_is_refused(tmp_path: Path, folder: str) -> None:
    build_tree(tmp_path, {"a/file": ""})
    with pytest.raises(MetaFlowsError) as refusal:
        discover(tmp_path, folder)
    (error,) = refusal.value.errors
    assert error.code == "MF110"
    assert folder in error.message


def test_an_empty_folder_has_no_flows(tmp_path: Path) -> None:
    assert discover(build_tree(tmp_path, {"flows/": ""})) == ()


CLASHING = {
    "flows/a/workflow.py": "from prefect import flow\n@flow(name='same')\ndef one(): pass",
    "flows/b/workflow.py": "from prefect import flow\n\n@flow(name='same')\ndef two(): pass\n@flow\ndef same(): pass",
    "flows/c/workflow.py": "from prefect import flow\n@flow(name='other')\ndef same(): pass",
    "flows/d/workflow.py": "from prefect import flow\nn = ''\n@flow(name=n)\ndef same(): pass",
    "flows/e/workflow.py": "from prefect import flow\n@flow(name='Same')\ndef e(): pass",
}


def test_every_claimant_of_a_name_is_invalid_and_names_the_others(tmp_path: Path) -> None:
    flows = {flow.entrypoint: flow for flow in discover(build_tree(tmp_path, CLASHING))}
    places = {
        "flows/a/workflow.py:one": "flows/a/workflow.py:3",
        "flows/b/workflow.py:two": "flows/b/workflow.py:4",
        "flows/b/workflow.py:same": "flows/b/workflow.py:6",
    }
    for entrypoint, place in places.items():
        (error,) = flows[entrypoint].validation_errors
        others = ", ".join(other for other in places.values() if other != place)
        assert (error.code, flows[entrypoint].is_valid) == ("MF103", False)
        assert error.message.endswith(f"'same' is also used at {others}")
        assert str(error.place) == place
    assert flows["flows/c/workflow.py:same"].is_valid
    assert flows["flows/e/workflow.py:e"].is_valid
    assert [error.code for error in flows["flows/d/workflow.py:same"].validation_errors] == ["MF104"]


def test_a_broken_import_makes_the_flow_invalid(tmp_path: Path) -> None:
    build_tree(
        tmp_path,
        {
            "flows/a/workflow.py": "from prefect import flow\nfrom shared import via\n@flow\ndef a(): pass",
            "flows/b/workflow.py": "from prefect import flow\nimport flows.c.workflow\n@flow\ndef b(): pass",
            "flows/c/workflow.py": "def (:",
            "flows/d/workflow.py": GOOD,
            "shared/via.py": "import shared.latin, shared.broken",
            "shared/broken.py": "x = 1\ny = = 2\n",
            "shared/latin.py": b"# caf\xe9",
        },
    )
    a, b, c, d = discover(tmp_path)
    assert [error.code for error in a.validation_errors] == ["MF108", "MF108"]
    assert "imports shared/broken.py:2:5" in a.validation_errors[0].message
    assert "imports shared/latin.py:1:6" in a.validation_errors[1].message
    assert str(a.validation_errors[0].place) == "flows/a/workflow.py:4"
    assert [error.code for error in b.validation_errors] == ["MF108"]
    assert [error.code for error in c.validation_errors] == ["MF101"]
    assert (a.is_valid, b.is_valid, c.is_valid, d.is_valid) == (False, False, False, True)
