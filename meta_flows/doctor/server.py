"""Checks of the server: connection, version, clock, database, UI, and what runs wait for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import prefect
from prefect.settings import get_current_settings

from meta_flows.configuration import Environment
from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic
from meta_flows.prefect_api import reads, ui
from meta_flows.prefect_api.connection import Api, Server, check, ensure_no_older, is_api, minor

CHOSEN_BY = {
    "flag": "as --api-url says",
    "shell": "as the shell or the Prefect profile says",
    "environment": "as the environment's file says",
    "run": "which started this run",
}

NOTED_SECONDS = 2
LATE_SECONDS = 25
"""A worker fetches what is due within the next 10 s, and Prefect marks a run that starts 15 s late as Late."""


def check_server(server: Server, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that the server answers and accepts our credentials."""
    check(server.api_url)
    in_file = environment.prefect_api_url.rstrip("/")
    other = "" if in_file == server.api_url else f"; the environment's file says {in_file}"
    yield f"{server.api_url} answers, {CHOSEN_BY[server.chosen_by]}{other}"


def check_proxy(server: Server, _: Environment) -> Iterator[str | Diagnostic]:
    """Check that no proxy of the shell hides the server: Prefect's requests use the proxy, most of ours do not."""
    proxies = getproxies()
    proxy = proxies.get(urlsplit(server.api_url).scheme) or proxies.get("all")
    if not proxy:
        yield "the shell names none"
        return
    direct, through = is_api(server.api_url), is_api(server.api_url, through_proxy=True)
    yield judge_proxy(server.api_url, proxy, direct=direct, through=through)


def judge_proxy(api_url: str, proxy: str, *, direct: bool, through: bool) -> str | Diagnostic:
    """Report a server that answers only with the proxy, or only without it."""
    if direct == through:
        return f"the shell names {proxy}, which makes no difference"
    how = "without it" if direct else "through it"
    return diagnostic("MF805", proxy=proxy, url=api_url, how=how, host=urlsplit(api_url).hostname)


def check_version(server: Server, _: Environment) -> Iterator[str | Diagnostic]:
    """Check that the server's version fits the Prefect installed here."""
    version = check(server.api_url)
    ensure_no_older(server.api_url, version)
    yield judge_version(server.api_url, version, prefect.__version__)


def judge_version(api_url: str, server: str, client: str) -> str | Diagnostic:
    """Report a newer minor version; patches of one minor version are compatible."""
    if minor(server) > minor(client):
        return diagnostic("MF803", url=api_url, server=server, client=client)
    return f"the server is {server}, this is {client}"


def check_clock(api: Api, _: Environment) -> Iterator[str | Diagnostic]:
    """Check that this machine's clock agrees with the server's."""
    yield judge_clock(reads.clock_ahead(api))


def judge_clock(ahead: float) -> str | Diagnostic:
    """Report a clock this many seconds ahead of the server's: a warning from 2 s, an error from 25 s."""
    if abs(ahead) < NOTED_SECONDS:
        return "the same as the server's"
    differs = diagnostic("MF804", seconds=abs(ahead), direction="ahead of" if ahead > 0 else "behind")
    return differs if abs(ahead) >= LATE_SECONDS else differs.as_warning()


def check_database(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that the database suits the environment."""
    if not reads.is_on_sqlite(api):
        yield "PostgreSQL"
    elif environment.name == "development":
        yield "SQLite, which suits development"
    else:
        pools = reads.read_work_pools(api, _pools(environment))
        unlimited = sorted(name for name, pool in pools.items() if pool["concurrency_limit"] is None)
        writers = f", and any number of runs may write from {', '.join(unlimited)}" if unlimited else ""
        yield diagnostic("MF808", environment=environment.name, unlimited=writers)


def check_ui(api: Api, _: Environment) -> Iterator[str | Diagnostic]:
    """Check that the UI calls an API that answers and allows it; there may be no UI."""
    shown = str(get_current_settings().ui_url)
    found = list(ui.find_ui_faults(shown, str(api.api_url).rstrip("/")))
    yield from (item.as_warning() if item.code == "MF711" else item for item in found)
    if not found:
        yield f"{shown} asks an API that answers"


def check_work_pools(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that the environment's work pools exist, have the right type and are not paused."""
    live = reads.read_work_pools(api, _pools(environment))
    for pool in environment.work_pools.values():
        yield judge_work_pool(environment.name, pool.name, pool.type, live.get(pool.name))


def judge_work_pool(environment: str, name: str, desired: str, live: Mapping[str, Any] | None) -> str | Diagnostic:
    """Compare a work pool with its type in the environment's file."""
    if live is None:
        return diagnostic(
            "MF410", pool=name, suggestion=", which the environment's file names: a deploy creates it"
        ).as_warning()
    if live["type"] != desired:
        return diagnostic("MF407", pool=name, live=live["type"], environment=environment, desired=desired)
    return diagnostic("MF411", what=f"work pool '{name}'") if live["is_paused"] else f"{name} of type {desired}"


def check_work_queues(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Report paused work queues."""
    paused = reads.read_paused_queues(api, sorted(reads.read_work_pools(api, _pools(environment))))
    yield from (diagnostic("MF411", what=f"queue '{queue}' of work pool '{pool}'") for pool, queue in sorted(paused))
    if not paused:
        yield "none is paused"


def check_workers(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Check that a worker polls each work pool."""
    for pool in sorted(reads.read_work_pools(api, _pools(environment))):
        yield f"{pool} is polled" if reads.has_live_worker(api, pool) else diagnostic("MF412", pool=pool)


def _pools(environment: Environment) -> set[str]:
    return {pool.name for pool in environment.pools}
