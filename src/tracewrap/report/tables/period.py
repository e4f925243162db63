"""Periods and clocks: days of a time zone as half-open stretches of Unix nanoseconds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tracewrap.errors import ConfigurationError
from tracewrap.records import HOUR_NS
from tracewrap.report.schema import Period


def zone(name: str) -> dt.tzinfo:
    """The time zone called *name*; ConfigurationError when there is none."""
    if name.upper() == "UTC":
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"time zone {name!r} is not known; write a name such as UTC or Europe/Berlin"
        ) from None


def to_ns(moment: dt.datetime) -> int:
    """Unix nanoseconds of an aware moment, to the microsecond."""
    delta = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000


def from_ns(ns: int, tz: dt.tzinfo) -> dt.datetime:
    """The moment, to the microsecond, in *tz*."""
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=ns // 1000)).astimezone(tz)


def parse_moment(text: str, tz: dt.tzinfo) -> dt.datetime:
    """``2026-11-22``, ``2026-11-22T08:00`` or with an offset; local to *tz* when it has none. ConfigurationError otherwise."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no date; write 2026-11-22 or 2026-11-22T08:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=tz)


@dataclass(frozen=True, slots=True)
class Span:
    """since <= t < until in Unix nanoseconds, read in a time zone."""

    since_ns: int
    until_ns: int
    timezone: str

    @property
    def tz(self) -> dt.tzinfo:
        """The time zone itself."""
        return zone(self.timezone)

    def describe(self) -> Period:
        """The report's ``period``."""
        since, until = from_ns(self.since_ns, self.tz), from_ns(self.until_ns, self.tz)
        last = from_ns(max(self.until_ns - 1000, self.since_ns), self.tz)
        count = min((last.date() - since.date()).days + 1, 1000)
        days = [(since.date() + dt.timedelta(days=i)).isoformat() for i in range(count)]
        return {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "since_ns": self.since_ns,
            "until_ns": self.until_ns,
            "timezone": self.timezone,
            "days": days,
        }

    def hour_label(self, index: int) -> str:
        """RFC 3339 start of the period's hour number *index*."""
        return from_ns(self.since_ns + index * HOUR_NS, self.tz).isoformat()

    def day_label(self, index: int) -> str:
        """The day, in the period's time zone, on which its hour number *index* begins."""
        return from_ns(self.since_ns + index * HOUR_NS, self.tz).date().isoformat()


def day_span(day: str, timezone: str) -> Span:
    """One day of *timezone*: ``2026-11-22``, ``today`` or ``yesterday``."""
    tz = zone(timezone)
    named = {"today": 0, "yesterday": 1}
    if day in named:
        date = dt.datetime.now(tz).date() - dt.timedelta(days=named[day])
    else:
        try:
            date = dt.date.fromisoformat(day)
        except ValueError:
            raise ConfigurationError(f"--day {day!r} is no date; write 2026-11-22, today or yesterday") from None
    return between(date.isoformat(), (date + dt.timedelta(days=1)).isoformat(), timezone)


def between(since: str, until: str, timezone: str) -> Span:
    """The period from *since* to *until*, both as ``parse_moment`` reads them; ConfigurationError when it is empty."""
    tz = zone(timezone)
    span = Span(to_ns(parse_moment(since, tz)), to_ns(parse_moment(until, tz)), timezone)
    if span.until_ns <= span.since_ns:
        raise ConfigurationError(f"the period from {since} to {until} is empty; --until must lie after --since")
    return span


def around(first_ns: int, last_ns: int, timezone: str) -> Span:
    """Whole days of *timezone* that hold both moments."""
    tz = zone(timezone)
    first, last = from_ns(first_ns, tz).date(), from_ns(last_ns, tz).date()
    return between(first.isoformat(), (last + dt.timedelta(days=1)).isoformat(), timezone)
