"""Rules on environment variables: what a flow's example file asks for is stated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meta_flows.configuration import ConfiguredFlow, Environment, read_env_file
from meta_flows.discovery.tree import join, parent
from meta_flows.errors import diagnostic
from meta_flows.models import Diagnostic

EXAMPLES = (".env.example", ".env.sample", ".env.template")


def check_variables(item: ConfiguredFlow, environment: Environment, root: Path) -> Iterator[Diagnostic]:
    """Variables of the example file that neither an env file nor a job variable states.

    Raises:
        MetaFlowsError: The file cannot be read.
    """
    folder = parent(item.flow.path)
    example = next((join(folder, name) for name in EXAMPLES if join(folder, name) in item.flow.env_files), None)
    if example is None:
        return
    stated = {*item.env_file, *(key for options in item.configuration.kinds.values() for key in env_of(options))}
    facts = {"example": example, "environment": environment.name, "file": join(folder, f".env.{environment.name}")}
    for key, _, place in read_env_file(root / example, root):
        if re.fullmatch(r"\w+", key) and key not in stated:
            yield diagnostic("MF305", place, key=key, **facts)


def env_of(options: Any) -> Mapping[str, Any]:
    """The environment variables that are stated for a kind."""
    env = options.job_variables.get("env")
    return env if isinstance(env, Mapping) else {}
