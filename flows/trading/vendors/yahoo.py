"""Yahoo Finance's charts: GET /v8/finance/chart/{symbol}."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from flows.trading.market_calendar import midnight, trading_day
from flows.trading.vendors.bars import Page, Price, Timeframe, read_page
from flows.trading.vendors.fetching import VendorError, fetch_json

FIELDS = ("open", "high", "low", "close", "volume")
DIGITS = 7
"""What its 32-bit numbers are good for: 189.97999572753906 is 189.98, and 0.1283479928970337 is 0.128348."""
DECIMALS = 4
"""What it states at least; of an index, which has more digits, it gives 64 bits."""
HEADERS = {"User-Agent": "Mozilla/5.0"}
"""Without a browser's name Yahoo answers "too many requests"."""


class Quote(BaseModel, frozen=True):
    """The latest price."""

    at: datetime = Field(alias="regularMarketTime")
    price: Price = Field(alias="regularMarketPrice")
    previous_close: Price | None = Field(default=None, alias="chartPreviousClose")
    currency: str


@dataclass(frozen=True)
class Yahoo:
    """A client of Yahoo's chart API."""

    url: str
    name: str = "yahoo"

    def pages(self, symbol: str, timeframe: Timeframe, first: date, last: date) -> Iterator[Page]:
        """The bars of these days, both included, oldest first: one page."""
        period = (midnight(first), midnight(last + timedelta(days=1)))
        start, end = (int(moment.timestamp()) for moment in period)
        chart = self._chart(symbol, interval=timeframe, period1=start, period2=end, events="split")
        [prices] = chart["indicators"]["quote"]
        moments = chart.get("timestamp") or []
        columns = [prices.get(name) or [None] * len(moments) for name in FIELDS]
        if any(len(column) != len(moments) for column in columns):
            raise VendorError(f"Yahoo's chart of {symbol} has columns of different lengths")
        rows = []
        for moment, *values in zip(moments, *columns, strict=True):
            if any(value is not None for value in values):  # all of them are null where nothing was traded
                at = datetime.fromtimestamp(moment, timezone.utc)
                at = midnight(trading_day(at)) if timeframe == "1d" else at
                rows.append({"at": at, **{name: _rounded(value) for name, value in zip(FIELDS, values, strict=True)}})
        yield read_page(symbol, rows)

    def quote(self, symbol: str) -> Quote:
        """The latest price of a symbol."""
        chart = self._chart(symbol, interval="1d", range="1d")
        try:
            return Quote.model_validate({name: _rounded(value) for name, value in chart["meta"].items()})
        except ValidationError as error:
            missing = ", ".join(str(each["loc"][0]) for each in error.errors())
            raise VendorError(f"Yahoo's quote of {symbol} is not usable: {missing}") from None

    def _chart(self, symbol: str, **parameters: str | int) -> dict[str, Any]:
        path = f"/v8/finance/chart/{symbol.replace('.', '-')}"  # a class of shares: BRK.B is its BRK-B
        with httpx.Client(base_url=self.url, headers=HEADERS, timeout=30) as client:
            answer = fetch_json(client, path, parameters)
        try:
            [chart] = answer["chart"]["result"]
        except (KeyError, TypeError, ValueError):
            raise VendorError(f"{path} answered {str(answer)[:200]}") from None
        return dict(chart)


def _rounded(value: Any) -> Any:
    """The price behind a binary fraction."""
    if not isinstance(value, Decimal) or not value:
        return value
    return round(value, max(DECIMALS, DIGITS - 1 - value.adjusted()))
