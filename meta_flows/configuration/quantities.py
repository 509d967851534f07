"""Memory and cpu as Kubernetes writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import ceil
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from meta_flows.configuration.sections import wrong

_BINARY = {f"{prefix}i": Decimal(1024**power) for power, prefix in enumerate("KMGTPE", 1)}
_DECIMAL = {prefix: Decimal(1000**power) for power, prefix in enumerate("kMGTPE", 1)}
_ONE = {"": Decimal(1)}


def memory_bytes(quantity: str) -> int:
    """How many bytes `512Mi`, `1.5G` or `1048576` are.

    Raises:
        PydanticCustomError: MF212. Also for `512m`, which is half a byte to Kubernetes and half a gigabyte to Docker.
    """
    return ceil(_amount(quantity, _ONE | _BINARY | _DECIMAL, "an amount of memory"))


def cpu_count(quantity: str) -> float:
    """How many processors `500m`, `0.5` or `2` are.

    Raises:
        PydanticCustomError: MF212.
    """
    return float(_amount(quantity, _ONE | {"m": Decimal("0.001")}, "a number of processors"))


def _amount(quantity: str, units: Mapping[str, Decimal], expected: str) -> Decimal:
    matched = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([A-Za-z]*)", quantity)
    if not matched or matched[2] not in units or not Decimal(matched[1]):
        raise wrong("MF212", value=quantity, expected=expected)
    return Decimal(matched[1]) * units[matched[2]]


def _text(value: object) -> object:
    return value if isinstance(value, bool) or not isinstance(value, int | float) else str(value)


def _read_by(amount: Callable[[str], float]) -> AfterValidator:
    def as_written(quantity: str) -> str:
        amount(quantity)
        return quantity

    return AfterValidator(as_written)


_SCHEMA = WithJsonSchema({"type": ["string", "number"]})
Memory = Annotated[str, BeforeValidator(_text), _read_by(memory_bytes), _SCHEMA]
"""An amount of memory as it was written; a number is one of bytes."""
Cpu = Annotated[str, BeforeValidator(_text), _read_by(cpu_count), _SCHEMA]
"""A number of processors as it was written."""
