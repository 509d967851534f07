"""Choose and reach a Prefect server, and translate its errors."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import certifi
import httpx
import prefect

# Not from `prefect.client.orchestration`: with Prefect 3.4 states are complete only after this import.
from prefect import get_client, settings
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings, temporary_settings

from meta_flows.configuration.secrets import without_secrets
from meta_flows.diagnostics import refuse
from meta_flows.prefect_api.compat import heartbeat_setting, send_pending_events

Api = SyncPrefectClient
"""A client of the server in use."""

SENDING_SECONDS = 10
"""How long to wait at the end of a connection until events have arrived."""

RETRIES = 4
"""How often Prefect's client retries a request in our local runs: after 2, 4, 8 and 16 s, so for half a minute. By
default it retries five times in a minute, and a run takes twice that to end once its server is gone."""

TRANSIENT_STATUSES = frozenset({408, 429, 502, 503, 504})

logger = logging.getLogger("meta_flows")


class Server(NamedTuple):
    """A Prefect server and what chose it; `run` stands for the server that started this very run."""

    api_url: str
    chosen_by: Literal["run", "flag", "shell", "environment"]


def choose_server(environment: str, environment_url: str, flag: str | None = None) -> Server:
    """Return the server to deploy to.

    For a run that a worker started that is its own server; otherwise the flag takes precedence over the shell or
    profile, and those over the environment's file.

    Raises:
        MetaFlowsError: MF403, shell and file disagree; in development the shell wins.
    """
    shell = get_current_settings().api.url
    if "PREFECT__FLOW_RUN_ID" in os.environ and shell:
        return Server(shell, "run")
    if flag:
        return Server(flag.rstrip("/"), "flag")
    if shell:
        if environment != "development" and shell.rstrip("/") != environment_url.rstrip("/"):
            raise refuse("MF403", shell=shell, environment=environment, file=environment_url)
        return Server(shell.rstrip("/"), "shell")
    return Server(environment_url.rstrip("/"), "environment")


_connected_to: ContextVar[str | None] = ContextVar("connected_to", default=None)


def ensure_on_server_of(environment: str, environment_url: str) -> str:
    """Return the address of the server in use if it is the environment's: a run lives on the server that it writes to.

    Raises:
        MetaFlowsError: MF405, Prefect would start a server for this run only; MF403, the shell names another server;
            MF401, MF402 or MF408, it cannot be used.
    """
    in_use = get_current_settings().api.url
    if not in_use:
        raise refuse("MF405", environment=environment)
    if _connected_to.get() != in_use:
        choose_server(environment, environment_url)
        ensure_no_older(in_use, check(in_use))
    return in_use


@contextmanager
def connected(api_url: str) -> Iterator[None]:
    """Make Prefect use a server: for runs, logs and events as for our own requests.

    At the end all events have arrived. Prefect 3.8 keeps one sender of events for each process, which stays with the
    first server: without waiting, the next server would not get the task runs of its own runs.

    Raises:
        MetaFlowsError: MF401, nothing answers; MF402, it rejects our key; MF408, it is older than our Prefect.
    """
    with translate_http_errors(api_url):
        ensure_no_older(api_url, check(api_url))
        updates = {PREFECT_API_URL: api_url, **_links(api_url), **_defaults_of_local_runs(), **_key_of_the_shell()}
        with temporary_settings(updates=updates):  # once: each takes 0.1 s
            token = _connected_to.set(api_url)
            try:
                yield
            finally:
                _connected_to.reset(token)
                send_pending_events(SENDING_SECONDS)


def _links(api_url: str) -> dict[Any, str]:
    """Return the setting that makes Prefect's links and ours lead to the UI that this server shows by default.

    `PREFECT_UI_URL`, where set, names the address for people; without it Prefect's links lead to the older UI.
    """
    return {} if "ui_url" in get_current_settings().model_fields_set else {PREFECT_UI_URL: ui_url(api_url)}


def _defaults_of_local_runs() -> dict[Any, int | None]:
    """Return the settings of our local runs that the user has not set: four retries, and no heartbeats.

    A run waits up to a second at its end for its heartbeat's thread. Heartbeats let an automation find runs whose
    process is gone; a run on a terminal is watched by the person who started it, and the next run that takes the lock
    marks a killed writer as crashed. Set `PREFECT_FLOWS_HEARTBEAT_FREQUENCY` to send them nevertheless.
    """
    current, defaults = get_current_settings(), dict[Any, int | None]()
    if "max_retries" not in current.client.model_fields_set:
        defaults[settings.PREFECT_CLIENT_MAX_RETRIES] = RETRIES
    frequency = heartbeat_setting()
    if frequency is not None and "heartbeat_frequency" not in current.flows.model_fields_set:
        defaults[frequency] = None
    return defaults


def _key_of_the_shell() -> dict[Any, None]:
    """Return the setting by which an API key from the shell takes precedence over a password from a file.

    Prefect prefers the password wherever it is from, such as a stack's `.env`, and would send it to a server that it is
    not for.
    """
    only_key = "PREFECT_API_KEY" in os.environ and "PREFECT_API_AUTH_STRING" not in os.environ
    return {settings.PREFECT_API_AUTH_STRING: None} if only_key else {}


def check(api_url: str) -> str:
    """Make sure, by one request, that the server answers and accepts our key; return its version."""
    with translate_http_errors(api_url):
        answer = ask(f"{api_url}/admin/version", authorised=True)
        if answer.status_code == httpx.codes.NOT_FOUND or "json" not in answer.headers.get("content-type", ""):
            raise refuse("MF401", url=api_url, detail="what answers is no Prefect API; its address ends in /api")
        answer.raise_for_status()
    return str(answer.json())


def ensure_no_older(api_url: str, server: str) -> None:
    """Make sure that a server's version is no older than this Prefect's.

    Between patches of one minor version nothing breaks, and an older client uses nothing that a newer server lacks.

    Raises:
        MetaFlowsError: MF408, it is older.
    """
    if minor(server) < minor(prefect.__version__):
        raise refuse("MF408", url=api_url, server=server, client=prefect.__version__)


def minor(version: str) -> tuple[int, ...]:
    """Return the major and minor version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def ask(url: str, *, authorised: bool = False, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Send one GET without a client, as Prefect's settings say; `authorised` is for the server in use only."""
    current, sent = get_current_settings(), dict(headers or {})
    auth: httpx.BasicAuth | None = None
    if authorised:
        sent = {**current.client.custom_headers, **sent}
        if current.api.auth_string and not _key_of_the_shell():
            user, _, password = current.api.auth_string.get_secret_value().partition(":")
            auth = httpx.BasicAuth(user, password)
        elif current.api.key:
            sent["Authorization"] = f"Bearer {current.api.key.get_secret_value()}"
    return _get(url, headers=sent, auth=auth, verify=certificates(), timeout=10)


def answers(api_url: str) -> bool:
    """Return whether a Prefect server answers at this address, even if it rejects us."""
    try:
        return _get(f"{api_url}/health", timeout=2, verify=certificates()).status_code in (200, 401, 403)
    except httpx.HTTPError:
        return False


def is_api(url: str, *, through_proxy: bool = False) -> bool:
    """Return whether a Prefect API answers, without credentials, directly or through the proxies of the shell."""
    try:
        with httpx.Client(verify=certificates(), trust_env=through_proxy, timeout=5) as browser:
            answer = browser.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code in (401, 403) or (answer.is_success and "json" in answer.headers["content-type"])


def _get(url: str, **options: Any) -> httpx.Response:
    """Send a GET, and again up to four times after a transient fault."""
    for pause in (0.2, 0.5, 1.0, 2.0):
        with suppress(httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            answer = httpx.get(url, **options)
            if answer.status_code not in TRANSIENT_STATUSES:
                return answer
        time.sleep(pause)
    return httpx.get(url, **options)


def ui_url(api_url: str) -> str:
    """Return the address of this server's default UI; Prefect 3 ships two, and its own links lead to the older one."""
    root = api_url.removesuffix("/api")
    try:
        shown = httpx.get(f"{root}/ui-settings", timeout=5, verify=certificates()).json()
        newer = shown["v2_base_url"]  # none where the server shows no UI at all
        path = urlsplit(root).path  # the server's own, or that of a proxy that removes it
        return f"{root}{newer.removeprefix(path)}" if newer and shown["default_ui"] == "v2" else root
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return root


def certificates() -> ssl.SSLContext:
    """Return how Prefect's settings want certificates to be checked, for requests that its client does not make."""
    api = get_current_settings().api
    return _tls_context(api.ssl_cert_file or certifi.where(), api.tls_insecure_skip_verify)


@cache  # reading the certificates takes longer than a request
def _tls_context(certificates: str, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates)
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


_brief: ContextVar[float | None] = ContextVar("brief", default=None)


@contextmanager
def briefly(seconds: float) -> Iterator[None]:
    """Try each request within this context once, for this many seconds at most."""
    token = _brief.set(seconds)
    try:
        yield
    finally:
        _brief.reset(token)


def is_brief() -> bool:
    """Return whether each request is tried once."""
    return _brief.get() is not None


class Transport(httpx.HTTPTransport):
    """Retries soon when the server's SQLite is locked, and logs a warning when a server does not answer.

    SQLite refuses a write at once (503) if another one came in between, which the events of our own task runs often do.
    Prefect's client would wait for two seconds, and does so after these retries.

    Attributes:
        hurried: Set once the server did not answer, until it answers again: then each request is tried once, for 5 s.
            Prefect's client would retry each for half a minute and more.
    """

    PAUSES_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4)
    BRIEFLY_SECONDS = 5.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hurried = False
        self._warned = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and again where a locked database refused it."""
        if seconds := self.BRIEFLY_SECONDS if self.hurried else _brief.get():
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        try:
            response = self._answer(request)
        except httpx.TransportError as error:
            self._failed(str(error) or type(error).__name__, error)
            raise
        if response.status_code in TRANSIENT_STATUSES:
            if self.hurried or is_brief():
                response.close()  # nothing reads it, and it holds a connection
            self._failed(f"HTTP {response.status_code}")
        else:
            self.hurried = self._warned = False
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        for pause in self.PAUSES_SECONDS:
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            response.close()
            time.sleep(pause)
        return super().handle_request(request)

    def _failed(self, detail: str, cause: Exception | None = None) -> None:
        if self.hurried or is_brief():
            raise refuse("MF401", url=str(get_current_settings().api.url), detail=detail) from cause
        if not self._warned:
            self._warned = True
            logger.warning("The Prefect server does not answer (%s); trying again for up to a minute", detail)


@contextmanager
def client(transport: Transport | None = None) -> Iterator[Api]:
    """Open a client of the server in use, whose links lead to its default UI, and whose errors are ours."""
    links = _links(str(get_current_settings().api.url))
    httpx_settings = {"transport": transport or Transport(verify=certificates())}
    with (
        temporary_settings(updates=links) if links else nullcontext(),
        translate_http_errors(),
        get_client(sync_client=True, httpx_settings=httpx_settings) as api,
    ):
        yield api


def request(api: Api, method: str, path: str, body: Any = None) -> Any:
    """Make one request and return the JSON of the answer; None for an empty one, and for a DELETE of what is gone.

    Raises:
        MetaFlowsError: MF401, the server did not answer; MF402, it rejected our key; MF404, it refused the request, or
            what answered is no Prefect API.
    """
    with translate_http_errors():
        try:
            response = api.request(method, path, json=body)  # type: ignore[arg-type]  # it types only its own routes
        except httpx.HTTPStatusError as error:
            if method == "DELETE" and error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        detail = f"the answer is not JSON: {response.text[:100]!r}"
        raise refuse("MF404", request=f"{method} {path}", detail=detail) from error


@contextmanager
def translate_http_errors(server: str | None = None) -> Iterator[None]:
    """Translate what the HTTP client raises into errors with a code, a cause and a remedy."""
    api_url = server or str(get_current_settings().api.url)
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise refuse("MF402", url=api_url, detail=f"HTTP {status}") from error
        if status in TRANSIENT_STATUSES:
            raise refuse("MF401", url=api_url, detail=f"HTTP {status}") from error
        request = f"{error.request.method} {error.request.url.path}"
        raise refuse("MF404", request=request, detail=_detail(error.response)) from error
    except httpx.LocalProtocolError as error:  # its text shows the header, and with it the key
        raise refuse("MF402", url=api_url, detail="the key holds what no header may hold") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # too many redirections are no transport error
        raise refuse("MF401", url=api_url, detail=str(error) or type(error).__name__) from error


def _detail(response: httpx.Response) -> str:
    """Return why a request was refused, without the values it sent: servers repeat those, secrets too."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    detail = body.get("detail") or body.get("exception_detail") or body if isinstance(body, dict) else body
    if isinstance(detail, list):
        detail = "; ".join(_misfit(error) for error in detail)
    try:
        sent = json.loads(response.request.content)
    except ValueError:
        sent = None
    return f"HTTP {response.status_code} {without_secrets(str(detail), sent)}"


def _misfit(error: Any) -> str:
    """Return where a request is invalid, and why; `input` would repeat what was sent."""
    if not isinstance(error, dict):
        return str(error)
    return f"{'.'.join(map(str, error.get('loc', ())))}: {error.get('msg', '')}"
