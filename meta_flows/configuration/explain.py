"""What was resolved, value by value, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from meta_flows.configuration.documents import KeyPath
from meta_flows.configuration.secrets import looks_secret
from meta_flows.configuration.sections import Resolved

MASK = "********"


class Setting(NamedTuple):
    """One value by its dotted path, and where it comes from; a secret is masked."""

    path: str
    value: Any
    origin: str


def explain(resolved: Resolved) -> list[Setting]:
    """Every single value of something resolved; what nobody stated and has no default is left out."""
    return [
        Setting(".".join(map(str, path)), _masked(path, value), resolved.origin(*path))
        for path, value in leaves(resolved.model_dump(mode="json", exclude_none=True))
    ]


def leaves(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Each value with its path; an empty mapping is one, and so is a list of plain values."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, item in enumerate(data):
            yield from leaves(item, (*path, index))
    else:
        yield path, data


def _masked(path: KeyPath, value: Any) -> Any:
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return MASK if any(looks_secret(name, item) for item in (value if isinstance(value, list) else [value])) else value
