"""The one gate for what a vendor's answer says: vendor files pass every count and every text through it.

Broken servers answer NaN, -5, half an emoji or a megabyte of name. Such a value is absent (a text: replaced, cut) from here on,
so that it reaches no span, no file and no sum; the rest of the answer stands.
"""

from __future__ import annotations

from typing import Any

COUNT_LIMIT = 1 << 63
"""Counts from here on fit no 64-bit column, and are none."""
MAX_TEXT = 256
"""Characters kept of a name, an id or a header."""


def count(value: Any) -> int | None:
    """*value* if it is a whole number of at least 0 (also as a float, or in digits, as the SDKs read it); None otherwise."""
    if value is None:
        return None
    if type(value) is str and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < COUNT_LIMIT else None


def text(value: Any) -> str | None:
    """*value* if it is a text that is not empty, of at most ``MAX_TEXT`` characters, each of which can be encoded."""
    if not isinstance(value, str) or not value:
        return None
    kept = str(value[:MAX_TEXT])
    return kept if kept.isascii() else kept.encode("utf-8", "replace").decode("utf-8")


def dollars(value: Any) -> float | None:
    """*value* if it is a finite amount of at least 0."""
    number = float(value) if type(value) in (int, float) and abs(value) < 1e12 else None
    return number if number is not None and number >= 0.0 else None


def seconds(value: Any) -> float | None:
    """*value* if it is a finite time of at least 0, as a number or in plain digits."""
    if isinstance(value, str) and len(value) < 24 and value.isascii() and value.replace(".", "", 1).isdigit():
        value = float(value)
    number = float(value) if type(value) in (int, float) and abs(value) < 1e9 else None
    return number if number is not None and number >= 0.0 else None


def milliseconds(value: str) -> float | None:
    """Seconds of a header that says milliseconds; None for anything but a plain decimal number."""
    plain = value.isascii() and len(value) < 16 and value.replace(".", "", 1).isdigit()
    return float(value) / 1000.0 if plain else None


def whole_number(value: str) -> int | None:
    """A count that a header says; None for anything but plain digits."""
    return count(int(value)) if value.isascii() and value.isdigit() and len(value) < 20 else None


def server_timing(value: str) -> float | None:
    """Seconds of the first duration in a ``Server-Timing`` header, which says milliseconds; None where there is none."""
    for part in value.partition(",")[0].split(";")[1:]:
        name, _, number = part.strip().partition("=")
        if name == "dur":
            return milliseconds(number.strip())
    return None
