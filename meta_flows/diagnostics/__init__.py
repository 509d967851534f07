"""Diagnostics: the catalogue of codes in `codes.toml`, and the exception that carries what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from meta_flows.models import Diagnostic, Location, printable


class Definition(NamedTuple):
    """What a code means.

    Attributes:
        title: What it is called.
        message: What is said; `message` and `remedy` are format strings over the same facts.
        remedy: What to do about it.
        example: What brings it about.
        severity: An `error` refuses the thing it names, a `warning` only tells.
        can_be_ignored: Whether `ignore:` may name it: a rule that can be wrong about a flow.
        exit_code: What a command ends with that is refused by it: 1 for something invalid or failed, 2 for wrong use.
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
    """Return what each code means."""
    text = files("meta_flows.diagnostics").joinpath("codes.toml").read_text(encoding="utf-8")
    return {code: Definition(**entry) for code, entry in tomllib.loads(text).items()}


LONGEST = 500
"""How many characters of a message are shown: an import error can have 300,000."""


def diagnostic(code: str, place: Location | None = None, **facts: object) -> Diagnostic:
    """Fill in one entry of the catalogue.

    Args:
        code: Key of the catalogue.
        place: Where it is, if it stands in a file.
        **facts: What the entry's format strings name.
    """
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
    """`, did you mean 'x'?` for the nearest of `known`, or nothing."""
    from difflib import get_close_matches

    nearest = get_close_matches(word, list(known), n=1)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


class MetaFlowsError(Exception):
    """Something was refused; `errors` says all that is wrong, each with its code, place and remedy."""

    def __init__(self, errors: Iterable[Diagnostic]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

    @property
    def exit_code(self) -> int:
        """What a command ends with: 1 for something invalid or failed, 2 for wrong use."""
        return max((catalogue()[error.code].exit_code for error in self.errors), default=1)


def refuse(code: str, place: Location | None = None, **facts: object) -> MetaFlowsError:
    """The exception for one entry of the catalogue."""
    return MetaFlowsError([diagnostic(code, place, **facts)])


T = TypeVar("T")
P = ParamSpec("P")


def outcome(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | MetaFlowsError:
    """What a function returns, or why it refuses."""
    try:
        return function(*args, **kwargs)
    except MetaFlowsError as error:
        return error


def error_summary(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, MetaFlowsError):
        return "; ".join(item.message for item in error.errors)
    return f"{type(error).__name__}: {error}"
