"""An image's tag changes exactly when what the image is made of does, and its Dockerfile is understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_flows.configuration import load_environment
from meta_flows.diagnostics import MetaFlowsError
from meta_flows.discovery import discover
from meta_flows.images import BuildContext, Image, describe_image
from meta_flows.images.dockerfiles import read_dockerfile
from tests.trees import build_tree

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE} AS installed
COPY requirements.txt .
RUN pip install -r requirements.txt

FROM ${BASE_IMAGE}
COPY --from=installed /usr/local /usr/local
WORKDIR /app
COPY shared shared
COPY flows/%s flows/%s
USER 1000
"""
FLOW = "from prefect import flow\n\n@flow\ndef {name}():\n    pass\n"

TREE: dict[str, str] = {
    "requirements.txt": "prefect\n",
    ".dockerignore": "**/secret*\n.git\n# a comment\n\n**/*.log\n!flows/a/kept.log\n",
    "shared/__init__.py": "",
    "shared/tools.py": "VALUE = 1\n",
    "docs/readme.md": "Hello.\n",
    "environments/development.yaml": "docker: {namespace: team}\n",
    **{
        path: content
        for name in ("a", "b")
        for path, content in {
            f"flows/{name}/Dockerfile": DOCKERFILE % (name, name),
            f"flows/{name}/workflow.py": FLOW.format(name=name),
            f"flows/{name}/data.csv": "1,2\n",
        }.items()
    },
}


def images(root: Path) -> dict[str, Image]:
    """The image of each flow of a tree, by the flow's name."""
    environment, context = load_environment(root), BuildContext(root)
    return {flow.name: describe_image(flow, environment, context) for flow in discover(root)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build_tree(tmp_path, TREE)
    return tmp_path


Change = Mapping[str, str]
CHANGES: dict[str, tuple[Change, set[str]]] = {
    "nothing": ({}, set()),
    "a flow's code": ({"flows/a/workflow.py": FLOW.format(name="a") + "\nX = 1\n"}, {"a"}),
    "another file of a flow": ({"flows/b/data.csv": "3,4\n"}, {"b"}),
    "a new file of a flow": ({"flows/b/new.csv": "3,4\n"}, {"b"}),
    "a shared module": ({"shared/tools.py": "VALUE = 2\n"}, {"a", "b"}),
    "what an earlier stage copies": ({"requirements.txt": "prefect\nhttpx\n"}, {"a", "b"}),
    "what nobody copies": ({"docs/readme.md": "Good bye.\n"}, set()),
    "a file that is ignored": ({"flows/a/secret.txt": "x", "flows/a/x.log": "x"}, set()),
    "a file that an ignore file takes back in": ({"flows/a/kept.log": "x"}, {"a"}),
    "the Dockerfile": ({"flows/a/Dockerfile": DOCKERFILE % ("a", "a") + "ENV X=1\n"}, {"a"}),
    "a build argument that is taken": (
        {"environments/development.yaml": "docker: {build_args: {BASE_IMAGE: p:1}}"},
        {"a", "b"},
    ),
    "a build argument that nobody takes": (
        {"environments/development.yaml": "docker: {build_args: {OTHER: p:1}}"},
        set(),
    ),
    "the platform": ({"environments/development.yaml": "docker: {platform: linux/arm64}"}, {"a", "b"}),
    "the registry": ({"environments/development.yaml": "docker: {registry: registry.example.com}"}, set()),
}


@pytest.mark.parametrize(("change", "another"), CHANGES.values(), ids=CHANGES.keys())
def test_the_tag_changes_exactly_for_what_the_image_is_made_of(root: Path, change: Change, another: set[str]) -> None:
    before = images(root)
    build_tree(root, change)
    after = images(root)
    assert {name for name in before if before[name].tag != after[name].tag} == another


def test_an_executable_bit_and_where_a_link_leads_belong_to_the_content(root: Path) -> None:
    tags = [images(root)["a"].tag]
    (root / "flows/a/data.csv").chmod(0o755)
    tags.append(images(root)["a"].tag)
    (root / "flows/a/link").symlink_to("data.csv")
    tags.append(images(root)["a"].tag)
    (root / "flows/a/link").unlink()
    (root / "flows/a/link").symlink_to("workflow.py")
    tags.append(images(root)["a"].tag)
    assert len(set(tags)) == len(tags)


def test_two_checkouts_of_one_content_agree(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_tree(tmp_path / name, TREE)
    assert images(tmp_path / "one")["a"].tag == images(tmp_path / "two")["a"].tag


def test_flows_that_share_a_dockerfile_share_the_image(root: Path) -> None:
    build_tree(root, {"flows/a/other.py": FLOW.format(name="other")})
    found = images(root)
    assert found["other"] == found["a"] != found["b"]


NAMES: dict[str, tuple[Mapping[str, Any], Mapping[str, str], str, str]] = {
    "as a file says": ({"namespace": "team"}, {}, "team/a", "dev"),
    "in a registry": ({"registry": "registry.example.com/x/"}, {}, "registry.example.com/x/flows/a", "dev"),
    "another moving tag": ({"tag": "latest"}, {}, "flows/a", "latest"),
    "the shell goes before the file": (
        {"registry": "one", "namespace": "team", "tag": "latest"},
        {"DOCKER_REGISTRY": "localhost:5000", "DOCKER_NAMESPACE": "mine", "DOCKER_TAG": "mine"},
        "localhost:5000/mine/a",
        "mine",
    ),
}


@pytest.mark.parametrize(("docker", "shell", "repository", "tag"), NAMES.values(), ids=NAMES.keys())
def test_the_name_is_registry_namespace_and_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, docker: Any, shell: Any, repository: str, tag: str
) -> None:
    build_tree(root, {"environments/development.yaml": yaml.safe_dump({"docker": docker})})
    for key, value in shell.items():
        monkeypatch.setenv(key, value)
    image = images(root)["a"]
    assert (image.repository, image.moving_tag) == (repository, tag)
    assert image.name == f"{repository}:{image.tag}"
    assert len(image.tag) == 12


PLACES: dict[str, tuple[str, str, set[str]]] = {
    "a folder's content goes into the target": ("COPY flows/a /app/x", "flows/a/in/w.py", {"/app/x/in/w.py"}),
    "everything": ("WORKDIR /app\nCOPY . .", "flows/a/w.py", {"/app/flows/a/w.py"}),
    "a file into a folder": ("COPY flows/a/w.py /app/", "flows/a/w.py", {"/app/w.py"}),
    "a file by another name": ("COPY flows/a/w.py /app/v.py", "flows/a/w.py", {"/app/v.py"}),
    "several into a folder": ("COPY a.py b.py /app", "b.py", {"/app/b.py"}),
    "a glob": ("COPY flows/*/w.py /app/", "flows/a/w.py", {"/app/w.py"}),
    "a glob over folders": ("COPY flows/* /app/", "flows/a/w.py", {"/app/w.py"}),
    "a glob does not reach deeper": ("COPY *.py /app/", "flows/w.py", set()),
    "a list": ('COPY ["a b.py", "/app/"]', "a b.py", {"/app/a b.py"}),
    "over several lines": ("COPY a.py \\\n  b.py \\\n  /app/", "a.py", {"/app/a.py"}),
    "relative to the working directory": ("WORKDIR /x\nWORKDIR y\nCOPY a.py ./", "a.py", {"/x/y/a.py"}),
    "with flags": ("COPY --chown=1:1 --chmod=644 a.py /app/", "a.py", {"/app/a.py"}),
    "a variable": ("ENV HERE=/app\nCOPY a.py ${HERE}/", "a.py", {"/app/a.py"}),
    "a variable's default": ("ARG HERE\nCOPY a.py ${HERE:-/app}/", "a.py", {"/app/a.py"}),
    "twice": ("COPY a.py /app/\nADD . /srv", "a.py", {"/app/a.py", "/srv/a.py"}),
    "not its neighbours": ("COPY flows/a /app", "flows/ab/w.py", set()),
    "from an address": ("ADD https://example.com/a.py /app/", "a.py", set()),
    "from another image": ("COPY --from=python:3.12 a.py /app/", "a.py", set()),
    "by way of another stage": (
        "COPY flows /srv/flows\nFROM scratch\nCOPY --from=first /srv/flows/a /app",
        "flows/a/w.py",
        {"/app/w.py"},
    ),
    "by way of a stage's number": ("COPY a.py /srv/\nFROM scratch\nCOPY --from=0 /srv /app", "a.py", {"/app/a.py"}),
    "a stage on top of another": ("WORKDIR /app\nCOPY . .\nFROM first\nUSER 1", "a.py", {"/app/a.py"}),
    "a stage that is left behind": ("COPY . /app\nFROM scratch", "a.py", set()),
}


@pytest.mark.parametrize(("text", "path", "places"), PLACES.values(), ids=PLACES.keys())
def test_where_a_file_ends_up_is_known_without_a_build(tmp_path: Path, text: str, path: str, places: set[str]) -> None:
    build_tree(tmp_path, {"Dockerfile": f"FROM scratch AS first\n{text}\n"})
    assert read_dockerfile(tmp_path, "Dockerfile", {}).places(path) == places


def _without(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def _with(path: str, content: str) -> Callable[[Path], None]:
    return lambda root: [build_tree(root, {path: content})].clear()


WRONG: dict[str, tuple[Callable[[Path], None], str, str | None, int | None]] = {
    "no Dockerfile": (_without("flows/a/Dockerfile"), "MF604", "flows/a/workflow.py", 4),
    "an instruction that there is none of": (
        _with("flows/a/Dockerfile", "FROM scratch\n\nCOPPY . .\n"),
        "MF602",
        "flows/a/Dockerfile",
        3,
    ),
    "no FROM": (_with("flows/a/Dockerfile", "# nothing\n"), "MF602", "flows/a/Dockerfile", None),
    "something before FROM": (_with("flows/a/Dockerfile", "WORKDIR /app\n"), "MF602", "flows/a/Dockerfile", 1),
    "a base without a value": (
        _with("flows/a/Dockerfile", "ARG BASE\nFROM ${BASE}\n"),
        "MF602",
        "flows/a/Dockerfile",
        2,
    ),
    "a COPY without a target": (
        _with("flows/a/Dockerfile", "FROM scratch\nCOPY .\n"),
        "MF602",
        "flows/a/Dockerfile",
        2,
    ),
    "not text": (_with("flows/a/Dockerfile", ""), "MF602", "flows/a/Dockerfile", None),
    "another working directory": (
        _with("flows/a/Dockerfile", "FROM scratch\nWORKDIR /srv\nCOPY flows/a .\n"),
        "MF603",
        "flows/a/workflow.py",
        4,
    ),
    "code that is not copied": (
        _with("flows/a/Dockerfile", "FROM scratch\nWORKDIR /app\nCOPY shared shared\n"),
        "MF603",
        "flows/a/workflow.py",
        4,
    ),
    "code that is ignored": (_with(".dockerignore", "flows/*/*.py\n"), "MF603", "flows/a/workflow.py", 4),
}


@pytest.mark.parametrize(("spoil", "code", "path", "line"), WRONG.values(), ids=WRONG.keys())
def test_what_could_not_run_is_refused_before_a_build(
    root: Path, spoil: Callable[[Path], None], code: str, path: str | None, line: int | None
) -> None:
    spoil(root)
    flow = next(flow for flow in discover(root) if flow.name == "a")
    with pytest.raises(MetaFlowsError) as refused:
        describe_image(flow, load_environment(root), BuildContext(root))
    [error] = refused.value.errors
    assert (error.code, error.file_path, error.line_number) == (code, path, line)
