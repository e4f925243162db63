"""How long to wait when an API says not now: its own headers first, growing pauses else.

Understands ``retry-after-ms``, ``retry-after`` (seconds or a date), ``x-ratelimit-reset-*`` (``6m0s``, ``20ms``, seconds) and
``anthropic-ratelimit-*-reset`` (RFC 3339). Errors are read by shape, so no SDK is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_S = 300.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


def status_of(error: BaseException) -> int | None:
    """The HTTP status that *error* carries; None for a lost connection and the like."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def passes(error: BaseException) -> bool:
    """Whether trying again later may help: throttled, overloaded, or the connection was lost."""
    status = status_of(error)
    if status is not None:
        return status in _PASSING
    text = type(error).__name__.lower()
    return isinstance(error, ConnectionError | TimeoutError) or "connect" in text or "timeout" in text


def headers_of(error: BaseException) -> dict[str, str]:
    """Response headers that *error* carries, lower case."""
    for holder in (getattr(error, "response", None), error):
        headers: Any = getattr(holder, "headers", None)
        if isinstance(headers, Mapping):
            return {str(name).lower(): str(value) for name, value in headers.items()}
    return {}


def wait_for(headers: Mapping[str, str], attempt: int, now: datetime | None = None) -> float:
    """Seconds to wait before attempt *attempt* + 1 (the first is 1), at most ``LONGEST_S``."""
    now = datetime.now(UTC) if now is None else now
    asked = [_milliseconds(headers), _seconds_or_date(headers.get("retry-after"), now)]
    found = [seconds for seconds in asked if seconds is not None]
    if not found:
        empty = [
            name
            for name, value in headers.items()
            if name.endswith("remaining") or "-remaining-" in name
            if value == "0"
        ]
        resets = [headers.get(name.replace("remaining", "reset")) for name in empty]
        found = [s for s in (_duration(value, now) for value in resets) if s is not None]
    if found:
        return min(LONGEST_S, max(0.0, *found))
    return float(min(LONGEST_S, 2.0**attempt))


def _milliseconds(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["retry-after-ms"]) / 1000.0
    except (KeyError, ValueError):
        return None


def _seconds_or_date(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):
        return None


def _duration(value: str | None, now: datetime) -> float | None:
    if not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    parts = _DURATION.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    try:
        return (datetime.fromisoformat(value) - now).total_seconds()
    except (ValueError, TypeError):
        return None
