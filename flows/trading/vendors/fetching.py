"""One request to a vendor: in turn, patient where it asks for patience, and clear about what went wrong."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
from prefect.concurrency.sync import rate_limit

PATIENCE = 5
"""How often a request is made again after "too many requests"."""
LONGEST_PAUSE = 300.0
"""Seconds; who is asked for more patience than that gives up, and the next run by schedule asks again."""

logger = logging.getLogger(__name__)  # part of a run's log by PREFECT_LOGGING_EXTRA_LOGGERS


class VendorError(Exception):
    """The vendor does not give what was asked for; asking again would not help."""


class VendorUnavailable(VendorError):  # noqa: N818 - it may be available in a moment
    """The vendor cannot answer now; it may the next time."""


def fetch_json(
    client: httpx.Client, path: str, query: Mapping[str, str | int] | None = None, *, limit: str | None = None
) -> Any:
    """The JSON that a GET answers with; numbers come as the decimals that were sent.

    Args:
        client: Knows the vendor's address and credentials.
        path: Below that address.
        query: Its parameters.
        limit: Name of the global concurrency limit that spaces the requests out.

    Raises:
        VendorError: The request was refused.
        VendorUnavailable: It may succeed later.
    """
    for _ in range(PATIENCE):
        if limit:
            rate_limit(limit, strict=True)
        try:
            response = client.get(path, params=query)
        except httpx.HTTPError as error:
            raise VendorUnavailable(f"{client.base_url} does not answer: {type(error).__name__} {error}") from error
        if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return _content(response)
        seconds = pause(response.headers.get("Retry-After"))
        if seconds > LONGEST_PAUSE:
            raise VendorError(f"{response.url.path}: too many requests, and none is wanted for the next {seconds:g} s")
        logger.warning("%s: too many requests, the next one in %g s", response.url.path, seconds)
        time.sleep(seconds)
    raise VendorUnavailable(f"{client.base_url} still says 'too many requests' after {PATIENCE} attempts")


def pause(retry_after: str | None) -> float:
    """Seconds to wait, as a Retry-After header says: a number of them, or a date."""
    try:
        seconds = float(retry_after or "60")
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(str(retry_after)) - datetime.now(timezone.utc)).total_seconds()
        except (TypeError, ValueError):
            seconds = 60.0
    return max(seconds, 0.0)


def _content(response: httpx.Response) -> Any:
    status, path = response.status_code, response.url.path  # never the query: it may hold a key
    if response.is_server_error:
        raise VendorUnavailable(f"{path} failed with {status}")
    if not response.is_success:
        raise VendorError(f"{path} was refused with {status}: {response.text[:200]}")
    try:
        return json.loads(response.text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise VendorUnavailable(f"{path} answered with something that is no JSON: {error}") from error
