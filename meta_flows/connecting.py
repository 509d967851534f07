"""`connect`: be on the server of an environment, from the command line or from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meta_flows.configuration import Environment, load_environment
from meta_flows.errors import refuse
from meta_flows.prefect_api.connection import choose_server, connected
from meta_flows.processes import is_local, logger, start_server


@contextmanager
def connect(
    environment: str | None = None,
    *,
    root: Path | None = None,
    api_url: str | None = None,
    start_local: bool = False,
    on_start: Callable[[str], None] = logger.info,
) -> Iterator[Environment]:
    """Make the server of an environment the one in use, for our meta-flows and for Prefect itself.

    Args:
        environment: Long or short name; what `DEPLOYMENT_ENV` says, or development, if not given.
        root: The repository; the working directory if not given.
        api_url: Server in place of the one that the shell or the environment's file names.
        start_local: Start a server if none answers and the environment's own is on this machine.
        on_start: Called with the news that one is being started.

    Raises:
        MetaFlowsError: MF204, no such environment; MF401 to MF406 or MF408, no usable server.
    """
    repository = (root or Path()).resolve()
    if not repository.is_dir():
        raise refuse("MF215", what="the repository's folder", path=repository)
    target = load_environment(repository, environment)
    server = choose_server(target.name, target.prefect_api_url, api_url)
    if start_local and server.api_url == target.prefect_api_url.rstrip("/") and is_local(server.api_url):
        start_server(server.api_url, on_start)
    with connected(server.api_url):
        yield target
