"""Diagnose an installation: each check reports what works, or what is wrong and how to fix it.

Nothing is written and nothing is started. Checks whose prerequisites are missing are left out.
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
from meta_flows.diagnostics import MetaFlowsError, diagnostic, result_or_error
from meta_flows.doctor import machine, server
from meta_flows.models import Diagnostic, Model
from meta_flows.prefect_api.connection import Api, Server, choose_server, client, connected

CheckResult = Iterator[str | Diagnostic]
"""What a check finds: a sentence for each thing that works, a diagnostic for each that does not."""

TIMEOUT_SECONDS = 20

ALONE: Mapping[str, Callable[[], CheckResult]] = {
    "packages": machine.check_packages,
    "disk": machine.check_disk,
}

CONFIGURED: Mapping[str, Callable[[Path, Environment], CheckResult]] = {
    "docker": machine.check_docker,
    "git": machine.check_git,
}
"""Checks that need an environment."""

REACHED: Mapping[str, Callable[[Server, Environment], CheckResult]] = {
    "server": server.check_server,
    "proxy": server.check_proxy,
}
"""Checks that need a server's address."""

ANSWERED: Mapping[str, Callable[[Server, Environment], CheckResult]] = {"version": server.check_version}
"""Checks that need a server, but not Prefect's client, which may be too new for it."""

CONNECTED: Mapping[str, Callable[[Api, Environment], CheckResult]] = {
    "clock": server.check_clock,
    "database": server.check_database,
    "ui": server.check_ui,
    "work pools": server.check_work_pools,
    "work queues": server.check_work_queues,
    "workers": server.check_workers,
}
"""Checks that need a client of the server."""


class Finding(Model):
    """One line of the diagnosis.

    Attributes:
        code: Key of the catalogue; None if the status is ok.
    """

    check: str
    status: Literal["ok", "warn", "fail"]
    message: str
    code: str | None = None
    remedy: str | None = None


def examine(root: Path, name: str | None = None, api_url: str | None = None) -> Iterator[Finding]:
    """Run every check whose prerequisites are met.

    Args:
        root: The repository.
        name: Long or short name of the environment.
        api_url: Server to use instead of the one that the shell or the environment's file names.
    """
    environment = result_or_error(load_environment, root, name)
    if isinstance(environment, MetaFlowsError):
        yield from _findings("environment", environment.errors)
        yield from _run(ALONE)
        return
    yield from _findings("environment", [f"{environment.name} of project {environment.project}"])
    yield from _run({**ALONE, **_with_arguments(CONFIGURED, root, environment)})
    chosen = result_or_error(choose_server, environment.name, environment.prefect_api_url, api_url)
    if isinstance(chosen, MetaFlowsError):
        yield from _findings("server", chosen.errors)
        return
    for checks in (REACHED, ANSWERED):
        found = list(_run(_with_arguments(checks, chosen, environment)))
        yield from found
        if any(finding.status == "fail" for finding in found):
            return
    with connected(chosen.api_url), client() as api:
        yield from _run(_with_arguments(CONNECTED, api, environment))


def _with_arguments(
    checks: Mapping[str, Callable[..., CheckResult]], *arguments: object
) -> dict[str, Callable[[], CheckResult]]:
    return {name: partial(check, *arguments) for name, check in checks.items()}


def _run(checks: Mapping[str, Callable[[], CheckResult]]) -> Iterator[Finding]:
    """Run checks in parallel and yield their findings in order; abandon those that do not end in time."""
    found: dict[str, list[Finding]] = {}

    def run(name: str, check: Callable[[], CheckResult]) -> None:
        found[name] = list(_findings(name, _safely(check)))

    threads = [threading.Thread(target=copy_context().run, args=(run, *named), daemon=True) for named in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for name, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        yield from found[name] if name in found else _findings(name, [diagnostic("MF801", seconds=TIMEOUT_SECONDS)])


def _safely(check: Callable[[], CheckResult]) -> CheckResult:
    """Run a check; an exception becomes a diagnostic, so that the other checks still run."""
    try:
        yield from check()
    except MetaFlowsError as error:
        yield from error.errors
    except Exception as error:  # noqa: BLE001 - the other checks are to be heard
        yield diagnostic("MF902", detail=f"{type(error).__name__}: {error}")


def _findings(check: str, results: Iterable[str | Diagnostic]) -> Iterator[Finding]:
    for item in results:
        if isinstance(item, str):
            yield Finding(check=check, status="ok", message=_without_passwords(item))
        else:
            place = f"{item.place}: " if item.place else ""
            yield Finding(
                check=check,
                status="warn" if item.severity == "warning" else "fail",
                message=_without_passwords(f"{place}{item.message}"),
                code=item.code,
                remedy=_without_passwords(item.remedy),
            )


def _without_passwords(text: str) -> str:
    """Mask the user names and passwords of addresses."""
    return re.sub(r"(?<=://)\S*@", f"{MASK}@", text)
