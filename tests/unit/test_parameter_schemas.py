"""Parameter schemas: what stock Prefect computes, whatever a flow's module does when it is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from meta_flows.desired import parameter_schemas as module
from meta_flows.desired.parameter_schemas import LoadedSchema, parameter_schemas
from meta_flows.models import Location
from tests.trees import build_tree
from tests.waiting import wait_until

PLAIN = "from prefect import flow\n@flow\ndef main(count: int = 1): ...\n"
CUSTOM = '''
from datetime import date
from enum import Enum
from typing import Literal, Optional
from prefect import flow
from pydantic import BaseModel, Field
from .policy import Policy

class Colour(Enum):
    RED = "red"

@flow
def main(policy: Policy, colours: list[Colour], day: Optional[date] = None, mode: Literal["a", "b"] = "a"):
    """Does it.

    Args:
        policy: How to price.
        day: Which day.
    """
'''
POLICY = """
from pydantic import BaseModel, Field
class Policy(BaseModel):
    rate: float = Field(ge=0, description="per item")
"""
STOCK = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
print(json.dumps(parameter_schema(load_flow_from_entrypoint(sys.argv[1])).model_dump(mode="json", exclude_unset=True)))
"""


def test_it_is_what_stock_prefect_computes_custom_types_included(tmp_path: Path) -> None:
    custom = CUSTOM.replace("from .policy", "from policy")
    build_tree(tmp_path, {"flows/a/workflow.py": custom, "flows/a/policy.py": POLICY})
    entrypoint = "flows/a/workflow.py:main"
    stock = subprocess.run([sys.executable, "-c", STOCK, entrypoint], cwd=tmp_path, capture_output=True, check=True)
    found = parameter_schemas(tmp_path, {entrypoint: {}})
    assert found == {entrypoint: LoadedSchema(json.loads(stock.stdout))}
    assert set(json.loads(stock.stdout)["properties"]) == {"policy", "colours", "day", "mode"}


def test_two_flows_may_each_have_another_module_of_one_name(tmp_path: Path) -> None:
    source = "from prefect import flow\nfrom helpers import Kind\n@flow\ndef main(kind: Kind): ...\n"
    helpers = "from typing import Literal\nKind = Literal['{}']\n"
    tree = {f"flows/{name}/workflow.py": source for name in "ab"}
    build_tree(tmp_path, {**tree, **{f"flows/{name}/helpers.py": helpers.format(name) for name in "ab"}})
    found = parameter_schemas(tmp_path, {"flows/a/workflow.py:main": {}, "flows/b/workflow.py:main": {}})
    kinds = {key: loaded.schema["properties"]["kind"]["const"] for key, loaded in found.items() if loaded.schema}
    assert kinds == {"flows/a/workflow.py:main": "a", "flows/b/workflow.py:main": "b"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("import os; os._exit(7)", "exit code 7", id="ends Python"),
        pytest.param("raise SystemExit(3)", "exit code 3", id="asks Python to end"),
        pytest.param("import time; time.sleep(1000)", "takes over 3 s", id="never ends"),
    ],
)
def test_a_module_that_cannot_be_imported_costs_its_own_flow_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 3.0)
    build_tree(tmp_path, {"a.py": PLAIN, "b.py": f"{line}\n{PLAIN}", "c.py": PLAIN})
    found = parameter_schemas(tmp_path, {"a.py:main": {}, "b.py:main": {}, "c.py:main": {}})
    assert [loaded.schema is None for loaded in found.values()] == [False, True, False]
    assert words in found["b.py:main"].reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("print('noise' * 10_000)", ""),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
    ],
)
def test_a_module_that_prints_or_fails_when_it_is_imported_has_a_schema_as_for_stock_prefect(
    tmp_path: Path, line: str, reason: str
) -> None:
    build_tree(tmp_path, {"a.py": f"{line}\n{PLAIN}", "b.py": PLAIN})
    found = parameter_schemas(tmp_path, {"a.py:main": {}, "b.py:main": {}})
    assert all(loaded.schema for loaded in found.values())
    place = Location(path="a.py", line=1) if reason else None
    assert [(loaded.reason, loaded.place) for loaded in found.values()] == [(reason, place), ("", None)]


FORK = """
import json, sys
from pathlib import Path
from meta_flows.desired.parameter_schemas import importing, parameter_schemas
flows = {f"{name}.py:main": {} for name in "abcd"}
with importing(fork=sys.argv[1] == "fork"):
    both = [parameter_schemas(Path(), flows) for _ in range(2)]
print(json.dumps(both[0]), both[0] == both[1])
"""


def test_an_importer_that_is_forked_from_a_command_finds_the_same_as_one_that_is_started(tmp_path: Path) -> None:
    modules = {"a": PLAIN, "b": f"import os; os._exit(7)\n{PLAIN}", "c": f"raise SystemExit(3)\n{PLAIN}"}
    noisy = f"import sys, threading\nthreading.Thread(target=threading.Event().wait).start()\nprint('noise')\n{PLAIN}"
    build_tree(tmp_path, {f"{name}.py": source for name, source in {**modules, "d": noisy}.items()})

    def found(way: str) -> str:
        run = subprocess.run(
            [sys.executable, "-c", FORK, way], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return run.stdout

    assert found("fork") == found("start")
    schemas, again = found("fork").rsplit(" ", 1)
    assert [bool(schema) for schema, _, _ in json.loads(schemas).values()] == [True, False, False, True]
    assert again == "True\n"


def test_each_flow_is_imported_with_its_own_environment_variables(tmp_path: Path) -> None:
    build_tree(tmp_path, dict.fromkeys(("a.py", "b.py"), f"import os\nos.environ['REGION']\n{PLAIN}"))
    found = parameter_schemas(tmp_path, {"a.py:main": {"REGION": "north"}, "b.py:main": {}})
    assert [loaded.reason for loaded in found.values()] == ["", "KeyError: 'REGION'"]


def test_a_function_that_is_not_there_is_one_line_of_reason(tmp_path: Path) -> None:
    build_tree(tmp_path, {"a.py": PLAIN})
    schema, reason, _ = parameter_schemas(tmp_path, {"a.py:other": {}})["a.py:other"]
    assert schema is None
    assert "\n" not in reason
    assert "other" in reason


def test_what_hangs_costs_its_time_once_and_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 12.0)
    slow = {"slow.py": "import time\n\ntime.sleep(1000)\n"}
    build_tree(tmp_path, {**slow, **dict.fromkeys(("a.py", "b.py"), f"import slow\n{PLAIN}"), "c.py": PLAIN})
    found = parameter_schemas(tmp_path, {"a.py:main": {}, "b.py:main": {}, "c.py:main": {}})
    place = Location(path="slow.py", line=3)
    assert found["a.py:main"] == LoadedSchema(None, "importing it takes over 12 s", place)
    assert found["b.py:main"] == LoadedSchema(None, "importing it takes over 10 s", place)
    assert found["c.py:main"].schema


def test_what_a_module_starts_ends_with_its_import(tmp_path: Path) -> None:
    forks = "import os, time\nif os.fork() == 0:\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(1000)\n"
    build_tree(tmp_path, {"a.py": forks + PLAIN, "b.py": f"import os\nos.fork()\n{PLAIN}", "c.py": PLAIN})
    found = parameter_schemas(tmp_path, {"a.py:main": {}, "b.py:main": {}, "c.py:main": {}})
    assert all(loaded.schema for loaded in found.values())
    started = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    wait_until(lambda: not started.exists() or "(zombie)" in (started / "status").read_text())


@pytest.mark.parametrize(("end", "reason"), [("\\n", ""), ("", "importing it writes to files of other code")])
def test_a_module_that_writes_into_every_file_costs_its_own_flow_at_most(tmp_path: Path, end: str, reason: str) -> None:
    writes = (
        "import os\n"
        "from contextlib import suppress\n"
        "for descriptor in range(3, 64):\n"
        "    with suppress(OSError):\n"
        f"        os.write(descriptor, b'[1]{end}')\n"
    )
    build_tree(tmp_path, {"a.py": PLAIN, "b.py": writes + PLAIN, "c.py": PLAIN})
    found = parameter_schemas(tmp_path, {"a.py:main": {}, "b.py:main": {}, "c.py:main": {}})
    assert [loaded.reason for loaded in found.values()] == ["", "", ""] if not reason else reason in str(found)
    assert found["a.py:main"].schema
    assert found["c.py:main"].schema


def test_a_module_is_imported_without_the_credentials_of_the_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in module.CREDENTIALS:
        monkeypatch.setenv(name, "{}")
    build_tree(tmp_path, {"a.py": f"import os\nassert not {set(module.CREDENTIALS)} & set(os.environ)\n{PLAIN}"})
    assert parameter_schemas(tmp_path, {"a.py:main": {}})["a.py:main"].reason == ""
