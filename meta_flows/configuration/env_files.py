"""`.env` files beside a flow: plain settings of its runs, and no place for secrets."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from meta_flows.configuration.environment import Environment
from meta_flows.configuration.reading import place_path, read_text
from meta_flows.configuration.secrets import looks_secret
from meta_flows.errors import MetaFlowsError, problem
from meta_flows.models import FlowMetadata, Place, ValidationError, kebab


def load_env_file(flow: FlowMetadata, environment: Environment, root: Path) -> dict[str, str]:
    """The variables of `.env` and, on top of it, of `.env.<environment>`; its short name will do as well.

    Values are taken as written: nothing of the shell that deploys gets into them.

    Raises:
        MetaFlowsError: For each line that is no KEY=VALUE, and for each value that looks secret.
    """
    values: dict[str, str] = {}
    errors: list[ValidationError] = []
    for name in dict.fromkeys((".env", f".env.{environment.short_name}", f".env.{environment.name}")):
        path = (root / flow.path).with_name(name)
        for binding in parse_stream(StringIO(read_text(path, root))) if path.is_file() else ():
            text = binding.original.string
            blank_lines = text[: len(text) - len(text.lstrip())].count("\n")
            place = Place(path=place_path(path, root), line=binding.original.line + blank_lines)
            if binding.error or (binding.key and binding.value is None):
                detail = "a quote is not closed, or something follows it" if "=" in text else "there is no '='"
                errors.append(problem("MF302", place, detail=detail))
            elif binding.key and looks_secret(binding.key, binding.value):
                errors.append(problem("MF301", place, key=binding.key, block=kebab(binding.key)))
            elif binding.key:
                values[binding.key] = binding.value or ""
    if errors:
        raise MetaFlowsError(errors)
    return values
