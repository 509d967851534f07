"""The source digest changes when, and only when, something that a flow runs does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from meta_flows.discovery import discover
from tests.trees import build_tree

FLOW = "from prefect import flow\n{imports}\n@flow\ndef {name}(): pass\n"
REPOSITORY = {
    "flows/a/workflow.py": FLOW.format(name="a", imports="import near\nfrom shared import used"),
    "flows/a/near.py": "",
    "flows/a/query.sql": "select 1",
    "flows/a/sql/deep/other.sql": "select 2",
    "flows/a/Dockerfile": "FROM scratch",
    "flows/b/workflow.py": FLOW.format(name="b", imports="from shared import indirect"),
    "flows/c/workflow.py": FLOW.format(name="c", imports=""),
    "flows/d/workflow.py": FLOW.format(name="d", imports="from flows.c.workflow import c"),
    "flows/team/e/workflow.py": FLOW.format(name="e", imports=""),
    "flows/simple.py": FLOW.format(name="simple", imports=""),
    "flows/notes.txt": "",
    "shared/used.py": "",
    "shared/indirect.py": "import shared.used",
    "shared/unused.py": "",
    ".prefectignore": "*.log\nflows/a/private/\n",
}


def digests(root: Path) -> dict[str, str]:
    return {flow.name: flow.source_digest for flow in discover(root)}


CHANGES = {
    "flows/a/workflow.py": "a",
    "flows/a/near.py": "a",
    "flows/a/query.sql": "a",
    "flows/a/sql/deep/other.sql": "a",
    "flows/a/Dockerfile": "a",
    "flows/a/new.json": "a",
    "flows/a/docs/new.json": "a",
    "shared/used.py": "ab",
    "shared/indirect.py": "b",
    "flows/c/workflow.py": "cd",
    "flows/c/query.sql": "cd",  # d imports from there, so it runs what reads the query
    "flows/team/e/x.toml": "e",
    "flows/notes.txt": "simple",
    # not code, or nobody's
    "shared/unused.py": "",
    "shared/table.csv": "",
    "README.md": "",
    "flows/a/unused.py": "",
    "flows/a/data/in.csv": "",
    "flows/a/sql/data/in.csv": "",
    "flows/a/output/report.json": "",
    "flows/a/deployment.yaml": "",
    "flows/a/deployment.yml": "",
    "flows/a/.env": "",
    "flows/a/.env.production": "",
    "flows/a/.hidden": "",
    "flows/a/.cache/x": "",
    "flows/a/__pycache__/workflow.cpython-311.pyc": "",
    "flows/a/workflow.pyc": "",
    "flows/a/tests/expected.json": "",
    "flows/a/test/expected.json": "",
    "flows/a/query.sql~": "",
    "flows/a/query.sql.swp": "",
    "flows/a/run.log": "",
    "flows/a/private/notes.md": "",
    "flows/a/venv/pyvenv.cfg": "",
}


@pytest.mark.parametrize(("path", "flows"), CHANGES.items(), ids=CHANGES)
def test_a_change_is_seen_by_exactly_the_flows_that_run_it(tmp_path: Path, path: str, flows: str) -> None:
    before = digests(build_tree(tmp_path, REPOSITORY))
    content = (tmp_path / path).read_text() if (tmp_path / path).exists() else ""
    after = digests(build_tree(tmp_path, {path: f"{content}\n# changed"}))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({"simple"} if flows == "simple" else set(flows))


@pytest.mark.parametrize(("old", "new"), [("near.py", "nearer.py"), ("query.sql", "queries.sql")])
def test_a_renamed_file_is_a_change(tmp_path: Path, old: str, new: str) -> None:
    before = digests(build_tree(tmp_path, REPOSITORY))
    (tmp_path / "flows/a" / old).rename(tmp_path / "flows/a" / new)
    after = digests(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"a"}


def test_the_digest_does_not_depend_on_place_time_or_order(tmp_path: Path) -> None:
    one = build_tree(tmp_path / "one", REPOSITORY)
    other = build_tree(tmp_path / "some/where else", dict(reversed(REPOSITORY.items())))
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert digests(one) == digests(other)
    assert all(len(digest) == 64 for digest in digests(one).values())


def test_the_digest_does_not_depend_on_how_the_root_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tree(tmp_path, REPOSITORY)
    monkeypatch.chdir(tmp_path)
    assert digests(Path()) == digests(tmp_path) == digests(Path("flows/.."))


def test_a_flow_is_not_touched_by_another_flow_that_comes_or_goes(tmp_path: Path) -> None:
    before = digests(build_tree(tmp_path, REPOSITORY))
    shutil.rmtree(tmp_path / "flows/b")
    after = digests(build_tree(tmp_path, {"flows/f/workflow.py": FLOW.format(name="f", imports="")}))
    assert {name: after[name] for name in before if name != "b"} == {n: d for n, d in before.items() if n != "b"}


def test_own_files_that_cannot_be_read_do_no_harm(tmp_path: Path) -> None:
    build_tree(tmp_path, REPOSITORY | {"flows/a/gone.txt": Path("nowhere"), "flows/a/loop": Path()})
    assert len(digests(tmp_path)) == 6
