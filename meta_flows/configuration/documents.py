"""Data in which every key knows where it was written, and how several layers of it become one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meta_flows.models import Location

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """Data that JSON could hold, and where each part of it was written.

    Attributes:
        data: What is stated.
        places: Location of the key, or of the list item, at each path; the empty path is the file itself.
    """

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Location] = field(default_factory=dict)

    @classmethod
    def stated(cls, data: dict[str, Any], origin: str) -> Document:
        """A document that is in no file: what the command line or the shell says."""
        return cls(data, {path: Location(path=origin) for path in paths(data)})

    def place(self, path: KeyPath) -> Location | None:
        """Where `path` stands, or else the nearest thing around it."""
        around = (path[:end] for end in range(len(path), -1, -1))
        return next((self.places[part] for part in around if part in self.places), None)

    def find(self, text: str) -> Location | None:
        """Where the first value stands that holds a text."""
        found = (path for path, value in leaves(self.data) if text in str(value))
        return next((place for path in found if (place := self.place(path))), None)

    def section(self, *path: str) -> Document:
        """The mapping at `path` as a document of its own; an empty one where there is none."""
        data: Any = self.data
        for part in path:
            data = data.get(part) if isinstance(data, dict) else None
        places = {key[len(path) :]: place for key, place in self.places.items() if key[: len(path)] == path}
        return Document(data if isinstance(data, dict) else {}, places)

    def under(self, *path: str) -> Document:
        """The same data moved below `path`."""
        data = self.data
        for part in reversed(path):
            data = {part: data}
        return Document(data, {path + key: place for key, place in self.places.items()})

    def only(self, keys: Iterable[str]) -> Document:
        """What is stated under some of the keys."""
        kept = {key: self.data[key] for key in keys if key in self.data}
        return Document(kept, {path: place for path, place in self.places.items() if not path or path[0] in kept})

    def without(self, *keys: str) -> Document:
        """What is stated under all other keys."""
        return self.only(key for key in self.data if key not in keys)


def paths(data: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of everything inside some data, outer before inner."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


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


def merge(*documents: Document) -> Document:
    """One document of several layers: the later wins, and its places with it.

    Mappings merge key by key, anything else is replaced. So is a mapping by one of another `type`: the keys of a
    git source mean nothing to a local one.
    """
    data: dict[str, Any] = {}
    places: dict[KeyPath, Location] = {}
    for document in documents:
        data = _over(data, document.data)
        places |= document.places
    left = {(), *paths(data)}
    return Document(data, {path: place for path, place in places.items() if path in left})


def _over(lower: Any, upper: Any) -> Any:
    both = isinstance(lower, dict) and isinstance(upper, dict)
    if not both or ("type" in lower and upper.get("type", lower["type"]) != lower["type"]):
        return upper
    return {**lower, **{key: _over(lower.get(key), value) for key, value in upper.items()}}
