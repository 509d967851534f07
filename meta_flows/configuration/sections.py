"""Base models of the configuration files, their validation with readable errors, and the types of quantities."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import ceil
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, PrivateAttr, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import Self

from meta_flows.configuration.documents import Document, KeyPath, leaves
from meta_flows.configuration.secrets import MASK, looks_secret, masked
from meta_flows.diagnostics import MetaFlowsError, catalogue, diagnostic, did_you_mean
from meta_flows.models import Diagnostic, Model

BUILT_IN = "built-in default"


class Section(Model):
    """Base of every part of a file; the docstring of a field is its description in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Resolved(Section):
    """Base of models made of several layers, which know the layer that each value comes from."""

    _document: Document = PrivateAttr(default_factory=Document)

    @classmethod
    def of(cls, document: Document) -> Self:
        """Make a model of merged layers; raise MetaFlowsError with every error in them."""
        resolved = validate(cls, document)
        resolved._document = document
        return resolved

    @property
    def document(self) -> Document:
        """Return the merged layers."""
        return self._document

    def origin(self, *path: str | int) -> str:
        """Return the origin of a value: `environments/development.yaml:12`, `command line`, `built-in default`."""
        data: Any = self._document.data
        found: KeyPath = ()
        for part in path:
            if isinstance(data, dict) and part not in data:
                return BUILT_IN
            if not isinstance(data, dict | list) or (isinstance(data, list) and isinstance(part, str)):
                break  # the document has a short form here, which a validator expanded
            data, found = data[part], (*found, part)  # type: ignore[index]
        place = self._document.places.get(found)
        return str(place.model_copy(update={"column": None})) if place else BUILT_IN


class Setting(NamedTuple):
    """One value by its dotted path, with its origin; a secret is masked."""

    path: str
    value: Any
    origin: str


def explain(resolved: Resolved) -> list[Setting]:
    """Return every value of a resolved model, without those that are not set and have no default."""
    settings = []
    for path, value in leaves(resolved.model_dump(mode="json", exclude_none=True)):
        name = ".".join(part for part in path if isinstance(part, str))
        shown = value if masked(name, value) == value else MASK
        settings.append(Setting(".".join(map(str, path)), shown, resolved.origin(*path)))
    return settings


M = TypeVar("M", bound=pydantic.BaseModel)
_PydanticPath = tuple[int | str, ...]

_WORDS = {
    "missing": "is required",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": "must be lower-case letters, digits and dashes: {pattern}",
    "union_tag_not_found": "needs a `type`",
    "union_tag_invalid": "has an unknown `type`; there are {expected_tags}",
}
_MAX_SHOWN = 60
_WITHOUT_VALUE = ("missing", "value_error", "union_tag_invalid", "union_tag_not_found")


def validate(model_type: type[M], document: Document) -> M:
    """Make a model of a document, strictly: no text for a number, no number for text.

    Raises:
        MetaFlowsError: MF202 for each unknown key, the code of each `wrong` that a validator raised, else MF203.
    """
    try:
        return model_type.model_validate_json(json.dumps(document.data), strict=True)
    except pydantic.ValidationError as error:
        found: dict[tuple[KeyPath, str], list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            path = _path(document.data, detail["loc"])
            found.setdefault((path, _name(path, detail)), []).append(detail)
        errors = [_diagnostic(model_type, document, path, key, details) for (path, key), details in found.items()]
        errors.sort(key=lambda error: (error.file_path or "", error.line_number or 0))
        raise MetaFlowsError(errors) from None


def wrong(code: str, at: KeyPath = (), **facts: object) -> PydanticCustomError:
    """Return the exception that a pydantic validator raises for an error of the catalogue.

    Args:
        code: Key of the catalogue.
        at: Path of the invalid part, relative to the validated value.
        **facts: Fields of the entry's format strings.
    """
    return PydanticCustomError(code, "{facts}", {"facts": facts, "at": at})


def _diagnostic(
    model_type: type[pydantic.BaseModel], document: Document, path: KeyPath, key: str, details: list[ErrorDetails]
) -> Diagnostic:
    first = details[0]
    if first["type"] in catalogue():
        return diagnostic(first["type"], document.place(path + first["ctx"]["at"]), **first["ctx"]["facts"])
    if first["type"] == "extra_forbidden":
        known = sorted({name for model in _models_at(model_type, first["loc"][:-1]) for name in model.model_fields})
        suggestion = did_you_mean(key, known)
        return diagnostic("MF202", document.place(path), key=key, suggestion=suggestion, known=", ".join(known))
    words = " or ".join(dict.fromkeys(_words(detail) for detail in details))
    return diagnostic("MF203", document.place(path), key=key, detail=words + _invalid_value(key, first))


def _path(data: Any, location: _PydanticPath) -> KeyPath:
    """Return the part of pydantic's path that is in the data; it also names members of unions, and `[key]`."""
    path: KeyPath = ()
    for part in location:
        if (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int)):
            path, data = (*path, part), data[part]  # type: ignore[index]
    return path


def _name(path: KeyPath, detail: ErrorDetails) -> str:
    names = [part for part in (detail["loc"] if detail["type"] == "missing" else path) if isinstance(part, str)]
    return names[-1] if names else "the file"


def _words(detail: ErrorDetails) -> str:
    if detail["type"] in _WORDS:
        return _WORDS[detail["type"]].format(**detail.get("ctx", {}))
    return re.sub(r"^\w+ should", "must", detail["msg"].removeprefix("Value error, "))


def _invalid_value(key: str, detail: ErrorDetails) -> str:
    """Return `, not X` for a value that is short and no secret, else an empty text."""
    value = detail["input"]
    if detail["type"] in _WITHOUT_VALUE or looks_secret(key, value):
        return ""
    kinds = {dict: "a mapping", list: "a list", type(None): "empty"}
    shown = kinds.get(type(value)) or json.dumps(value)
    return f", not {shown}" if len(shown) <= _MAX_SHOWN else ""


def _models_at(annotation: Any, location: _PydanticPath) -> Iterator[type[pydantic.BaseModel]]:
    """Yield the models that an annotation has at one of pydantic's paths, which also name the tags of unions."""
    arguments, part, inner = get_args(annotation), location[:1], location[1:]
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        fields = annotation.model_fields
        if not part:
            yield annotation
        elif part[0] in fields:
            yield from _models_at(fields[str(part[0])].annotation, inner)
        elif "type" in fields and part[0] in get_args(fields["type"].annotation):
            yield from _models_at(annotation, inner)
    elif part and get_origin(annotation) in (dict, list, tuple):
        yield from _models_at(arguments[1 if get_origin(annotation) is dict else 0], inner)
    else:
        for argument in arguments:
            yield from _models_at(argument, location)


_BINARY = {f"{prefix}i": Decimal(1024**power) for power, prefix in enumerate("KMGTPE", 1)}
_DECIMAL = {prefix: Decimal(1000**power) for power, prefix in enumerate("kMGTPE", 1)}
_ONE = {"": Decimal(1)}


def memory_bytes(quantity: str) -> int:
    """Return the bytes of a quantity such as `512Mi`, `1.5G` or `1048576`.

    Raises:
        PydanticCustomError: MF212. Also for `512m`, which is half a byte to Kubernetes and half a gigabyte to Docker.
    """
    return ceil(_amount(quantity, _ONE | _BINARY | _DECIMAL, "an amount of memory"))


def cpu_count(quantity: str) -> float:
    """Return the processors of a quantity such as `500m`, `0.5` or `2`; raise PydanticCustomError for MF212."""
    return float(_amount(quantity, _ONE | {"m": Decimal("0.001")}, "a number of processors"))


def _amount(quantity: str, units: Mapping[str, Decimal], expected: str) -> Decimal:
    matched = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([A-Za-z]*)", quantity)
    if not matched or matched[2] not in units or not Decimal(matched[1]):
        raise wrong("MF212", value=quantity, expected=expected)
    return Decimal(matched[1]) * units[matched[2]]


def _as_text(value: object) -> object:
    return value if isinstance(value, bool) or not isinstance(value, int | float) else str(value)


def _readable_by(read: Callable[[str], float]) -> AfterValidator:
    def validate_only(quantity: str) -> str:
        read(quantity)
        return quantity

    return AfterValidator(validate_only)


_SCHEMA = WithJsonSchema({"type": ["string", "number"]})
Memory = Annotated[str, BeforeValidator(_as_text), _readable_by(memory_bytes), _SCHEMA]
"""An amount of memory as written; a plain number is in bytes."""
Cpu = Annotated[str, BeforeValidator(_as_text), _readable_by(cpu_count), _SCHEMA]
"""A number of processors as written."""
