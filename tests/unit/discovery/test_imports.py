"""Which modules of the repository a flow imports, and which distributions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from meta_flows.discovery import discover
from tests.trees import build_tree

FLOW = "from prefect import flow\n@flow\ndef etl(): pass\n"
ENTRY = "flows/etl/workflow.py"


def local_modules(root: Path) -> set[str]:
    """What the only flow imports besides its own file."""
    (flow,) = (flow for flow in discover(root) if flow.path == ENTRY)
    assert flow.local_modules == tuple(sorted(flow.local_modules))
    return {*flow.local_modules} - {ENTRY}


def dependencies(tmp_path: Path, code: str) -> tuple[str, ...]:
    (flow,) = discover(build_tree(tmp_path, {ENTRY: FLOW + code}))
    return tuple(name for name in flow.dependencies if name != "prefect")


PACKAGE = {
    "pkg/__init__.py": "",
    "pkg/a.py": "x = 1",
    "pkg/b.py": "from . import c",
    "pkg/c.py": "",
    "pkg/sub/__init__.py": "",
    "pkg/sub/d.py": "from ..a import x",
    "pkg/sub/e.py": "from .. import b as other",
}

# What the flow's file says, which files there are (empty, where only their names are given), which of them come in.
SHAPES: dict[str, tuple[str, str | Mapping[str, str | Path], str]] = {
    "module": ("import top", "top.py", "top.py"),
    "module under another name": ("import top as t", "top.py", "top.py"),
    "beside the flow": ("import near", "flows/etl/near.py", "flows/etl/near.py"),
    "beside before above": ("import m", "m.py flows/etl/m.py", "flows/etl/m.py"),
    "in src": ("import p.m", "src/p/__init__.py src/p/m.py", "src/p/__init__.py src/p/m.py"),
    "root before src": ("import lib", "src/lib.py lib.py", "lib.py"),
    "relative": ("from . import near", "flows/etl/near.py", "flows/etl/near.py"),
    "relative name": ("from .near import x", {"flows/etl/near.py": "x = 1"}, "flows/etl/near.py"),
    "relative, from the root": ("from . import top", "top.py", "top.py"),
    "relative, nearest": ("from . import m", "m.py flows/etl/m.py", "flows/etl/m.py"),
    "namespace": ("import shared.db.core", "shared/db/core.py", "shared/db/core.py"),
    "namespace submodule": ("from shared import db", "shared/db.py shared/x.py", "shared/db.py"),
    "namespace in two places": ("import n.a, n.b", "flows/etl/n/a.py n/b.py", "flows/etl/n/a.py n/b.py"),
    "package before namespace": ("import p.m", "flows/etl/p/m.py p/__init__.py p/m.py", "p/__init__.py p/m.py"),
    "package before module": ("import p", "p.py p/__init__.py", "p/__init__.py"),
    "module before namespace": ("import p", "p.py p/x.py", "p.py"),
    "package": ("import pkg", PACKAGE, "pkg/__init__.py"),
    "submodule": ("import pkg.a", PACKAGE, "pkg/__init__.py pkg/a.py"),
    "from a package": ("from pkg import a", PACKAGE, "pkg/__init__.py pkg/a.py"),
    "from a package, no module": ("from pkg import x", PACKAGE, "pkg/__init__.py"),
    "transitive": ("from pkg import b", PACKAGE, "pkg/__init__.py pkg/b.py pkg/c.py"),
    "packages on the way": (
        "import pkg.sub.d",
        PACKAGE,
        "pkg/__init__.py pkg/sub/__init__.py pkg/sub/d.py pkg/a.py",
    ),
    "relative upwards": (
        "from pkg.sub import e",
        PACKAGE,
        "pkg/__init__.py pkg/sub/__init__.py pkg/sub/e.py pkg/b.py pkg/c.py",
    ),
    "subpackage by name": ("from pkg import sub", PACKAGE, "pkg/__init__.py pkg/sub/__init__.py"),
    "star over __all__": (
        "from p import *",
        {"p/__init__.py": "x = 1; __all__ = ['m', 'x']", "p/m.py": "", "p/n.py": ""},
        "p/__init__.py p/m.py",
    ),
    "cycle": ("import a", {"a.py": "import b", "b.py": "import a, flows.etl.workflow"}, "a.py b.py"),
    "in a function": ("def f():\n    import top", "top.py", "top.py"),
    "in a method": ("class A:\n    async def f(self):\n        with x:\n            import top", "top.py", "top.py"),
    "in a try": ("try:\n    import top\nexcept ImportError:\n    import near", "top.py near.py", "top.py near.py"),
    "in other blocks": (
        "for x in y:\n    import a\nelse:\n    import b\n"
        "try: pass\nfinally:\n    import c\n"
        "match x:\n    case 1:\n        import d",
        "a.py b.py c.py d.py",
        "a.py b.py c.py d.py",
    ),
    "for type checkers": ("from typing import *\nif TYPE_CHECKING:\n    import top", "top.py", "top.py"),
    "by import_module": (
        "import importlib\nx = [importlib.import_module('pkg.a')]",
        PACKAGE,
        "pkg/__init__.py pkg/a.py",
    ),
    "by bare import_module": ("from importlib import import_module\nimport_module('top')", "top.py", "top.py"),
    "by relative import_module": (
        "import importlib\nimportlib.import_module('.near', __name__)",
        "flows/etl/near.py",
        "flows/etl/near.py",
    ),
    "by relative import_module in a package": (
        "import p",
        {"p/__init__.py": "import importlib; importlib.import_module('.m', __name__)", "p/m.py": ""},
        "p/__init__.py p/m.py",
    ),
    "by __import__": ("__import__('top')", "top.py", "top.py"),
    "by a computed name": ("import importlib\nimportlib.import_module('to' + x)", "top.py", ""),
    "through a broken module": ("import one", {"one.py": "def (:", "two.py": ""}, "one.py"),
    "nothing of that name": ("import top.deeper.still\nfrom .nothing import x", "other.py", ""),
    "not below a module": ("import top.x", "top.py top/x.py", "top.py"),
    "not another flow's folder": ("import near", "flows/other/near.py", ""),
    "another flow": ("from flows.b.workflow import etl", {"flows/b/workflow.py": FLOW}, "flows/b/workflow.py"),
    "through a link": (
        "from common import m",
        {"shared/m.py": "", "flows/etl/common": Path("../../shared")},
        "flows/etl/common/m.py",
    ),
    "above the root": ("from ....x import y", "x.py", "x.py"),
}


def tree(files: str | Mapping[str, str | Path]) -> Mapping[str, str | Path]:
    return dict.fromkeys(files.split(), "") if isinstance(files, str) else files


@pytest.mark.parametrize(("code", "files", "expected"), SHAPES.values(), ids=SHAPES)
def test_the_import_closure(tmp_path: Path, code: str, files: str | Mapping[str, str | Path], expected: str) -> None:
    assert local_modules(build_tree(tmp_path, {**tree(files), ENTRY: FLOW + code})) == {*expected.split()}


def test_what_stands_beside_a_flow_serves_the_modules_that_it_imports(tmp_path: Path) -> None:
    """A shared module sees the importing flow's folder first on `sys.path`, so it differs from flow to flow."""
    build_tree(
        tmp_path,
        {
            "flows/a/workflow.py": FLOW + "import shared",
            "flows/a/settings.py": "",
            "flows/b/workflow.py": FLOW + "import shared",
            "shared.py": "import settings",
            "settings.py": "",
        },
    )
    a, b = discover(tmp_path)
    assert a.local_modules == ("flows/a/settings.py", "flows/a/workflow.py", "shared.py")
    assert b.local_modules == ("flows/b/workflow.py", "settings.py", "shared.py")


# What the flow's file says, which files there are, which of them come in, what is taken for third-party.
SHADOWS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "a local module hides an installed one": ("import httpx", "httpx.py", "httpx.py", ()),
    "a local package hides an installed one": ("import httpx.x", "httpx/__init__.py", "httpx/__init__.py", ()),
    "a folder without __init__ hides no installed one": ("import httpx.x", "httpx/x.py", "", ("httpx",)),
    "a local module hides a standard one": ("import statistics", "statistics.py", "statistics.py", ()),
    "a folder without __init__ hides no standard one": ("import statistics.x", "statistics/x.py", "", ()),
    "nothing hides a built-in module": ("import sys", "sys.py", "", ()),
    "nothing hides Prefect": ("import prefect.x", "prefect/__init__.py prefect/x.py", "", ()),
    "a folder without __init__ adds to an installed namespace": (
        "import opentelemetry.ours",
        "opentelemetry/ours.py",
        "opentelemetry/ours.py",
        (),
    ),
    "the rest of an installed namespace is installed": (
        "import opentelemetry.trace",
        "opentelemetry/ours.py",
        "",
        ("opentelemetry-api",),
    ),
    "a folder of other things is no module": ("import docker", "docker/Dockerfile", "", ("docker",)),
}


@pytest.mark.parametrize(("code", "files", "local", "outside"), SHADOWS.values(), ids=SHADOWS)
def test_a_local_name_wins_exactly_when_python_would_have_it(
    tmp_path: Path, code: str, files: str, local: str, outside: tuple[str, ...]
) -> None:
    assert local_modules(build_tree(tmp_path, {**tree(files), ENTRY: FLOW + code})) == {*local.split()}
    assert dependencies(tmp_path, code) == outside


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import json, os.path, __future__\nfrom collections import abc", ()),
        ("import yaml", ("pyyaml",)),
        ("from yaml.nodes import Node", ("pyyaml",)),
        ("import dateutil.parser", ("python-dateutil",)),
        ("import pydantic_settings", ("pydantic-settings",)),
        ("import _pytest", ("pytest",)),
        ("import sklearn, PIL, cv2", ("opencv-python", "pillow", "scikit-learn")),
        ("import not_there.at_all", ("not-there",)),
        ("import httpx\ndef f():\n    import httpx, anyio", ("anyio", "httpx")),
        ("__import__('not a name')\n__import__('')\n__import__('..')", ()),
    ],
)
def test_dependencies_are_distributions(tmp_path: Path, code: str, expected: tuple[str, ...]) -> None:
    assert dependencies(tmp_path, code) == expected


def test_dependencies_of_local_modules_count(tmp_path: Path) -> None:
    build_tree(
        tmp_path,
        {ENTRY: FLOW + "import one", "one.py": "import two", "two.py": "import yaml", "three.py": "import httpx"},
    )
    (flow,) = discover(tmp_path)
    assert flow.dependencies == ("prefect", "pyyaml")
