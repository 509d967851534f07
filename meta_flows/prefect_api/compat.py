"""Every name of Prefect that its documentation does not promise, or that not all versions have.

tests/unit/test_compat.py holds each to what we expect of it, on the newest Prefect and on 3.4. What is imported late
takes long to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from typing import Any

import prefect.settings
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.context import SettingsContext
from prefect.events.worker import EventsWorker
from prefect.settings import Profile, Settings
from prefect.utilities.annotations import quote
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.callables import parameter_docstrings
from prefect.utilities.templating import (
    Placeholder,
    PlaceholderType,
    apply_values,
    find_placeholders,
    resolve_block_document_references,
)
from prefect.utilities.urls import url_for

__all__ = [
    "CronSchedule",
    "IntervalSchedule",
    "Placeholder",
    "PlaceholderType",
    "RRuleSchedule",
    "apply_values",
    "default_job_template",
    "engine_errors",
    "find_placeholders",
    "heartbeat_setting",
    "load_schema_tools",
    "parameter_docstrings",
    "pulls_code_for_modules",
    "quote",
    "resolve_block_document_references",
    "run_coro_as_sync",
    "scheduler_schedules",
    "schema_errors",
    "send_pending_events",
    "settings_of_shell",
    "url_for",
]


def pulls_code_for_modules() -> bool:
    """Return whether a run whose entrypoint is a module runs its pull steps; Prefect 3.4 imports the module at once.

    The same change of Prefect gave `run_steps` its parameter `flow_run`.
    """
    from prefect.deployments.steps.core import run_steps

    return "flow_run" in signature(run_steps).parameters


def heartbeat_setting() -> Any:
    """Return the setting of how often runs send heartbeats; None on Prefect 3.4, which sends none."""
    return getattr(prefect.settings, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", None)


def send_pending_events(timeout: float) -> None:
    """Wait until the events of this process have been sent, for `timeout` seconds at most."""
    EventsWorker.drain_all(timeout=timeout)


@contextmanager
def settings_of_shell() -> Iterator[None]:
    """Take Prefect's settings from environment variables alone, and from no profile."""
    with SettingsContext(profile=Profile(name="shell", settings={}), settings=Settings()):
        yield


def default_job_template(pool_type: str) -> Mapping[str, Any]:
    """Return the base job template that work pools of a type have by default."""
    from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

    return run_coro_as_sync(get_default_base_job_template_for_infrastructure_type(pool_type)) or {}


def scheduler_schedules() -> Any:
    """Return the server's module of schedules, by which its scheduler computes runs."""
    from prefect.server.schemas import schedules

    return schedules


def load_schema_tools() -> None:
    """Import what `schema_errors` needs: it brings SQLAlchemy along, which takes 0.4 s."""
    import_module("prefect.utilities.schema_tools")


def schema_errors(values: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Any]:
    """Return the errors of values against a JSON Schema, as `jsonschema` has them; missing values are no errors."""
    from prefect.utilities.schema_tools import validate

    return validate(dict(values), dict(schema), ignore_required=True, allow_none_with_default=True)


def engine_errors() -> tuple[type[Exception], type[Exception]]:
    """Return what `DockerImage` raises when a build and when a push fails; imports the libraries of Docker."""
    from prefect.utilities.dockerutils import BuildError, PushError

    return BuildError, PushError
