"""Reads about a server itself: its clock, its database, and the ways that lead to it."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

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


def is_api(url: str, *, through_proxy: bool = False) -> bool:
    """Whether a Prefect API answers at an address, without credentials.

    Args:
        url: Where it should be.
        through_proxy: Ask as the shell's proxy variables say, and not directly.
    """
    try:
        with httpx.Client(verify=certificates(), trust_env=through_proxy, timeout=ACCEPTED_SECONDS) as browser:
            answer = browser.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code in (401, 403) or (answer.is_success and "json" in answer.headers["content-type"])
