"""What is wrong, from the catalogue, and the exception that carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from meta_flows.catalogue import catalogue
from meta_flows.models import Diagnostic, Location, printable

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
