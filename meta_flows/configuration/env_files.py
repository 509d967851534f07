"""`.env` files beside a flow: plain settings of its runs, and no place for secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

from meta_flows.configuration.environment import Environment
from meta_flows.configuration.reading import place_path, read_text
from meta_flows.configuration.secrets import looks_secret
from meta_flows.diagnostics import MetaFlowsError, diagnostic
from meta_flows.files import is_there
from meta_flows.models import Diagnostic, FlowMetadata, Location, kebab


class Variable(NamedTuple):
    """One line of an env file; without a value where it is not KEY=VALUE."""

    key: str
    value: str | None
    place: Location


def load_env_file(
    flow: FlowMetadata, environment: Environment, root: Path, allowed: Collection[str] = ()
) -> dict[str, str]:
    """The variables of `.env` and, on top of it, of `.env.<environment>`; its short name will do as well.

    Values are taken as written: nothing of the shell that deploys gets into them.

    Args:
        flow: The flow.
        environment: Where it goes.
        root: The repository.
        allowed: Dotted paths of values that are no secrets, such as `job_variables.env.KEY`.

    Raises:
        MetaFlowsError: For each line that is no KEY=VALUE, each key that a file states twice, and each value that
            looks secret.
    """
    values: dict[str, str] = {}
    errors: list[Diagnostic] = []
    for name in dict.fromkeys((".env", f".env.{environment.short_name}", f".env.{environment.name}")):
        path = (root / flow.path).with_name(name)
        first: dict[str, tuple[str, Location]] = {}
        for key, value, place in read_env_file(path, root) if is_there(path) else ():
            if value is None:
                detail = "a quote is not closed, or something follows it" if "=" in key else "there is no '='"
                errors.append(diagnostic("MF302", place, detail=detail))
            elif first.setdefault(key, (value, place))[0] != value:
                errors.append(diagnostic("MF304", place, key=key, first=first[key][1].line))
            elif looks_secret(key, value) and (at := f"job_variables.env.{key}") not in allowed:
                errors.append(diagnostic("MF301", place, key=key, block=kebab(key), path=at))
            else:
                values[key] = value
    if errors:
        raise MetaFlowsError(errors)
    return values


def read_env_file(path: Path, root: Path) -> Iterator[Variable]:
    """Every line of an env file that is neither empty nor a comment; the text of one that is not KEY=VALUE as its key.

    Raises:
        MetaFlowsError: It cannot be read.
    """
    for binding in parse_stream(StringIO(read_text(path, root))):
        text = binding.original.string
        blank_lines = text[: len(text) - len(text.lstrip())].count("\n")
        place = Location(path=place_path(path, root), line=binding.original.line + blank_lines)
        if binding.error or (binding.key and binding.value is None):
            yield Variable(text.strip(), None, place)
        elif binding.key:
            yield Variable(binding.key, binding.value, place)
