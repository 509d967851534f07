"""Memory and cpu as Kubernetes writes them, and as other kinds of infrastructure want them."""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from meta_flows.configuration.checking import wrong

_BINARY: dict[str, int] = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", 1)}
_DECIMAL: dict[str, int] = {prefix: 1000**power for power, prefix in enumerate("kMGTPE", 1)}
_UNITS: dict[str, int] = {"": 1} | _BINARY | _DECIMAL


def memory_bytes(quantity: str) -> int:
    """How many bytes `512Mi`, `1.5G` or `1048576` are.

    Raises:
        PydanticCustomError: MF212. Also for `512m`, which is half a byte to Kubernetes and half a gigabyte to Docker.
    """
    matched = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", quantity)
    if not matched or matched[2] not in _UNITS or not Decimal(matched[1]):
        raise wrong("MF212", value=quantity, expected="an amount of memory")
    return ceil(Decimal(matched[1]) * _UNITS[matched[2]])


def cpu_count(quantity: str) -> float:
    """How many processors `500m`, `0.5` or `2` are.

    Raises:
        PydanticCustomError: MF212.
    """
    matched = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m?)", quantity)
    if not matched or not Decimal(matched[1]):
        raise wrong("MF212", value=quantity, expected="a number of processors")
    return float(Decimal(matched[1]) / (1000 if matched[2] else 1))


def docker_memory(quantity: str) -> str:
    """The same amount as Docker's `mem_limit`: `512Mi` is `512m`; what no unit divides is given in bytes."""
    amount = memory_bytes(quantity)
    units = (("g", 1024**3), ("m", 1024**2), ("k", 1024))
    return next((f"{amount // size}{unit}" for unit, size in units if amount % size == 0), f"{amount}b")


def _text(value: object) -> object:
    return value if isinstance(value, bool) or not isinstance(value, int | float) else str(value)


def _memory(value: str) -> str:
    memory_bytes(value)
    return value


def _cpu(value: str) -> str:
    cpu_count(value)
    return value


_SCHEMA = WithJsonSchema({"type": ["string", "number"]})
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_memory), _SCHEMA]
"""An amount of memory as it was written; a number is one of bytes."""
Cpu = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu), _SCHEMA]
"""A number of processors as it was written."""
