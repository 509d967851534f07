"""A bar, whoever it comes from, and a page of them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from flows.trading.storage import PRICE, VOLUME

Timeframe = Literal["1d", "5m"]

Price = Annotated[Decimal, AfterValidator(lambda value: round(value, PRICE)), Field(gt=0)]
Volume = Annotated[Decimal, AfterValidator(lambda value: round(value, VOLUME)), Field(ge=0)]


class Bar(BaseModel, frozen=True):
    """Prices of one interval, adjusted for splits."""

    at: datetime
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Volume
    vwap: Price | None = None
    trades: int | None = None


class Page(NamedTuple):
    """What one request brought.

    Attributes:
        bars: Those that can be used.
        faults: What is wrong with the others.
    """

    bars: list[Bar]
    faults: list[str]


class Vendor(Protocol):
    """A service that has bars."""

    @property
    def name(self) -> str:
        """What its bars are stored under."""

    def pages(self, symbol: str, timeframe: Timeframe, first: date, last: date) -> Iterator[Page]:
        """The bars of these days, both included, oldest first."""


def read_page(symbol: str, rows: Iterable[Mapping[str, Any]]) -> Page:
    """Take the usable bars out of what a vendor sent; one bad row costs that row only."""
    page = Page([], [])
    for row in rows:
        try:
            page.bars.append(Bar.model_validate(row))
        except ValidationError as error:  # noqa: PERF203 - one row at a time is the point
            details = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            page.faults.append(f"{symbol} at {row.get('at')}: {details}")
    return page
