"""Meta-flows: Prefect flows that deploy a repository of Prefect flows.

Everything public is imported when it is first used, so that `meta-flows discover` does not wait for Prefect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meta_flows.diagnostics import MetaFlowsError
    from meta_flows.discovery import discover
    from meta_flows.flows import check_ui, clean_deployments, deploy_all, reconcile, register, rollback, validate
    from meta_flows.local_server import connect

_HOMES = {
    "MetaFlowsError": "diagnostics",
    "check_ui": "flows",
    "clean_deployments": "flows",
    "connect": "local_server",
    "deploy_all": "flows",
    "discover": "discovery",
    "reconcile": "flows",
    "register": "flows",
    "rollback": "flows",
    "validate": "flows",
}

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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
