"""When the New York Stock Exchange trades."""

from collections.abc import Container
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPENING, SHORT_CLOSING, CLOSING = time(9, 30), time(13), time(16)


def today() -> date:
    """The day that it is at the exchange."""
    return datetime.now(NEW_YORK).date()


def midnight(day: date) -> datetime:
    """When a day begins at the exchange: what a daily bar is stored under."""
    return datetime.combine(day, time(), NEW_YORK)


def trading_day(at: datetime) -> date:
    """The day that a moment belongs to."""
    return at.astimezone(NEW_YORK).date()


def trading_days(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included, on which the exchange opens."""
    closed = _holidays(first, last, "public")
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5 and day not in closed]  # noqa: PLR2004 - Saturday


def sessions(first: date, last: date) -> list[tuple[datetime, datetime]]:
    """When the exchange opens and closes on each of these days: 9:30 to 16:00, on half-days to 13:00."""
    short = _holidays(first, last, "half_day")
    return [
        (
            datetime.combine(day, OPENING, NEW_YORK),
            datetime.combine(day, SHORT_CLOSING if day in short else CLOSING, NEW_YORK),
        )
        for day in trading_days(first, last)
    ]


def _holidays(first: date, last: date, category: str) -> Container[date]:
    from holidays import financial_holidays  # the calendars of all countries: what only needs the time goes without

    return financial_holidays("NYSE", years=range(first.year, last.year + 1), categories=category)
