"""Whatever stands in a file: it is configuration, or what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meta_flows.configuration import (
    Environment,
    FlowConfiguration,
    FlowFile,
    Schedule,
    Template,
    explain,
    flow_configuration,
    load_env_file,
    load_environment,
    load_template,
)
from meta_flows.diagnostics import MetaFlowsError
from tests.budgets import examples
from tests.unit.configuration.conftest import a_flow

WORDS = [
    *(key for model in (Environment, FlowFile, Schedule, Template) for key in model.model_fields),
    *(
        "python",
        "docker",
        "dev",
        "prod",
        "git",
        "local",
        "Sales",
        "type",
        "env",
        "limit",
        "memory",
        "cpu",
        "batch_size",
    ),
]
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-1, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=6)
)
_data = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
_files = st.dictionaries(st.sampled_from(WORDS), _data, max_size=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    (folder / "environments/templates").mkdir(parents=True)
    (folder / "flows/sales").mkdir(parents=True)
    return folder


def attempt(root: Path) -> Environment | FlowConfiguration:
    environment = load_environment(root, "development")
    explain(environment)
    load_template(root, "python")
    load_env_file(a_flow(), environment, root)
    configuration = flow_configuration(a_flow("batch_size"), environment, root)
    explain(configuration)
    return configuration


@examples(300)
@given(defaults=_files, environment=_files, template=_files, flow=_files, env_file=st.text(max_size=20))
def test_nothing_but_our_own_error_comes_of_it(
    root: Path, defaults: Any, environment: Any, template: Any, flow: Any, env_file: str
) -> None:
    layers: list[tuple[Any, ...]] = [
        (defaults, environment, template, flow),
        ({}, {}, {}, flow),
        (defaults, environment, {}, {}),
    ]
    for stated in layers:
        names = ("defaults", "development", "templates/python")
        paths = [*(root / f"environments/{name}.yaml" for name in names), root / "flows/sales/deployment.yaml"]
        for path, data in zip(paths, stated, strict=True):
            path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        (root / "flows/sales/.env").write_text(env_file, encoding="utf-8", errors="surrogatepass", newline="")
        try:
            assert attempt(root)
        except MetaFlowsError as refused:
            assert refused.errors
            assert all(error.file_path for error in refused.errors)
