"""Whatever stands in a repository's files: validation ends, and says what is wrong, where, and how to mend it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import textwrap
import threading
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from meta_flows.configuration import Selection
from meta_flows.diagnostics import MetaFlowsError, catalogue
from meta_flows.images.dockerfiles import INSTRUCTIONS
from meta_flows.models import Diagnostic, printable
from meta_flows.validation.pipeline import validate_offline, validate_repository
from tests.budgets import examples
from tests.trees import build_tree

REPOSITORY = Path(__file__).resolve().parents[3]
LONGEST_SECONDS = 60.0
"""No input may take longer; what is usual is a fiftieth of a second."""


class Said(NamedTuple):
    """What validation says.

    Attributes:
        deployments: How many deployments are left to be deployed.
    """

    found: tuple[Diagnostic, ...]
    deployments: int = 0


class _TooLong(BaseException):
    """Nothing that the code under test could catch."""


@contextmanager
def in_time(seconds: float = LONGEST_SECONDS) -> Iterator[None]:
    """Fail rather than wait for what does not end."""

    def stop(number: int, frame: types.FrameType | None) -> None:
        raise _TooLong

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("signals reach the main thread only")
    before, late = signal.signal(signal.SIGALRM, stop), False
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # again and again: what is raised in a callback is lost
    try:
        yield
    except _TooLong:
        late = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not late, f"it takes longer than {seconds} s"  # here, and so without a traceback of anywhere


def deployments_of(root: Path) -> Said:
    """What is said of the deployments to development."""
    with in_time():
        try:
            result, checked = validate_offline(root, "development", Selection(), import_flows=False)
        except MetaFlowsError as refused:
            return Said(refused.errors)
    return Said((*result.errors, *result.warnings), int(checked.split()[0]))


def flows_of(root: Path) -> Said:
    """What is said of the flows alone."""
    with in_time():
        try:
            result, _ = validate_repository(root, Selection(), import_flows=False)
        except MetaFlowsError as refused:
            return Said(refused.errors)
    return Said((*result.errors, *result.warnings))


def assert_well_said(root: Path, found: Iterable[Diagnostic]) -> None:
    """Each has a code of the catalogue, a remedy, and a place that an editor can open."""
    for error in found:
        assert error.code in catalogue()
        assert error.message.strip()
        assert printable(error.message) == error.message, "nothing in it moves a cursor or turns text around"
        assert error.remedy.strip()
        assert error.model_dump_json(), "it can be written, so it has no lone surrogate"
        if error.code == "MF109":  # that nothing is there is nowhere
            continue
        assert error.file_path, error
        path = PurePosixPath(error.file_path)
        assert not path.is_absolute() and ".." not in path.parts, error
        assert os.path.lexists(root / path), error
        if error.line_number is not None:
            text = (root / path).read_bytes().decode("utf-8", "replace")
            last = max(text.count("\n"), len(text.splitlines())) + 1
            assert 1 <= error.line_number <= last, error
        assert error.column_number is None or error.column_number >= 1, error


def assert_holds_of(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a repository that is right but for some files, and see that all that is said of it is said well."""
    build_tree(root, {**VALID, **files})
    assert_well_said(root, deployments_of(root).found)
    assert_well_said(root, flows_of(root).found)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


SOURCE = """\
import pandsa
import yaml
from prefect import flow


@flow
def etl(count: int = 1) -> None:
    pass
"""
DOCKERFILE = "FROM prefecthq/prefect:3\nWORKDIR /app\nCOPY flows/etl flows/etl\nUSER 1\n"
DEPLOYMENT = "slug: etl\nkinds: [python, docker]\n"
VALID: dict[str, str | bytes] = {
    "flows/etl/workflow.py": SOURCE,
    "flows/etl/Dockerfile": DOCKERFILE,
    "flows/etl/deployment.yaml": DEPLOYMENT,
    "flows/etl/requirements.txt": "prefect\npyyaml\npandsa\n",
    "environments/development.yaml": "work_pools: {python: here, docker: there}\n",
    **{
        f"environments/templates/{kind}.yaml": (REPOSITORY / f"environments/templates/{kind}.yaml").read_bytes()
        for kind in ("python", "docker")
    },
}


def test_the_repository_that_all_begins_with_has_no_fault(tmp_path: Path) -> None:
    build_tree(tmp_path, {**VALID, "flows/etl/workflow.py": SOURCE.replace("import pandsa\n", "")})
    assert deployments_of(tmp_path) == Said((), 2)


HIDDEN = ("\x1b[2J", "x\x07", "\u202egnp", "\u2066a")
"""What would move a terminal's cursor, ring, or show text in another order than it has."""

# Dockerfiles

WORDS = st.sampled_from(
    [
        *("", " ", ".", "..", "/", "/app", "flows/etl", "flows", "flows/*", "[b-a]", "*", "**/x", "a" * 300, "é", "\0"),
        *("$BASE", "${BASE}", "${BASE:-python:3.12}", "${BASE:+x}", "${", "$", "${A:-${B}}", "$$A", "A=$A", "A=", "=b"),
        *("'", '"', "\\", "`", "a=b", "A='b c'", 'A="', "--from=one", "--from=two", "--from=0", "--from=", "--chmod=1"),
        *("--platform=$X", "--mount=type=secret,id=x", "AS", "as", "one", "two", "scratch", "python@sha256:00"),
        *("python:latest", "prefecthq/prefect:3", "<<EOF", "EOF", '["a", "b"]', '["flows/etl", "/app/flows/etl"]'),
        *('["\\ud800", "."]', "[1, {}]", "[", "]", "[" * 3000, "prefect", "-r", "requirements.txt", "pip", "install"),
        *(
            "&&",
            "DB_PASSWORD=hunter2",
            "1:1",
            "root",
            "http://x/y",
            "git@x:y.git",
            "#",
            "<",
            ">",
            "\u2028",
            "\ufeff",
            *HIDDEN,
        ),
    ]
)
STARTS = st.sampled_from(
    [*INSTRUCTIONS, "from", "Copy", "FORM", "ONBUILD COPY", "ONBUILD FROM", "ONBUILD", "#", "# escape=`", "", "EOF"]
)
INSTRUCTION = st.builds(
    lambda start, words, end: f"{start} {' '.join(words)}{end}",
    STARTS,
    st.lists(WORDS, max_size=5),
    st.sampled_from(["\n", "\n", "\n", "\\\n", " \\\n\n", "\r\n", "", " \\\n# comment\n"]),
)
HEADS = st.sampled_from(
    [
        "",
        DOCKERFILE,
        "ARG BASE=python:3.12\nFROM ${BASE} AS one\nCOPY flows .\nFROM one AS two\nWORKDIR /app\nCOPY --from=one / .\n",
        "FROM python:3.12 AS one\nCOPY --from=two / /\nFROM one AS two\nCOPY --from=one / /\n",
    ]
)
DOCKERFILES = st.builds(lambda head, lines: encoded(head + "".join(lines)), HEADS, st.lists(INSTRUCTION, max_size=8))


@examples(250)
@given(st.one_of(DOCKERFILES, DOCKERFILES, st.text(max_size=60).map(encoded), st.binary(max_size=60)))
@example(encoded(DOCKERFILE + "WORKDIR\n"))
@example(encoded(DOCKERFILE + "ENV\n"))
@example(encoded(DOCKERFILE + "ENV a=b c\n"))
@example(b"FROM prefecthq/prefect:3 AS one\nWORKDIR /app\nCOPY --from=one /x /y\nCOPY flows/etl flows/etl\n")
@example(b"FROM x:1 AS one\nCOPY --from=two / /\nFROM one AS two\nCOPY --from=one / /\n")
@example(encoded(DOCKERFILE + f"COPY {'a' * 300} .\n"))
@example(encoded(DOCKERFILE + 'COPY ["\\ud800", "."]\n'))
@example(encoded(DOCKERFILE + "COPY " + "[" * 5000 + "\n"))
def test_no_dockerfile_makes_it_fail(tmp_path: Path, content: bytes) -> None:
    assert_holds_of(tmp_path, {"flows/etl/Dockerfile": content})


IGNORE_LINES = st.sampled_from(
    ["*", "!flows", "**/.*", "[b-a]", "[", "[]", "[!", "***", "\\", "/", "!", "#", "", " ", "a\\", "\0", "é", "..", "{"]
)


@examples(30)
@given(st.one_of(st.lists(IGNORE_LINES, max_size=5).map("\n".join).map(encoded), st.binary(max_size=20)))
@example(b"\xff\xfe")
@example(b"[b-a]\n")
def test_no_dockerignore_makes_it_fail(tmp_path: Path, content: bytes) -> None:
    assert_holds_of(tmp_path, {".dockerignore": content})


# Env files

ENV_LINES = st.builds(
    lambda export, key, equals, value, end: f"{export}{key}{equals}{value}{end}",
    st.sampled_from(["", "export ", "  ", "#", "\ufeff"]),
    st.sampled_from(["A", "A", "B", "lower", "'quoted'", "'", "a b", "DB_PASSWORD", "é", "", "A-B", "\0", "{A}", "1"]),
    st.sampled_from(["=", " = ", "", "==", ":"]),
    st.sampled_from(
        [
            "",
            "1",
            "'x'",
            '"x"',
            '"',
            "'",
            '"\\',
            '"a\nb"',
            "$A",
            "${A:-x}",
            "{{ root }}",
            "x # y",
            "\\ud800",
            "é",
            "\0",
            *HIDDEN,
        ]
    ),
    st.sampled_from(["\n", "\n", "\r\n", "\r", "", "\n\n", "\x0b"]),
)
ENV_FILES = st.one_of(
    st.lists(ENV_LINES, max_size=6).map("".join).map(encoded), st.text(max_size=20).map(encoded), st.binary(max_size=20)
)


@examples(60)
@given(ENV_FILES, ENV_FILES, ENV_FILES, ENV_FILES)
def test_no_env_file_makes_it_fail(tmp_path: Path, every: bytes, short: bytes, own: bytes, asked: bytes) -> None:
    names = (".env", ".env.dev", ".env.development", ".env.example")
    contents = zip(names, (every, short, own, asked), strict=True)
    assert_holds_of(tmp_path, {f"flows/etl/{name}": content for name, content in contents})


# Requirements

VERSIONS = st.sampled_from(
    ["1", "1.0", "1.*", "2!1.0.post1.dev2+local.1", "foo", "", "3.8.8", "1.0rc1", "0", "9" * 30, "1.0.*", ">=2"]
)
NAMES = st.sampled_from(["prefect", "PyYAML", "pandsa", "pandsa", "pandsa", "x_y.z", "é", "-", "", "a b", *HIDDEN])
SPECIFIERS = st.lists(
    st.tuples(st.sampled_from(["==", "===", "~=", ">=", "<", "!=", "=", ">"]), VERSIONS).map("".join), max_size=3
).map(",".join)
MARKERS = st.builds(
    lambda left, how, right: f"; {left} {how} {right}",
    *[
        st.sampled_from(["python_version", "os_name", "extra", "'x'", "'3.11'", "platform_release", "'a.b'", "extras"]),
        st.sampled_from(["<", "==", "~=", "===", "in", "not in", "", "!="]),
        st.sampled_from(["'3.11'", "'x'", "''", "os_name", "extra", "(", "'é' and os_name ~= 'x'"]),
    ],
)
REQUIREMENTS = st.builds(
    lambda name, extras, specifier, marker: f"{name}{extras}{specifier}{marker}",
    NAMES,
    st.sampled_from(["", "", "[a]", "[a,b]", "[", "[]"]),
    SPECIFIERS,
    st.one_of(st.just(""), MARKERS),
)
REQUIREMENT_LINES = st.one_of(
    REQUIREMENTS,
    st.sampled_from(
        [
            *("-r requirements.txt", "-r ../etl/requirements.txt", "-r nowhere.txt", "-r a\0b", "-r", "-r .", "-r /x"),
            *("-r ../../../x", "--requirement=workflow.py", "-e .", "-e git+https://x/y#egg=z", "-c x"),
            *("--hash=sha256:0",),
            *("\\", "a \\", "#", "./x", "git+https://x", "a @ https://[/", "a @ file:///x", "-r " + "a" * 300, "\x0c"),
        ]
    ),
)
REQUIREMENTS_FILES = st.one_of(
    st.lists(REQUIREMENT_LINES, max_size=6).map("\n".join).map(encoded),
    st.text(max_size=30).map(encoded),
    st.binary(max_size=30),
)


@examples(200)
@given(REQUIREMENTS_FILES, REQUIREMENTS_FILES)
@example(b"-r a\0b", b"")
@example(b"-r ../etl/requirements.txt", b"")
@example(b"-r nowhere.txt", b"")
@example(b"-r /etc/hostname", b"")
@example(b"prefect; python_version ~= 'abc'", b"")
@example(b"prefect; os_name ~= 'x'", b"")
@example(b"prefect; 'a' > 'b'", b"")
@example(b"pandsa===foo", b"pandsa==1")
def test_no_requirements_file_makes_it_fail(tmp_path: Path, pinned: bytes, loose: bytes) -> None:
    assert_holds_of(tmp_path, {"flows/etl/requirements.txt": pinned, "flows/requirements.in": loose})


TOML_KEYS = st.sampled_from(
    [
        *("project", "dependencies", "optional-dependencies", "dependency-groups", "tool", "poetry", "group"),
        *("dynamic",),
        *("python", "dev", "include-group", "", "é", "requires-python", "name", "version"),
    ]
)
TOML_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(REQUIREMENTS, st.booleans(), st.integers(), st.text(max_size=5), st.just("dependencies"), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TOML_KEYS, inner, max_size=3)),
    max_leaves=10,
)


def toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


TOML = st.one_of(
    st.dictionaries(TOML_KEYS, TOML_VALUES, max_size=4).map(
        lambda data: "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in data.items())
    ),
    st.builds(
        lambda table, data: f"[{table}]\n" + "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in data),
        st.sampled_from(
            ["project", "tool.poetry", "tool.poetry.group.x", "dependency-groups", "[project]", "project.x"]
        ),
        st.dictionaries(TOML_KEYS, TOML_VALUES, max_size=4).map(dict.items),
    ),
    st.lists(REQUIREMENTS, max_size=4).map(lambda stated: f"project.dependencies = {toml(stated)}\n"),
    st.text(max_size=30),
)


@examples(200)
@given(TOML.map(encoded) | st.binary(max_size=30), TOML)
@example(b"a = " + b"1" * 5000, "")
@example(b"a = " + b"[" * 5000, "")
def test_no_toml_makes_it_fail(tmp_path: Path, project: bytes, script: str) -> None:
    inline = "".join(f"# {line}\n" for line in script.split("\n"))
    source = encoded(f"# /// script\n{inline}# ///\n{SOURCE}")
    assert_holds_of(tmp_path, {"flows/etl/pyproject.toml": project, "flows/etl/workflow.py": source})


# Sources

CONSTANTS = st.sampled_from(
    [
        *("0", "-1", "1.5", "1e999", "1j", "''", "'a'", "'\\ud800'", "b'\\xff'", "None", "True", "...", "f'{x}'"),
        *("f'a'",),
        *("'9' * 9", "9" * 4400, "0x" + "f" * 5000, "x", "x.y", "x()", "lambda: 0", "(yield)", "-" * 300 + "1"),
        *("{**x}",),
    ]
)
VALUES = st.recursive(
    CONSTANTS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"({', '.join(items)},)"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: f"{{{', '.join(items)}}}"),
        st.tuples(inner, inner).map(lambda pair: f"{{{pair[0]}: {pair[1]}}}"),
        st.tuples(inner, st.sampled_from(["+", "|", "if x else", "or"]), inner).map(" ".join),
    ),
    max_leaves=5,
)
TYPES = st.sampled_from(
    [
        *("bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "set", "str", "tuple", "Any", "Dict"),
        *("FrozenSet", "List", "Literal", "Optional", "Set", "Tuple", "Union", "Callable", "Path", "typing.Literal"),
        *("T",),
        *("None", "...", "'int'", "'Optional[int'", "''", "1", "(int)", "()", "[]", "int,"),
        *("Annotated[int, Field(gt=0)]",),
    ]
)
ANNOTATIONS = st.recursive(
    TYPES,
    lambda inner: st.one_of(
        st.builds("{}[{}]".format, inner, st.lists(inner, max_size=3).map(", ".join)),
        st.builds("Literal[{}]".format, st.lists(VALUES, min_size=1, max_size=3).map(", ".join)),
        st.tuples(inner, inner).map(" | ".join),
        inner.map(repr),
        inner.map("Optional[{}]".format),
        inner.map("list[[{}]]".format),
        st.tuples(inner, st.sampled_from([":", " or ", " if x else ", "."]), inner).map("".join),
    ),
    max_leaves=6,
)
ARGUMENTS = st.one_of(
    st.builds(
        "{}={}".format,
        st.sampled_from(
            [
                *("name", "description", "retries", "retry_delay_seconds", "validate_parameters", "version"),
                *("timeout_seconds",),
                *("retry", "log_prints", "on_failure", "task_runner", "flow_run_name", "persist_result", "é"),
                *("x" * 300,),
            ]
        ),
        VALUES,
    ),
    VALUES,
    st.sampled_from(["**options", "*x", "name='a/b'", "name=''", "name='\\ud800'", "description='Args:\\n  x: y'"]),
)
PARAMETERS = st.builds(
    lambda star, name, annotation, default: f"{star}{name}{annotation}{default}",
    st.sampled_from(["", "", "", "", "*", "**"]),
    st.sampled_from(["a", "b", "count", "_x", "wait_for", "é", "self", "return_state"]),
    st.one_of(st.just(""), ANNOTATIONS.map(": {}".format)),
    st.one_of(st.just(""), VALUES.map(" = {}".format)),
)
DOCSTRING_LINES = st.sampled_from(
    [
        *("Args:", "Parameters", "----------", ":param a: x", "    a: What.", "    a (int): What.", "    *b: x"),
        *("  zz: y",),
        *("    a", "    : x", "Returns:", "Raises:", "    ValueError: x", "@param a", "    a: b: c", "\\ud800", "%"),
        *("{", ""),
        *("Arguments:", "Keyword Args:", "    **c: y", "\t- d: e", "    a : int", "Yields:", "Examples:", "    >>> 1"),
        *("{x}",),
    ]
)
DOCSTRINGS = st.one_of(
    st.lists(DOCSTRING_LINES, max_size=6).map("\n    ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
SOURCES = st.builds(
    lambda call, parameters, result, docstring, before: (
        f"{before}from prefect import flow\nimport pandsa\n\n@flow{call}\n"
        f'def etl({", ".join(parameters)}) -> {result}:\n    """{docstring}"""\n'
    ),
    st.one_of(st.just(""), st.lists(ARGUMENTS, max_size=3).map(lambda items: f"({', '.join(items)})")),
    st.lists(PARAMETERS, max_size=3, unique_by=lambda text: re.split("[:= ]", text.lstrip("*"))[0]),
    ANNOTATIONS,
    DOCSTRINGS,
    st.sampled_from(["", "", "# coding: latin-1\n", "from __future__ import annotations\n", "from . import x\n"]),
)


@examples(300)
@given(SOURCES)
def test_no_signature_makes_it_fail(tmp_path: Path, source: str) -> None:
    assert_holds_of(tmp_path, {"flows/etl/workflow.py": encoded(source)})


# Schedules, and all else of a deployment.yaml

CRON_FIELDS = st.sampled_from(
    ["*", "0", "1", "31", "2", "*/5", "1-5", "L", "MON", "7#6", "@daily", "99", "-", "H", "5L"]
)
CRONS = st.lists(CRON_FIELDS, min_size=4, max_size=6).map(" ".join)
RRULES = st.builds(  # what comes more often than once a day, or is counted from long ago, is below
    lambda before, rule, frequency, parts, after: (
        f"{before}{rule}FREQ={frequency};{';'.join(parts)}".rstrip(";") + after
    ),
    st.sampled_from(
        [
            *("", "", "DTSTART:20200101T000000\n", "DTSTART;TZID=Europe/Berlin:20200101T000000\n"),
            *("DTSTART:20200101T000000Z\n", "DTSTART:2020\n", "RDATE:20200101T000000\n", "EXDATE:20200101T000000\n"),
        ]
    ),
    st.sampled_from(["", "RRULE:", "EXRULE:", "rrule:"]),
    st.sampled_from(["WEEKLY", "MONTHLY", "YEARLY", "yearly", "NEVER", ""]),
    st.lists(
        st.sampled_from(
            [
                *("BYMONTH=2", "BYMONTHDAY=30", "BYMONTHDAY=-31", "BYDAY=MO", "BYDAY=5MO", "BYSETPOS=9", "BYWEEKNO=53"),
                *("BYYEARDAY=366", "BYEASTER=1", "BYEASTER=400", "BYHOUR=24", "BYHOUR=2", "WKST=SU", "INTERVAL=7"),
                *("COUNT=0", "COUNT=2", "UNTIL=20210101", "UNTIL=20990101T000000Z", "INTERVAL=x", "x", "="),
                *("BYMONTH=13",),
                *("INTERVAL=-1", "INTERVAL=100000000", "BYMONTHDAY=0", "BYDAY=XX", "BYSECOND=59", "BYMINUTE=60"),
            ]
        ),
        max_size=3,
    ),
    st.sampled_from(
        ["", "", "\n", "\nEXDATE:20200101T000000", "\nDTSTART:20200101T000000", "\nRDATE:20990101T000000Z"]
    ),
)
INTERVALS = st.one_of(
    st.integers(-1, 10**12),
    st.floats(),
    st.sampled_from(["PT1H", "P99999999D", "01:00:00", "P1M", "", "PT0.5S", "x", "-PT1H", "999999999 days"]),
)
SCHEDULES = st.fixed_dictionaries(
    {},
    optional={
        "slug": st.sampled_from(["default", "a", "b", "", "A"]),
        "cron": CRONS,
        "rrule": RRULES,
        "interval": INTERVALS,
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Nowhere", "UTC+1", ""]),
        "anchor_date": st.sampled_from(["2020-01-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "x"]),
        "day_or": st.booleans(),
        "active": st.booleans() | st.none(),
        "parameters": st.dictionaries(st.sampled_from(["count", "cuont"]), st.none() | st.text(max_size=3), max_size=2),
        "max_scheduled_runs": st.integers(-1, 10**20),
    },
)
ONE_RULE = st.one_of(
    CRONS.map(lambda rule: {"cron": rule}),
    RRULES.map(lambda rule: {"rrule": rule}),
    INTERVALS.map(lambda rule: {"interval": rule}),
)
PLACEHOLDERS = st.sampled_from(
    [
        *("{{ root }}", "{{ flow }}", "{{ flow.name.x }}", "{{ $PATH }}", "{{ }}", "{{ limits.memory }}"),
        *("{{ image }}",),
        *("{{ prefect.blocks.secret.x }}", "{{ prefect.variables.x }}", "{{ ctx.flow.id }}", "{{", "x{{ root }}y"),
    ]
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        PLACEHOLDERS,
        st.just("/a:/b"),
        st.just("./a:/b"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4) | PLACEHOLDERS, inner, max_size=3)
    ),
    max_leaves=5,
)
JOB_VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("env", "volumes", "container_create_kwargs", "networks", "image", "mem_limit", "x"), ANYTHING),
        "env": st.dictionaries(st.sampled_from(["A", "DB_PASSWORD", "é"]), ANYTHING, max_size=2) | ANYTHING,
        "volumes": st.lists(st.sampled_from(["./a:/b", "/nowhere:/b", "/a\0b", "/" + "a" * 300, "", "/"]), max_size=2)
        | ANYTHING,
    },
)
QUANTITIES = st.sampled_from(
    ["1", "1Gi", "500m", "0.5", "1" + "0" * 400, "1" + "0" * 5000, "1e5", "", "9" * 30 + "Ei", 0, 1.5]
)
LIMITS = st.fixed_dictionaries({}, optional={"memory": QUANTITIES, "cpu": QUANTITIES})
OVERRIDES: dict[str, st.SearchStrategy[Any]] = {
    "kinds": st.one_of(
        st.just(["docker", "python"]),
        st.dictionaries(
            st.sampled_from(["python", "docker"]),
            st.fixed_dictionaries({}, optional={"job_variables": JOB_VARIABLES, "scheduled": st.booleans()})
            | st.none(),
            max_size=2,
        ),
        ANYTHING,
    ),
    "schedules": st.lists(ONE_RULE, max_size=1) | st.lists(ONE_RULE | SCHEDULES, max_size=3) | ANYTHING,
    "parameters": st.dictionaries(st.sampled_from(["count", "cuont", "api_key"]), ANYTHING, max_size=2),
    "tags": st.lists(st.sampled_from(["a", "project:x", "", "é", "{{ root }}", *HIDDEN]), max_size=2) | ANYTHING,
    "description": st.text(max_size=9) | PLACEHOLDERS | ANYTHING,
    "concurrency_limit": st.integers() | ANYTHING,
    "job_variables": JOB_VARIABLES,
    "work_queue": st.text(max_size=4) | PLACEHOLDERS,
    "resource_limits": LIMITS,
    "paused": st.booleans() | ANYTHING,
    "ignore": st.lists(st.sampled_from(["MF121", "MF623", "MF101", "", "MF999"]), max_size=2),
}
STATED = st.fixed_dictionaries(
    {},
    optional={
        **OVERRIDES,
        "slug": st.sampled_from(["etl", "", "A", "x-"]),
        "replaces": st.sampled_from(["etl", "old"]),
        "environments": st.dictionaries(
            st.sampled_from(["development", "dev", "nowhere"]),
            st.fixed_dictionaries({}, optional=OVERRIDES) | st.none(),
            max_size=2,
        ),
        "flows": st.dictionaries(
            st.sampled_from(["etl", "lte"]), st.fixed_dictionaries({}, optional=OVERRIDES) | st.none(), max_size=2
        ),
    },
)


def one_kind(**job_variables: Any) -> dict[str, Any]:
    return {"kinds": {"docker": {"job_variables": job_variables}}}


@examples(300)
@given(st.one_of(STATED, *(st.fixed_dictionaries({key: value}) for key, value in OVERRIDES.items())))
@example({"schedules": [{"interval": "P99999999D"}]})
@example({"schedules": [{"rrule": "FREQ=YEARLY;BYEASTER=400"}]})
@example(one_kind(env="text"))
@example(one_kind(env=["A=b"]))
@example(one_kind(volumes=5))
@example(one_kind(volumes=["./a:/b"], container_create_kwargs="text"))
@example({"resource_limits": {"cpu": "1" + "0" * 400}})
@example({"resource_limits": {"memory": "1" + "0" * 5000}})
def test_nothing_that_a_deployment_file_states_makes_it_fail(tmp_path: Path, stated: dict[str, Any]) -> None:
    content = yaml.safe_dump(stated, allow_unicode=True).encode("utf-8", "surrogatepass")
    assert_holds_of(tmp_path, {"flows/etl/deployment.yaml": content})


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY\n",  # as a block of YAML ends
        "RRULE:FREQ=DAILY\nDTSTART:20200101T000000",
        "DTSTART;TZID=Europe/Berlin:20200101T000000\nRRULE:FREQ=DAILY",
        "DTSTART:20200101T000000Z\nRRULE:FREQ=MONTHLY;BYDAY=1MO",
        "freq=weekly;byday=mo",
    ],
)
def test_a_rule_that_comes_is_not_refused_for_how_it_is_written(tmp_path: Path, rule: str) -> None:
    content = yaml.safe_dump({"schedules": [{"rrule": rule}]})
    build_tree(tmp_path, {**VALID, "flows/etl/deployment.yaml": content})
    assert not [error for error in deployments_of(tmp_path).found if error.file_path == "flows/etl/deployment.yaml"]


COPIED_TWICE = "FROM x:1 AS s0\nCOPY flows/etl /app/flows/etl\n" + "".join(
    f"FROM x:1 AS s{number}\n" + f"COPY --from=s{number - 1} /app /app\n" * 2 for number in range(1, 40)
)
NAMED_TWICE = {f"flows/etl/{number}.txt": f"-r {number + 1}.txt\n" * 2 for number in range(30)}


def scheduled(rule: str) -> dict[str, str]:
    return {"flows/etl/deployment.yaml": yaml.safe_dump({"schedules": [{"rrule": rule}]})}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(scheduled("DTSTART:20200101T000000\nRRULE:FREQ=SECONDLY"), id="each second since 2020"),
        pytest.param(scheduled("DTSTART:20200101T000000\nRRULE:FREQ=MINUTELY"), id="each minute since 2020"),
        pytest.param(scheduled("DTSTART:00010101T000000\nRRULE:FREQ=HOURLY"), id="each hour since the year 1"),
        pytest.param(scheduled("DTSTART:20240101T000000\nfreq=secondly;bymonth=2;bymonthday=30"), id="lower case"),
        pytest.param(scheduled("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30;COUNT=3"), id="never, by the hour, counted"),
        pytest.param(scheduled("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;UNTIL=99990101T000000"), id="never, until 9999"),
        pytest.param(scheduled("FREQ=DAILY;INTERVAL=0"), id="interval of nothing"),
        pytest.param(scheduled("RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY"), id="all is excepted"),
        pytest.param({"flows/etl/Dockerfile": COPIED_TWICE}, id="stages that copy from each other twice"),
        pytest.param({**NAMED_TWICE, "flows/etl/requirements.txt": "-r 0.txt"}, id="files that name files twice"),
        pytest.param({"flows/etl/requirements.txt": "-r ../etl/requirements.txt\n" * 2}, id="file that names itself"),
    ],
)
def test_nothing_takes_forever(tmp_path: Path, files: dict[str, str]) -> None:
    assert_holds_of(tmp_path, files)


# Our own repository, mutated


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's flows and environments."""
    root = tmp_path_factory.mktemp("ours") / "repository"
    for folder in ("flows", "environments"):
        leave_out = shutil.ignore_patterns("__pycache__", "output", "*.draft")
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=leave_out)
    shutil.copy(REPOSITORY / ".dockerignore", root)
    return root


@pytest.fixture(scope="module")
def unmutated(ours: Path) -> Said:
    """What is said of it as it is."""
    return deployments_of(ours)


TOKENS = [
    *("", " ", "\t", ":", "-", "#", "'", '"', "\\", "[", "]", "{", "}", "{{", "}}", "$", "=", "==", "*", "&", "|"),
    *("%", "@"),
    *("flow", "rpa1", "rpa2", "None", "0", "-1", "9" * 20, "true", "null", "é", "\0", "\ufeff", "\r", "\u2028", "EOF"),
    *("FROM", "COPY", "python", "docker", "import", "def", "Optional", "Literal", "FREQ=YEARLY", "PT1H", "<<", "!!set"),
]


def mutated(content: bytes, randomly: random.Random) -> bytes:
    """The content with one thing changed."""
    if randomly.random() < 0.4:
        at, value = randomly.randrange(len(content) + 1), bytes([randomly.randrange(256)])
        length = randomly.choice([0, 1, 1, randomly.randrange(40)])
        return content[:at] + randomly.choice([value, b"", content[at : at + length] * 2]) + content[at + length :]
    if randomly.random() < 0.5:
        tokens = [*re.finditer(rb"\w+|[^\w\s]|$", content)]
        token = randomly.choice(tokens)
        other = randomly.choice([*map(encoded, TOKENS), *(each[0] for each in tokens)])
        return content[: token.start()] + other + content[token.end() :]
    lines = content.splitlines(keepends=True) or [b""]
    one, other_line = randomly.randrange(len(lines)), randomly.randrange(len(lines))
    match randomly.choice(["delete", "duplicate", "swap", "indent", "outdent"]):
        case "delete":
            del lines[one]
        case "duplicate":
            lines.insert(other_line, lines[one])
        case "swap":
            lines[one], lines[other_line] = lines[other_line], lines[one]
        case "indent":
            lines[one] = randomly.choice([b" ", b"  ", b"\t", b"    "]) + lines[one]
        case "outdent":
            lines[one] = lines[one].lstrip(b" \t")
    return b"".join(lines)


SHARED = ("environments/", "flows/requirements", ".dockerignore")
PACKAGE = "flows/trading/"
"""Its flows share modules, an image and a deployment.yaml."""
CLAIMS = {"MF103", "MF107", "MF515"}
"""Two flows claim one name: that is said of both."""


def depends(path: str, on: str, code: str) -> bool:
    """Whether what is said at one file may come of another: of what all flows share, or of the same flow's files."""
    if on.startswith(SHARED) or code in CLAIMS or (path.startswith(PACKAGE) and on.startswith(PACKAGE)):
        return True
    if path.rpartition("/")[0] != on.rpartition("/")[0]:
        return False
    name, other = PurePosixPath(path).name, PurePosixPath(on).name
    if other == ".env.example":
        return name == other
    if other.startswith(".env"):
        return name in (other, ".env.example")
    if other == "Dockerfile":
        return name in (other, "workflow.py")  # the flow is not in its image
    return True


def mutable(root: Path) -> list[str]:
    """The files that validation reads, sorted."""
    files = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(path for path in files if "/data/" not in path)


@examples(120)
@given(which=st.floats(0, 1, exclude_max=True), how_often=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_a_mutated_file_is_told_of_where_it_counts_and_nowhere_else(
    ours: Path, unmutated: Said, which: float, how_often: int, seed: int
) -> None:
    files, randomly = mutable(ours), random.Random(seed)
    name = files[int(which * len(files))]
    path = ours / name
    original = path.read_bytes()
    content = original
    for _ in range(how_often):
        content = mutated(content, randomly)
    path.write_bytes(content)
    try:
        said = deployments_of(ours)
        assert_well_said(ours, said.found)
        assert deployments_of(ours) == said
        if content == original:
            assert said == unmutated
    finally:
        path.write_bytes(original)
    elsewhere = [
        error
        for error in {*said.found} - {*unmutated.found}
        if error.file_path != name and not (error.file_path and depends(error.file_path, name, error.code))
    ]
    assert not elsewhere, textwrap.indent("\n".join(map(str, elsewhere)), "  ")
    if not name.startswith(SHARED) and CLAIMS.isdisjoint(error.code for error in said.found):
        flows = 7 if name.startswith(PACKAGE) else 1
        assert said.deployments >= unmutated.deployments - 2 * flows, "the others are deployed, in both their kinds"


def test_our_own_repository_has_no_fault(unmutated: Said) -> None:
    assert [error for error in unmutated.found if error.severity == "error"] == []
    assert unmutated.deployments == 2 * (3 + 7)
