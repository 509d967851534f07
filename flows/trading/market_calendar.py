"""When the New York Stock Exchange trades."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


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
    from holidays import financial_holidays  # the calendars of all countries: what only needs the time goes without

    closed = financial_holidays("NYSE", years=range(first.year, last.year + 1))
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5 and day not in closed]  # noqa: PLR2004 - Saturday
