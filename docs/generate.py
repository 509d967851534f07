"""Writes docs/reference/ and docs/schemas/ from the code, so that they say what the code does: `make docs`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import BaseModel

from meta_flows.cli import app
from meta_flows.configuration import Environment, FlowFile, Template
from meta_flows.configuration.settings import Settings
from meta_flows.diagnostics import catalogue

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
SCHEMAS = REPOSITORY / "docs" / "schemas"
NOTICE = "<!-- Made by `make docs` from the code; changes made here are overwritten. -->\n\n"
FILES: dict[str, type[BaseModel]] = {
    "environments/<environment>.yaml": Environment,
    "deployment.yaml": FlowFile,
    "environments/templates/<kind>.yaml": Template,
}
MODELS: dict[str, type[BaseModel]] = {
    "environment.schema.json": Environment,
    "deployment.schema.json": FlowFile,
    "template.schema.json": Template,
}
PREFECT_VARIABLES = {
    "PREFECT_API_URL": "Server to use; see [which server wins](../setup.md#which-server).",
    "PREFECT_API_KEY": "Key for a server that wants one.",
    "PREFECT_API_AUTH_STRING": "`user:password` for a server with basic authentication.",
    "PREFECT_UI_URL": "Where people reach the UI, for links; found by itself unless set.",
    "PREFECT_HOME": "Folder of the local server's database, log and process id.",
}


def pages() -> dict[str, str]:
    """The text of each page, by its path in docs/."""
    made = {
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "troubleshooting/errors.md": errors(),
    }
    return {name: f"{NOTICE}{_trimmed(text)}\n" for name, text in made.items()}


def _trimmed(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip()


def _shown(text: str) -> str:
    """Text with its angle brackets shown: Markdown takes `<env>` for HTML and drops it."""
    return _outside_code(text, lambda part: part.replace("<", "\\<"))


def commands() -> str:
    """Every Makefile target and every command."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    variables = "\n".join(re.findall(r"^#   (.*)$", makefile, flags=re.MULTILINE))
    targets = re.findall(r"^([a-z0-9%. -]+):.*?## (.*?)(?: \[(.*)\])?$", makefile, flags=re.MULTILINE)
    rows = [(_targets(names), _shown(meaning), _code(accepted)) for names, meaning, accepted in targets]
    return "\n\n".join(
        [
            "# Commands",
            "Each target that touches deployments is one `meta-flows` command. "
            "What exit codes mean is in [concepts](../concepts.md#states-and-exit-codes).",
            "## Makefile",
            _rows("target", "what it does", "variables", rows=rows),
            f"Variables by example:\n\n```\n{variables}\n```",
            _shown(_quiet(app.generate_docs(output_format="markdown", heading_level=2))),
        ]
    )


def _targets(names: str) -> str:
    return ", ".join(_code(f"make {name}".replace("%", "<flow>")) for name in names.split())


def _quiet(text: str) -> str:
    """The generated reference without what says nothing: negative flags, empty defaults, a list of its headings."""
    text = re.sub(r"## Table of Contents\n.*?(?=\*\*Commands\*\*)", "", text, flags=re.DOTALL)
    text = re.sub(r", --(no|empty)-[\w-]+", "", text)
    return re.sub(r" \*\[default: (\(\)|False)\]\*", "", text)


def configuration() -> str:
    """Every key of every file, and every variable of the shell."""
    schemas = {file: model.model_json_schema() for file, model in FILES.items()}
    parts = {name: part for schema in schemas.values() for name, part in schema.get("$defs", {}).items()}
    every_flow = schemas["deployment.yaml"]["properties"]
    ours = [(_code(name.upper()), _described(Settings, name)) for name in Settings.model_fields]
    theirs = [(_code(name), meaning) for name, meaning in PREFECT_VARIABLES.items()]
    return "\n\n".join(
        [
            "# Configuration",
            "Later wins: built-in defaults, `environments/defaults.yaml`, `environments/<environment>.yaml`, the top "
            "of `deployment.yaml`, its section `flows.<name>`, the sections `environments.<environment>` of both, "
            "command line. "
            "Mappings are merged key by key; everything else is replaced. "
            "`meta-flows config show` prints what comes out, and where each value was said. "
            "An unknown key is an [error](../troubleshooting/errors.md#mf202-unknown-key).",
            *(f"## `{file}`\n\n{_section(schema, parts)}" for file, schema in schemas.items()),
            "## Parts of these files",
            *(
                f"### {name}\n\n{_variant(part, every_flow) or _section(part, parts)}"
                for name, part in sorted(parts.items())
            ),
            "## Shell",
            _rows("variable", "meaning", rows=[*ours, *theirs]),
            "All other variables of Prefect mean what they mean to Prefect.",
        ]
    )


def _section(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    rows = [
        (_code(name), " or ".join(dict.fromkeys(_types(field))), _default(schema, name), _meaning(field, parts))
        for name, field in schema["properties"].items()
    ]
    return f"{schema.get('description', '')}\n\n{_rows('key', 'type', 'default', 'meaning', rows=rows)}"


def _variant(part: Mapping[str, Any], every_key: Mapping[str, Any]) -> str:
    """One sentence on a part that has most keys of `deployment.yaml` and no others."""
    missing = [_code(key) for key in every_key if key not in part["properties"]]
    if not set(part["properties"]) <= set(every_key) or len(missing) > len(part["properties"]):
        return ""
    return f"{part['description']} Keys as in [`deployment.yaml`](#deploymentyaml), without {', '.join(missing)}."


def _default(schema: Mapping[str, Any], name: str) -> str:
    if name in schema.get("required", ()):
        return "*required*"
    field = schema["properties"][name]
    default = field.get("default")
    if default is None or isinstance(default, dict) or "unless set" in field.get("description", ""):
        return ""  # its meaning, or its part, says more
    return _code(default if isinstance(default, str) else json.dumps(default))


def _meaning(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    part = parts.get(field.get("$ref", "").rpartition("/")[2], {})
    return str(field.get("description") or part.get("description", "")).replace("\n", " ")


def _types(field: Mapping[str, Any]) -> Iterator[str]:
    words = {"string": "text", "boolean": "true or false", "integer": "whole number", "object": "mapping"}
    for option in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from _types(option)
    kind = field.get("type", "null")
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    elif "enum" in field or "const" in field:
        yield ", ".join(_code(value) for value in field.get("enum", [field.get("const")]))
    elif kind == "array":
        yield f"list of {' or '.join(_types(field.get('items', {}))) or 'anything'}"
    elif kind == "object" and isinstance(inner := _values(field), dict):
        yield f"mapping to {' or '.join(_types(inner))}"
    else:
        yield from (words.get(name, name) for name in ([kind] if isinstance(kind, str) else kind) if name != "null")


def _values(field: Mapping[str, Any]) -> Any:
    """The schema of a mapping's values, if there is one."""
    return next(iter(field.get("patternProperties", {}).values()), field.get("additionalProperties"))


def _described(model: type[Settings], name: str) -> str:
    found = re.search(rf"^ *{name}: (.*)$", model.__doc__ or "", flags=re.MULTILINE)
    return _meaning({"description": found[1] if found else ""}, {})


def errors() -> str:
    """Every error code, with what it says and how to mend it."""
    parts = [
        "# Errors",
        "Every error has a stable code, the place it is about, its cause and a remedy. "
        "Words in *italics* stand for what is filled in. A warning refuses nothing. "
        "What can be ignored is so by `ignore: [MF121]` in a flow's `deployment.yaml` or in an environment's file. "
        "What to do about a symptom that comes without a code is in [troubleshooting](README.md).",
    ]
    for code, entry in catalogue().items():
        ignored = ", can be ignored" if entry.can_be_ignored else ""
        kind = f"{entry.severity.capitalize()}{ignored}"
        example = f"```\n{entry.example}\n```"
        mended = f"{_plain(entry.remedy)} *{kind}.*"
        parts.append(f"## {code}: {entry.title}\n\n> {_plain(entry.message)}\n\n{example}\n\n{mended}")
    return "\n\n".join(parts)


def _plain(template: str) -> str:
    """A message as Markdown, each fact shown by its name: *path*, and `<path>` within code."""
    filled = "".join(literal + (f"<{fact}>" if fact else "") for literal, fact, *_ in Formatter().parse(template))
    return _outside_code(filled, lambda text: re.sub(r"<(\w+)>", r"*\1*", re.sub(r"([*_])", r"\\\1", text)))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Text with what is no code in it changed."""
    parts = re.split(r"(```.*?```|`[^`]*`)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else change(part) for part in parts)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _rows(*columns: str, rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [columns, ["---"] * len(columns), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of what a file may state, by which editors complete and check it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


if __name__ == "__main__":
    written = {DOCS / name: text for name, text in pages().items()}
    written |= {
        SCHEMAS / name: json.dumps(json_schema(model), indent=2, sort_keys=True) + "\n"
        for name, model in MODELS.items()
    }
    for path, text in written.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
