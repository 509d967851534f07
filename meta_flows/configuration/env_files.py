"""`.env` files beside a flow: plain settings of its runs, never secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

from meta_flows.configuration.environment import Environment
from meta_flows.configuration.reading import display_path, read_text
from meta_flows.configuration.secrets import looks_secret
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, FlowMetadata, Location, kebab


class Variable(NamedTuple):
    """One line of an env file; `value` is None and `key` the whole text if it is not KEY=VALUE."""

    key: str
    value: str | None
    place: Location


def load_env_file(
    flow: FlowMetadata, environment: Environment, root: Path, allowed: Collection[str] = ()
) -> dict[str, str]:
    """Read the variables of `.env`, then `.env.<short name>`, then `.env.<environment>`; the later file wins.

    Values stay as written: no variable of the deploying shell is substituted. `allowed` are dotted paths of values
    that only look secret, such as `job_variables.env.KEY`.

    Raises:
        MetaFlowsError: For each line that is not KEY=VALUE, each key that a file sets to two values, and each value
            that looks secret.
    """
    values: dict[str, str] = {}
    errors: list[Diagnostic] = []
    for name in dict.fromkeys((".env", f".env.{environment.short_name}", f".env.{environment.name}")):
        path = (root / flow.path).with_name(name)
        first: dict[str, Variable] = {}
        for variable in read_env_file(path, root) if is_there(path) else ():
            key, value, place = variable
            secret_path = f"job_variables.env.{key}"
            if value is None:
                detail = "a quote is not closed, or something follows it" if "=" in key else "there is no '='"
                errors.append(diagnostic("MF302", place, detail=detail))
            elif first.setdefault(key, variable).value != value:
                errors.append(diagnostic("MF304", place, key=key, first=first[key].place.line))
            elif looks_secret(key, value) and secret_path not in allowed:
                errors.append(diagnostic("MF301", place, key=key, block=kebab(key), path=secret_path))
            else:
                values[key] = value
    if errors:
        raise MetaFlowsError(errors)
    return values


def read_env_file(path: Path, root: Path) -> Iterator[Variable]:
    """Yield each line of an env file that is neither empty nor a comment; raise MetaFlowsError if it is unreadable."""
    for binding in parse_stream(StringIO(read_text(path, root))):
        text = binding.original.string
        blank_lines = text[: len(text) - len(text.lstrip())].count("\n")
        place = Location(path=display_path(path, root), line=binding.original.line + blank_lines)
        if binding.error or (binding.key and binding.value is None):
            yield Variable(text.strip(), None, place)
        elif binding.key:
            yield Variable(binding.key, binding.value, place)
