"""The bases of everything that files state and of everything that is resolved from them."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ConfigDict, PrivateAttr
from typing_extensions import Self

from meta_flows.configuration.checking import validate
from meta_flows.configuration.documents import Document, KeyPath, leaves
from meta_flows.configuration.secrets import MASK, masked
from meta_flows.models import Model

BUILT_IN = "built-in default"


class Section(Model):
    """Base of what stands in a file: the docstrings of its fields are their descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Resolved(Section):
    """Base of what is made of several layers and can say which of them each value comes from."""

    _document: Document = PrivateAttr(default_factory=Document)

    @classmethod
    def of(cls, document: Document) -> Self:
        """Make one of merged layers, or say everything that is wrong with them."""
        resolved = validate(cls, document)
        resolved._document = document
        return resolved

    @property
    def document(self) -> Document:
        """The merged layers."""
        return self._document

    def origin(self, *path: str | int) -> str:
        """Where a value was stated: `environments/development.yaml:12`, `command line`, `built-in default`."""
        data: Any = self._document.data
        stated: KeyPath = ()
        for part in path:
            if isinstance(data, dict) and part not in data:
                return BUILT_IN
            if not isinstance(data, dict | list) or (isinstance(data, list) and isinstance(part, str)):
                break  # spelled out from the shorter form that stands here
            data, stated = data[part], (*stated, part)  # type: ignore[index]
        place = self._document.places.get(stated)
        return str(place.model_copy(update={"column": None})) if place else BUILT_IN


class Setting(NamedTuple):
    """One value by its dotted path, and where it comes from; a secret is masked."""

    path: str
    value: Any
    origin: str


def explain(resolved: Resolved) -> list[Setting]:
    """Every single value of something resolved; what nobody stated and has no default is left out."""
    settings = []
    for path, value in leaves(resolved.model_dump(mode="json", exclude_none=True)):
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        shown = value if masked(name, value) == value else MASK
        settings.append(Setting(".".join(map(str, path)), shown, resolved.origin(*path)))
    return settings
