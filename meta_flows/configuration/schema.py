"""JSON Schemas of the files, by which editors complete and check them; `python -m meta_flows.configuration.schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from meta_flows.configuration.environment import Environment
from meta_flows.configuration.flow_file import FlowFile
from meta_flows.configuration.templates import Template

FOLDER = Path("docs/schemas")
MODELS: dict[str, type[BaseModel]] = {
    "environment.schema.json": Environment,
    "deployment.schema.json": FlowFile,
    "template.schema.json": Template,
}


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of what a file may state."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def write(root: Path) -> None:
    """Write all schemas into a repository."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, model in MODELS.items():
        text = json.dumps(json_schema(model), indent=2, sort_keys=True)
        (root / FOLDER / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path())
