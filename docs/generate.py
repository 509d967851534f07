"""Writes docs/reference/ from the code, so that it says what the code does: `make docs`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meta_flows.cli import app
from meta_flows.configuration.environment import Environment
from meta_flows.configuration.flow_file import FlowFile
from meta_flows.configuration.templates import Template
from meta_flows.errors import CATALOGUE
from meta_flows.settings import Settings

HERE = Path(__file__).parent / "reference"
NOTICE = "<!-- Made by `make docs` from the code; changes made here are overwritten. -->\n\n"


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    made = {"commands.md": commands(), "configuration.md": configuration(), "errors.md": errors()}
    return {name: f"{NOTICE}{_trimmed(text)}\n" for name, text in made.items()}


def _trimmed(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip()


def commands() -> str:
    """Every Makefile target and every command."""
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z0-9% -]+):.*?## (.*)$", makefile, flags=re.MULTILINE)
    table = "\n".join(f"| `make {name}` | {words} |" for name, words in targets)
    reference = app.generate_docs(output_format="markdown", heading_level=2)
    return f"# Commands\n\n## Makefile\n\n| target | what it does |\n| --- | --- |\n{table}\n\n{reference}"


def configuration() -> str:
    """Every key of every file, and every variable of the shell."""
    parts = [
        "# Configuration",
        "Later wins: built-in defaults < `environments/defaults.yaml` < `environments/<environment>.yaml` < "
        "`deployment.yaml` < its `flows.<name>` section < their `environments.<environment>` sections < command line. "
        "Mappings are merged key by key, everything else is replaced. "
        "`meta-flows config show` prints what comes out, and where each value was said.",
    ]
    for title, model in (
        ("`environments/<environment>.yaml` and `environments/defaults.yaml`", Environment),
        ("`deployment.yaml`", FlowFile),
        ("`environments/templates/<kind>.yaml`", Template),
    ):
        schema = model.model_json_schema()
        parts += [f"## {title}", schema.get("description", ""), _table(schema)]
        parts += [
            f"### {name}\n\n{definition.get('description', '')}\n\n{_table(definition)}"
            for name, definition in sorted(schema.get("$defs", {}).items())
            if "properties" in definition
        ]
    rows = "\n".join(f"| `{name.upper()}` | {_described(Settings, name)} |" for name in Settings.model_fields)
    parts += ["## Shell", f"| variable | meaning |\n| --- | --- |\n{rows}"]
    parts += ["Prefect's own variables, e.g. `PREFECT_API_URL` and `PREFECT_API_KEY`, mean what they mean to Prefect."]
    return "\n\n".join(parts)


def _table(schema: dict[str, Any]) -> str:
    rows = []
    for name, field in schema["properties"].items():
        default = "" if name in schema.get("required", ()) or field.get("default") is None else f"`{field['default']}`"
        types = " or ".join(dict.fromkeys(_types(field)))
        rows.append(f"| `{name}` | {types} | {default} | {field.get('description', '')} |")
    return "| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(rows).replace("\n\n", " ")


def _types(field: dict[str, Any]) -> Iterator[str]:
    for option in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from _types(option)
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    elif "enum" in field or "const" in field:
        yield ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    elif field.get("type") == "array":
        yield f"list of {' or '.join(_types(field.get('items', {}))) or 'anything'}"
    elif field.get("type") == "object":
        yield "mapping"
    elif field.get("type", "null") != "null":
        yield {"string": "text", "boolean": "true or false"}.get(field["type"], field["type"])


def _described(model: type[Settings], name: str) -> str:
    found = re.search(rf"^ *{name}: (.*)$", model.__doc__ or "", flags=re.MULTILINE)
    return found[1] if found else ""


def errors() -> str:
    """Every error code, with what it says and how to mend it."""
    parts = ["# Errors", "Every error has a stable code, the place it is about, its cause and a remedy."]
    for code, entry in CATALOGUE.items():
        parts.append(f"## {code}: {entry.title}\n\n> {_plain(entry.message)}\n\n{_plain(entry.remedy)}")
    return "\n\n".join(parts)


def _plain(template: str) -> str:
    """A message with each fact shown by its name, e.g. *path*."""
    shown = re.sub(r"(?<!\{)\{(\w+)(![rs])?(:[^}]*)?\}(?!\})", r"*\1*", template)
    return shown.replace("{{", "{").replace("}}", "}")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
