"""Meta-flows: Prefect flows that deploy a repository of Prefect flows.

Public names are imported on first use, so that `meta-flows discover` does not wait for Prefect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meta_flows.diagnostics import MetaFlowsError
    from meta_flows.discovery import discover
    from meta_flows.flows import check_ui, clean_deployments, deploy_all, reconcile, register, rollback, validate
    from meta_flows.local_server import connect

__all__ = [
    "MetaFlowsError",
    "check_ui",
    "clean_deployments",
    "connect",
    "deploy_all",
    "discover",
    "reconcile",
    "register",
    "rollback",
    "validate",
]

_OUTSIDE_FLOWS = {"MetaFlowsError": "diagnostics", "connect": "local_server", "discover": "discovery"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OUTSIDE_FLOWS.get(name, 'flows')}"), name)
