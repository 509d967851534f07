"""The catalogue of everything that can be wrong, which stands in `codes.toml`."""

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
    text = files("meta_flows").joinpath("codes.toml").read_text(encoding="utf-8")
    return {code: Definition(**entry) for code, entry in tomllib.loads(text).items()}
