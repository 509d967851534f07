"""Diagnostics: the catalogue of codes in `codes.toml`, and the exception that carries diagnostics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from meta_flows.models import Diagnostic, Location, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
P = ParamSpec("P")

LONGEST = 500
"""How many characters of a message are shown: an import error can have 300,000."""


class Definition(NamedTuple):
    """One entry of the catalogue.

    Attributes:
        title: Short name of the code.
        message: What happened, to which object, why; `message` and `remedy` are format strings over the same facts.
        remedy: How to fix it.
        example: Code or a command that causes it.
        severity: An `error` keeps the object that it names from being deployed, a `warning` does not.
        can_be_ignored: Whether `ignore:` may name it: a rule that can be wrong about a flow.
        exit_code: Exit code of a command that fails with it: 1 for something invalid or failed, 2 for wrong use.
    """

    title: str
    message: str
    remedy: str
    example: str
    severity: Literal["error", "warning"] = "error"
    can_be_ignored: bool = False
    exit_code: int = 1


@cache
def catalogue() -> Mapping[str, Definition]:
    """Return the definition of each code."""
    text = files("meta_flows.diagnostics").joinpath("codes.toml").read_text(encoding="utf-8")
    return {code: Definition(**entry) for code, entry in tomllib.loads(text).items()}


def diagnostic(code: str, place: Location | None = None, **facts: object) -> Diagnostic:
    """Return the diagnostic of a code, its message and remedy filled in with `facts`."""
    definition = catalogue()[code]
    message = printable(definition.message.format(**facts))
    return Diagnostic(
        code=code,
        message=message if len(message) <= LONGEST else f"{message[:LONGEST]}... ({len(message)} characters)",
        remedy=printable(definition.remedy.format(**facts)),
        file_path=place.path if place else None,
        line_number=place.line if place else None,
        column_number=place.column if place else None,
        severity=definition.severity,
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the nearest of `known`, or an empty string."""
    nearest = get_close_matches(word, list(known), n=1)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


class MetaFlowsError(Exception):
    """One or more diagnostics stop an operation; `errors` holds all of them."""

    def __init__(self, errors: Iterable[Diagnostic]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

    @property
    def exit_code(self) -> int:
        """Exit code of a command that fails with this: 1 for something invalid or failed, 2 for wrong use."""
        return max((catalogue()[error.code].exit_code for error in self.errors), default=1)


def refuse(code: str, place: Location | None = None, **facts: object) -> MetaFlowsError:
    """Return the exception for one diagnostic; the caller raises it."""
    return MetaFlowsError([diagnostic(code, place, **facts)])


def result_or_error(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | MetaFlowsError:
    """Call a function and return its result, or the MetaFlowsError that it raises."""
    try:
        return function(*args, **kwargs)
    except MetaFlowsError as error:
        return error


def error_summary(error: BaseException) -> str:
    """Return an exception's cause in one line."""
    if isinstance(error, MetaFlowsError):
        return "; ".join(item.message for item in error.errors)
    return f"{type(error).__name__}: {error}"
