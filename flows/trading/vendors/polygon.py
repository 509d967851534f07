"""Polygon.io's aggregates: GET /v2/aggs/ticker/{symbol}/range/{multiplier}/{timespan}/{from}/{to}."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from pydantic import SecretStr

from flows.trading.market_calendar import midnight, trading_day
from flows.trading.vendors.bars import Page, Timeframe, read_page
from flows.trading.vendors.fetching import VendorError, fetch_json

RANGES = {"1d": "1/day", "5m": "5/minute"}
FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw", "trades": "n"}


@dataclass(frozen=True)
class Polygon:
    """A client of Polygon's API.

    Attributes:
        page_size: Base aggregates that one answer is made of; 50000 is the most that Polygon takes.
    """

    url: str
    key: SecretStr
    page_size: int = 50_000
    name: str = "polygon"

    @property
    def limit(self) -> str:
        """Name of the global concurrency limit of all who share the key: it is the key that the vendor limits."""
        return f"polygon-api-{sha256(self.key.get_secret_value().encode()).hexdigest()[:8]}"

    def pages(self, symbol: str, timeframe: Timeframe, first: date, last: date) -> Iterator[Page]:
        """The bars of these days, both included, oldest first; `next_url` leads from page to page."""
        headers = {"Authorization": f"Bearer {self.key.get_secret_value()}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            path = f"/v2/aggs/ticker/{symbol}/range/{RANGES[timeframe]}/{first}/{last}"
            query: dict[str, str | int] = {"adjusted": "true", "sort": "asc", "limit": self.page_size}
            answer = fetch_json(client, path, query, limit=self.limit)
            while True:
                if not isinstance(answer, dict) or answer.get("status") not in ("OK", "DELAYED"):
                    raise VendorError(f"{path} answered {str(answer)[:200]}")
                yield read_page(symbol, (_row(result, timeframe) for result in answer.get("results") or ()))
                if not answer.get("next_url"):
                    return
                # Only its path and query: the key goes to the configured address and nowhere else.
                following = httpx.URL(answer["next_url"]).raw_path.decode()
                answer = fetch_json(client, following, limit=self.limit)


def _row(result: dict[str, Any], timeframe: Timeframe) -> dict[str, Any]:
    """A result under our names; a field that is missing stays missing."""
    row = {name: result[key] for name, key in FIELDS.items() if key in result}
    if isinstance(result.get("t"), int | Decimal):
        at = datetime.fromtimestamp(int(result["t"]) / 1000, timezone.utc)
        row["at"] = midnight(trading_day(at)) if timeframe == "1d" else at
    return row


def space_requests_out(limit: str, per_minute: int) -> None:
    """Have the Prefect server let requests through one by one, as many a minute as Polygon allows."""
    pace = {"limit": 1, "slot_decay_per_second": per_minute / 60}
    with get_client(sync_client=True) as client:
        try:
            client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate.model_validate(pace))
        except ObjectNotFound:
            new = GlobalConcurrencyLimitCreate.model_validate({"name": limit, **pace})
            with suppress(ObjectAlreadyExists):  # another first run was faster
                client.create_global_concurrency_limit(new)
