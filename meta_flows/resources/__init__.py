"""What there is to know about each type of resource: one module a type, and this registry of them.

A type defines how a spec is read from the API's JSON, how its fields are merged, how ownership is told, and by which
requests a resource is created, updated and deleted. Planning and engine treat all types alike: adding one is adding a
module.
"""

from __future__ import annotations

from collections.abc import Mapping

from meta_flows.resources.deployment import DEPLOYMENT
from meta_flows.resources.resource_type import Declared, ResourceType, Send, Spec, join, read_all
from meta_flows.resources.work_pool import WORK_POOL

TYPES: Mapping[str, ResourceType] = {item.name: item for item in (WORK_POOL, DEPLOYMENT)}
"""The types by name, in the order in which resources are created; they are deleted in reverse."""


def described(address: str) -> str:
    """Name a resource for a message, e.g. `deployment 'sales/sales-python-dev'`."""
    name, _, key = address.partition("/")
    return f"{TYPES[name].title} '{key}'"


__all__ = [
    "DEPLOYMENT",
    "TYPES",
    "WORK_POOL",
    "Declared",
    "ResourceType",
    "Send",
    "Spec",
    "described",
    "join",
    "read_all",
]
