"""Diagnose an installation: each check says what is well, or what is wrong and how to fix it.

Nothing is written and nothing is started. What needs something that is not there is left out.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Literal

from meta_flows.configuration import Environment, load_environment
from meta_flows.configuration.secrets import MASK
from meta_flows.diagnostics import MetaFlowsError, diagnostic, outcome
from meta_flows.doctor import machine, server
from meta_flows.models import Diagnostic, Model
from meta_flows.prefect_api.connection import Api, Server, choose_server, client, connected

Said = Iterator[str | Diagnostic]

TIMEOUT_SECONDS = 20

ALONE: Mapping[str, Callable[[], Said]] = {
    "packages": machine.check_packages,
    "disk": machine.check_disk,
}
"""What needs nothing."""

CONFIGURED: Mapping[str, Callable[[Path, Environment], Said]] = {
    "docker": machine.check_docker,
    "git": machine.check_git,
}
"""What needs an environment."""

REACHED: Mapping[str, Callable[[Server, Environment], Said]] = {
    "server": server.check_server,
    "proxy": server.check_proxy,
}
"""What needs an address."""

ANSWERED: Mapping[str, Callable[[Server, Environment], Said]] = {"version": server.check_version}
"""What needs an answer, and nothing of Prefect's client: it may be too new for the server."""

CONNECTED: Mapping[str, Callable[[Api, Environment], Said]] = {
    "clock": server.check_clock,
    "database": server.check_database,
    "ui": server.check_ui,
    "work pools": server.check_work_pools,
    "work queues": server.check_work_queues,
    "workers": server.check_workers,
}
"""What needs a server."""


class Finding(Model):
    """One line of what was found.

    Attributes:
        check: Name of the check.
        code: Key of the catalogue; None where all is well.
    """

    check: str
    status: Literal["ok", "warn", "fail"]
    message: str
    code: str | None = None
    remedy: str | None = None


def examine(root: Path, name: str | None = None, api_url: str | None = None) -> Iterator[Finding]:
    """Apply every check that can be applied.

    Args:
        root: The repository.
        name: Long or short name of the environment.
        api_url: Server in place of the one that the shell or the environment's file names.
    """
    environment = outcome(load_environment, root, name)
    if isinstance(environment, MetaFlowsError):
        yield from _findings("environment", environment.errors)
        yield from _together(ALONE)
        return
    yield from _findings("environment", [f"{environment.name} of project {environment.project}"])
    yield from _together({**ALONE, **_given(CONFIGURED, root, environment)})
    chosen = outcome(choose_server, environment.name, environment.prefect_api_url, api_url)
    if isinstance(chosen, MetaFlowsError):
        yield from _findings("server", chosen.errors)
        return
    for checks in (REACHED, ANSWERED):
        found = list(_together(_given(checks, chosen, environment)))
        yield from found
        if any(finding.status == "fail" for finding in found):
            return
    with connected(chosen.api_url), client() as api:
        yield from _together(_given(CONNECTED, api, environment))


def _given(checks: Mapping[str, Callable[..., Said]], *facts: object) -> dict[str, Callable[[], Said]]:
    return {name: partial(check, *facts) for name, check in checks.items()}


def _together(checks: Mapping[str, Callable[[], Said]]) -> Iterator[Finding]:
    """What checks say that are made at the same time; one that does not end is left behind."""
    said: dict[str, list[Finding]] = {}

    def look(name: str, check: Callable[[], Said]) -> None:
        said[name] = list(_findings(name, _safely(check)))

    threads = [
        threading.Thread(target=copy_context().run, args=(look, *named), daemon=True) for named in checks.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for name, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        yield from said[name] if name in said else _findings(name, [diagnostic("MF801", seconds=TIMEOUT_SECONDS)])


def _safely(check: Callable[[], Said]) -> Said:
    """Return what a check says; an unexpected failure of the check itself is a finding too."""
    try:
        yield from check()
    except MetaFlowsError as error:
        yield from error.errors
    except Exception as error:  # noqa: BLE001 - the other checks are to be heard
        yield diagnostic("MF902", detail=f"{type(error).__name__}: {error}")


def _findings(check: str, said: Iterable[str | Diagnostic]) -> Iterator[Finding]:
    for item in said:
        if isinstance(item, str):
            yield Finding(check=check, status="ok", message=_open(item))
        else:
            status: Literal["warn", "fail"] = "warn" if item.severity == "warning" else "fail"
            place = f"{item.place}: " if item.place else ""
            message, remedy = _open(f"{place}{item.message}"), _open(item.remedy)
            yield Finding(check=check, status=status, message=message, code=item.code, remedy=remedy)


def _open(text: str) -> str:
    """Text without the passwords that addresses may hold."""
    return re.sub(r"(?<=://)\S*@", f"{MASK}@", text)
