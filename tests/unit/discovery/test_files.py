"""Which files are looked at, and what is found around a flow."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_flows.diagnostics import MetaFlowsError
from meta_flows.discovery import discover
from tests.trees import build_tree

FLOW = "from prefect import flow\n@flow\ndef etl(): pass\n"


def paths(root: Path, folder: str = "flows") -> list[str]:
    return [flow.path for flow in discover(root, folder)]


@pytest.mark.parametrize(
    "path",
    ["etl.py", "a/etl.py", "a/b/c/etl.py", "data/etl.py", "a/__init__.py", "env/etl.py", "a/testing.py", "a/pytest.py"],
)
def test_python_files_are_found_at_any_depth(tmp_path: Path, path: str) -> None:
    assert paths(build_tree(tmp_path, {f"flows/{path}": FLOW})) == [f"flows/{path}"]


@pytest.mark.parametrize(
    "path",
    [
        "__pycache__/etl.py",
        ".hidden/etl.py",
        ".etl.py",
        ".#etl.py",
        "a/tests/etl.py",
        "a/test/etl.py",
        "a/test_etl.py",
        "a/etl_test.py",
        "a/conftest.py",
        "node_modules/x/etl.py",
        "lib/site-packages/etl.py",
        "etl.pyi",
        "etl.txt",
        "etl.py~",
    ],
)
def test_what_is_no_flow_code_is_skipped(tmp_path: Path, path: str) -> None:
    assert paths(build_tree(tmp_path, {f"flows/{path}": FLOW})) == []


@pytest.mark.parametrize("name", ["venv", "env", "anything"])
def test_a_virtual_environment_is_known_by_its_configuration(tmp_path: Path, name: str) -> None:
    build_tree(tmp_path, {f"flows/{name}/lib/etl.py": FLOW})
    assert paths(tmp_path) == [f"flows/{name}/lib/etl.py"]
    build_tree(tmp_path, {f"flows/{name}/pyvenv.cfg": ""})
    assert paths(tmp_path) == []


IGNORED = {
    "flows/old/": {"flows/old/etl.py", "flows/old/deep/etl.py"},
    "old": {"flows/old/etl.py", "flows/old/deep/etl.py"},
    "/old": set(),
    "flows/*/etl.py": {"flows/old/etl.py", "flows/new/etl.py"},
    "deep/\n": {"flows/old/deep/etl.py"},
    "*.py\n!flows/new/*.py": {"flows/old/etl.py", "flows/old/deep/etl.py"},
    "flows/old/\n!flows/old/etl.py": {"flows/old/etl.py", "flows/old/deep/etl.py"},
    "# old\n\n  \n": set(),
}


@pytest.mark.parametrize(("rules", "left_out"), IGNORED.items(), ids=IGNORED)
def test_prefectignore_leaves_out_what_git_would(tmp_path: Path, rules: str, left_out: set[str]) -> None:
    everything = ["flows/new/etl.py", "flows/old/deep/etl.py", "flows/old/etl.py"]
    build_tree(tmp_path, dict.fromkeys(everything, FLOW) | {".prefectignore": rules})
    assert paths(tmp_path) == [path for path in everything if path not in left_out]


@pytest.mark.parametrize("pattern", ["!", "[z-a]", "x\\"])
def test_a_line_that_is_no_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    build_tree(tmp_path, {"flows/etl.py": FLOW, ".prefectignore": f"*.log\n{pattern}\n"})
    with pytest.raises(MetaFlowsError) as refusal:
        discover(tmp_path)
    (error,) = refusal.value.errors
    assert (error.code, str(error.place)) == ("MF111", ".prefectignore:2")
    assert pattern in error.message


def test_ignore_rules_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MetaFlowsError, match="MF102"):
        discover(build_tree(tmp_path, {"flows/etl.py": FLOW, ".prefectignore/": ""}))


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    build_tree(
        tmp_path,
        {
            "flows/a/etl.py": FLOW,
            "flows/a/loop": Path(),
            "flows/up": Path(".."),
            "flows/self": Path("self"),
            "flows/other": Path("../elsewhere"),
            "elsewhere/etl.py": FLOW,
        },
    )
    assert paths(tmp_path) == ["flows/a/etl.py"]


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    build_tree(tmp_path, {"flows/etl.py": Path("../elsewhere.py"), "elsewhere.py": FLOW})
    assert paths(tmp_path) == ["flows/etl.py"]


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("flows", "flows/etl.py"),
        ("./flows/", "flows/etl.py"),
        ("src/flows", "src/flows/etl.py"),
        (".", "etl.py"),
        ("x/..", "etl.py"),
    ],
)
def test_the_folder_may_be_any_in_the_repository(tmp_path: Path, folder: str, path: str) -> None:
    assert paths(build_tree(tmp_path, {path: FLOW}), folder) == [path]


def test_flows_are_sorted_by_path_and_line(tmp_path: Path) -> None:
    two = "from prefect import flow\n@flow\ndef {}(): pass\n@flow\ndef {}(): pass\n"
    build_tree(tmp_path, {"flows/b.py": two.format("a", "d"), "flows/a/x.py": two.format("z", "c"), "flows/B.py": FLOW})
    assert [flow.name for flow in discover(tmp_path)] == ["etl", "z", "c", "a", "d"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], None),
        (["flows/team/etl/Dockerfile", "flows/team/Dockerfile", "flows/Dockerfile"], "flows/team/etl/Dockerfile"),
        (["flows/team/Dockerfile", "flows/Dockerfile"], "flows/team/Dockerfile"),
        (["flows/Dockerfile", "Dockerfile"], "flows/Dockerfile"),
        (["Dockerfile", "flows/team/etl/dockerfile", "flows/team/etl/sub/Dockerfile", "flows/other/Dockerfile"], None),
    ],
)
def test_the_nearest_dockerfile_counts(tmp_path: Path, files: list[str], found: str | None) -> None:
    (flow,) = discover(build_tree(tmp_path, dict.fromkeys(files, "") | {"flows/team/etl/workflow.py": FLOW}))
    assert flow.dockerfile_path == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], None),
        (["flows/team/etl/deployment.yml", "flows/team/deployment.yaml"], "flows/team/etl/deployment.yml"),
        (["flows/team/etl/deployment.yml", "flows/team/etl/deployment.yaml"], "flows/team/etl/deployment.yaml"),
        (["flows/deployment.yaml", "deployment.yaml"], "flows/deployment.yaml"),
        (["deployment.yaml"], None),
    ],
)
def test_the_nearest_deployment_file_counts(tmp_path: Path, files: list[str], found: str | None) -> None:
    (flow,) = discover(build_tree(tmp_path, dict.fromkeys(files, "") | {"flows/team/etl/workflow.py": FLOW}))
    assert flow.deployment_file == found


def test_env_files_are_those_of_the_flows_folder(tmp_path: Path) -> None:
    names = [
        "etl/.env.production",
        "etl/.env",
        "etl/.env.development",
        "etl/env",
        "etl/.envs/x",
        "etl/sub/.env",
        ".env",
    ]
    build_tree(tmp_path, {f"flows/{name}": "" for name in names} | {".prefectignore": ".env*", "flows/etl/w.py": FLOW})
    (flow,) = discover(tmp_path)
    assert flow.env_files == ("flows/etl/.env", "flows/etl/.env.development", "flows/etl/.env.production")
