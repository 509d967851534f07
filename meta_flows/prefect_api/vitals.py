"""Reads about a server itself: its clock, its database, its UI, and the ways that lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from meta_flows.prefect_api.connection import Api, certificates

ACCEPTED_SECONDS = 5


def clock_ahead(api: Api) -> float:
    """By how many seconds this machine's clock is ahead of the server's, to about half a second."""
    asked = datetime.now(timezone.utc)
    answer = api.request("GET", "/admin/version")
    meanwhile = (datetime.now(timezone.utc) - asked) / 2
    said = parsedate_to_datetime(answer.headers["date"])
    return (asked + meanwhile - said).total_seconds() - 0.5  # it says whole seconds, cut off


def is_on_sqlite(api: Api) -> bool:
    r"""Whether the server's database is SQLite; its settings mask that together with the password.

    For PostgreSQL a backslash in a pattern is an escape, `\t` is `t`; for SQLite it is a character like any other.
    """
    found = (
        len(api.request("POST", "/block_types/filter", json={"block_types": {"name": {"like_": pattern}}}).json())
        for pattern in ("secret", "secre\\t")
    )
    return next(found) > next(found)


def read_ui_settings(ui: str) -> Mapping[str, Any] | None:
    """What the UI at this address tells a browser; None where there is no UI."""
    answer = _ask("GET", f"{ui}/ui-settings")
    return answer.json() if answer and answer.is_success and "json" in answer.headers["content-type"] else None


def is_api(url: str, *, through_proxy: bool = False) -> bool:
    """Whether a Prefect API answers at an address, whoever asks.

    Args:
        url: Where it should be.
        through_proxy: Ask as the shell's proxy variables say, and not directly.
    """
    answer = _ask("GET", f"{url}/health", trust_env=through_proxy)
    if answer is None:
        return False
    return answer.status_code in (401, 403) or (answer.is_success and "json" in answer.headers["content-type"])


def may_call(origin: str, api_url: str) -> bool:
    """Whether an API lets a page from this origin call it, as a browser finds out."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = _ask("OPTIONS", f"{api_url}/flows/filter", headers=headers)
    return answer is not None and answer.headers.get("access-control-allow-origin") in ("*", origin)


def _ask(method: str, url: str, *, trust_env: bool = False, **options: Any) -> httpx.Response | None:
    try:
        with httpx.Client(verify=certificates(), trust_env=trust_env, timeout=ACCEPTED_SECONDS) as browser:
            return browser.request(method, url, **options)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
