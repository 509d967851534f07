"""The UI as a browser meets it: a page that answers, and settings that lead the browser to an API that answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic
from meta_flows.prefect_api.connection import ask

V2 = "/v2"
"""Where the newer UI is, below the older one, which has the settings of both."""


def find_ui_faults(ui_url: str, api_url: str, known: str = "/health") -> Iterator[Diagnostic]:
    """Yield what keeps people's browsers from showing what the server has.

    Args:
        ui_url: Address of the UI for people.
        api_url: Address of the API for us.
        known: Path of an object that this server has and no other.
    """
    ui_url = ui_url.rstrip("/")
    here = _seen_from_here(ui_url, api_url)
    try:
        ask(f"{here}/").raise_for_status()
        configured = str(ask(f"{here.removesuffix(V2)}/ui-settings").raise_for_status().json()["api_url"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        yield diagnostic("MF711", url=ui_url, detail=_detail(error))
        return
    target = urljoin(f"{ui_url}/", configured).rstrip("/")
    if reason := _unusable(target, ui_url):
        yield diagnostic("MF712", url=ui_url, api_url=configured, detail=reason)
        return
    foreign = _origin(target) != _origin(ui_url)
    reachable = target if foreign else _origin(here) + target.removeprefix(_origin(target))
    ours = not foreign or _origin(target) == _origin(api_url)
    try:
        if reason := _not_our_api(reachable, known, authorised=ours):
            yield diagnostic("MF712", url=ui_url, api_url=configured, detail=reason)
        elif foreign and not _allows_origin(reachable, _origin(ui_url)):
            yield diagnostic("MF713", api_url=target, origin=_origin(ui_url))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield diagnostic("MF712", url=ui_url, api_url=configured, detail=_detail(error))


def _unusable(target: str, ui_url: str) -> str:
    """Return why no browser that shows the UI can send requests to an address, whatever answers there."""
    if is_loopback(target) and not is_loopback(ui_url):
        return "that is each browser's own machine"
    if ui_url.startswith("https:") and target.startswith("http:"):
        return "browsers refuse http from a page over https"
    return ""


def _not_our_api(target: str, known: str, *, authorised: bool) -> str:
    """Return why an address is not that of our server's API; without authorisation it may reject the request."""
    healthy = ask(f"{target}/health")
    if "json" not in healthy.headers.get("content-type", "") or healthy.status_code == httpx.codes.NOT_FOUND:
        return "what answers is no Prefect API"
    answer = ask(f"{target}{known}", authorised=authorised)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return "what answers is another Prefect server"
    refused = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) and not authorised
    return "" if answer.is_success or refused else f"HTTP {answer.status_code}"


def _allows_origin(target: str, origin: str) -> bool:
    """Return whether an API answers pages of another origin."""
    answer = ask(f"{target}/health", headers={"Origin": origin})
    return answer.headers.get("access-control-allow-origin") in ("*", origin)


def _seen_from_here(ui_url: str, api_url: str) -> str:
    """Return the UI's address for us: in a container, the UI on people's own machine is reached beside the API."""
    if is_loopback(ui_url) and not is_loopback(api_url):
        return _origin(api_url) + ui_url.removeprefix(_origin(ui_url))
    return ui_url


def is_loopback(url: str) -> bool:
    """Return whether an address leads each machine to itself, as 0.0.0.0 does, where a server listens everywhere."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _detail(error: Any) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, (ValueError, KeyError, TypeError)):
        return "what answers is no Prefect UI"
    return str(error) or type(error).__name__
