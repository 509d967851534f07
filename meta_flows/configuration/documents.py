"""Documents: data in which every key knows its location, and how layers of them are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meta_flows.models import Location

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """JSON-compatible data with the location of each key and list item; the empty path is the file itself."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Location] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: dict[str, Any], origin: str) -> Document:
        """Make a document of data that is in no file but comes from the command line or the shell."""
        return cls(data, {path: Location(path=origin) for path in paths(data)})

    def place(self, path: KeyPath) -> Location | None:
        """Return the location of `path`, or else of the nearest path above it."""
        candidates = (path[:end] for end in range(len(path), -1, -1))
        return next((self.places[candidate] for candidate in candidates if candidate in self.places), None)

    def find(self, text: str) -> Location | None:
        """Return the location of the first value that contains a text."""
        matches = (self.place(path) for path, value in leaves(self.data) if text in str(value))
        return next(filter(None, matches), None)

    def section(self, *path: str) -> Document:
        """Return the mapping at `path` as a document; an empty one if there is none."""
        data: Any = self.data
        for part in path:
            data = data.get(part) if isinstance(data, dict) else None
        places = {key[len(path) :]: place for key, place in self.places.items() if key[: len(path)] == path}
        return Document(data if isinstance(data, dict) else {}, places)

    def under(self, *path: str) -> Document:
        """Return the same data moved below `path`."""
        data = self.data
        for part in reversed(path):
            data = {part: data}
        return Document(data, {path + key: place for key, place in self.places.items()})

    def only(self, keys: Iterable[str]) -> Document:
        """Return the document with only some of its keys."""
        data = {key: self.data[key] for key in keys if key in self.data}
        return Document(data, {path: place for path, place in self.places.items() if not path or path[0] in data})

    def without(self, *keys: str) -> Document:
        """Return the document without some of its keys."""
        return self.only(key for key in self.data if key not in keys)


def paths(data: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of each key and list item, outer before inner."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def leaves(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each value with its path; an empty mapping and a list of plain values are values."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, item in enumerate(data):
            yield from leaves(item, (*path, index))
    else:
        yield path, data


def merge(*documents: Document) -> Document:
    """Merge layers into one document; the later layer and its locations win.

    Mappings merge key by key, anything else is replaced. A mapping also replaces one of another `type`: a local
    source has no use for the keys of a git source.
    """
    data: dict[str, Any] = {}
    places: dict[KeyPath, Location] = {}
    for document in documents:
        data = _merged(data, document.data)
        places |= document.places
    present = {(), *paths(data)}
    return Document(data, {path: place for path, place in places.items() if path in present})


def _merged(lower: Any, upper: Any) -> Any:
    both = isinstance(lower, dict) and isinstance(upper, dict)
    if not both or ("type" in lower and upper.get("type", lower["type"]) != lower["type"]):
        return upper
    return {**lower, **{key: _merged(lower.get(key), value) for key, value in upper.items()}}
