"""Resource types: one module per type, and the registry of them.

A type defines how a spec is read from the API's JSON, how its fields are merged, who owns a resource, and by which
requests it is created, updated and deleted. Planning and engine treat all types alike: to add a type, add a module.
"""

from __future__ import annotations

from collections.abc import Mapping

from meta_flows.resources.deployment import DEPLOYMENT
from meta_flows.resources.resource_type import ResourceType, Send, Spec, join, read_all
from meta_flows.resources.work_pool import WORK_POOL

__all__ = ["DEPLOYMENT", "TYPES", "WORK_POOL", "ResourceType", "Send", "Spec", "described", "join", "read_all"]

TYPES: Mapping[str, ResourceType] = {item.name: item for item in (WORK_POOL, DEPLOYMENT)}
"""The types by name, in the order in which resources are created; they are deleted in reverse."""


def described(address: str) -> str:
    """Return a resource's type and key for a message, e.g. `deployment 'sales/sales-python-dev'`."""
    name, _, key = address.partition("/")
    return f"{TYPES[name].title} '{key}'"
