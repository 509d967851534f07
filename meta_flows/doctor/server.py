"""Checks of the server: the ways to it, its version, clock, database and UI, and what runs wait for."""

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
"""A worker asks for what is due within 10 s, and a run that starts 15 s late is marked so."""


def check_server(server: Server, environment: Environment) -> Iterator[str | Diagnostic]:
    """Does it answer, and let us in?"""
    check(server.api_url)
    files = environment.prefect_api_url.rstrip("/")
    other = "" if files == server.api_url else f"; the environment's file says {files}"
    yield f"{server.api_url} answers, {CHOSEN_BY[server.chosen_by]}{other}"


def check_proxy(server: Server, _: Environment) -> Iterator[str | Diagnostic]:
    """Do the shell's proxies keep Prefect from the server? Its own requests heed them, and most of ours do not."""
    proxies = getproxies()
    proxy = proxies.get(urlsplit(server.api_url).scheme) or proxies.get("all")
    if not proxy:
        yield "the shell names none"
        return
    direct, through = is_api(server.api_url), is_api(server.api_url, through_proxy=True)
    yield judge_proxy(server.api_url, proxy, direct=direct, through=through)


def judge_proxy(api_url: str, proxy: str, *, direct: bool, through: bool) -> str | Diagnostic:
    """Whether a server that answers so can be worked with; one that does not answer at all is said elsewhere."""
    if direct == through:
        return f"the shell names {proxy}, which makes no difference"
    how = "without it" if direct else "through it"
    return diagnostic("MF805", proxy=proxy, url=api_url, how=how, host=urlsplit(api_url).hostname)


def check_version(server: Server, _: Environment) -> Iterator[str | Diagnostic]:
    """Is it the version of the Prefect here?"""
    version = check(server.api_url)
    ensure_no_older(server.api_url, version)
    yield judge_version(server.api_url, version, prefect.__version__)


def judge_version(api_url: str, server: str, client: str) -> str | Diagnostic:
    """Whether a server that is no older fits; between patches of one minor version nothing breaks."""
    if minor(server) > minor(client):
        return diagnostic("MF803", url=api_url, server=server, client=client)
    return f"the server is {server}, this is {client}"


def check_clock(api: Api, _: Environment) -> Iterator[str | Diagnostic]:
    """Do the clocks agree?"""
    yield judge_clock(reads.clock_ahead(api))


def judge_clock(ahead: float) -> str | Diagnostic:
    """Whether it does harm to be so many seconds ahead of the server, or behind it."""
    if abs(ahead) < NOTED_SECONDS:
        return "the same as the server's"
    differs = diagnostic("MF804", seconds=abs(ahead), direction="ahead of" if ahead > 0 else "behind")
    return differs if abs(ahead) >= LATE_SECONDS else differs.as_warning()


def check_database(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Does the database take what is asked of it?"""
    if not reads.is_on_sqlite(api):
        yield "PostgreSQL"
    elif environment.name == "development":
        yield "SQLite; deploys write one at a time, as it wants"
    else:
        pools = reads.read_work_pools(api, _pools(environment))
        endless = sorted(name for name, pool in pools.items() if pool["concurrency_limit"] is None)
        unlimited = f", and any number of runs may write from {', '.join(endless)}" if endless else ""
        yield diagnostic("MF808", environment=environment.name, unlimited=unlimited)


def check_ui(api: Api, _: Environment) -> Iterator[str | Diagnostic]:
    """Does the UI ask an API that answers, and does that let it? There may be none."""
    shown = str(get_current_settings().ui_url)
    found = list(ui.check_ui(shown, str(api.api_url).rstrip("/")))
    yield from (item.as_warning() if item.code == "MF711" else item for item in found)
    if not found:
        yield f"{shown} asks an API that answers"


def check_work_pools(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Are there the environment's work pools, of the right type and not paused?"""
    live = reads.read_work_pools(api, _pools(environment))
    for pool in environment.work_pools.values():
        yield judge_work_pool(environment.name, pool.name, pool.type, live.get(pool.name))


def judge_work_pool(environment: str, name: str, wanted: str, live: Mapping[str, Any] | None) -> str | Diagnostic:
    """Whether a pool is as the environment's file says."""
    if live is None:
        return diagnostic("MF410", pool=name, suggestion=" yet: a deploy creates it").as_warning()
    if live["type"] != wanted:
        return diagnostic("MF407", pool=name, live=live["type"], environment=environment, desired=wanted)
    return diagnostic("MF411", what=f"work pool '{name}'") if live["is_paused"] else f"{name} of type {wanted}"


def check_work_queues(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Is any queue paused?"""
    paused = reads.read_paused_queues(api, sorted(reads.read_work_pools(api, _pools(environment))))
    yield from (diagnostic("MF411", what=f"queue '{queue}' of work pool '{pool}'") for pool, queue in sorted(paused))
    if not paused:
        yield "none is paused"


def check_workers(api: Api, environment: Environment) -> Iterator[str | Diagnostic]:
    """Does a worker poll each work pool?"""
    for pool in sorted(reads.read_work_pools(api, _pools(environment))):
        yield f"{pool} is polled" if reads.has_live_worker(api, pool) else diagnostic("MF412", pool=pool)


def _pools(environment: Environment) -> set[str]:
    return {pool.name for pool in environment.pools}
