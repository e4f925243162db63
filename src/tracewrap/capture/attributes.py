"""Attributes into a span at a third of ``set_attributes``' cost, where that is safe.

OpenTelemetry's SDK checks and copies each value, which takes longer than all that tracewrap itself does at the end of a call. Our values
need neither: text, numbers, truth values, or tuples of text, as the SDK's own check would leave them. So they are put where it would put
them, under its own locks, if the span is the SDK's, nothing about it is overridden, no limit on length or number
could apply, and every value is of those types. In every other case: ``set_attributes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Span

_PLAIN = frozenset({str, int, float, bool})
_PUBLIC = Span.set_attributes


def put_attributes(span: Any, attributes: Mapping[str, Any]) -> None:
    """Set *attributes* on *span*, as ``span.set_attributes`` would."""
    if not _put_plain(span, attributes):
        span.set_attributes(attributes)


def _put_plain(span: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether *attributes* could be put there directly, and were."""
    if type(span).set_attributes is not _PUBLIC:
        return False
    for value in attributes.values():
        kind = type(value)
        if kind not in _PLAIN and (kind is not tuple or not all(type(item) is str for item in value)):
            return False
    try:
        bounded = span._attributes
        values = bounded._dict
        if bounded.max_value_len is not None or type(values) is not dict:
            return False
        with span._lock, bounded._lock:
            if bounded._immutable or span._end_time is not None:
                return False
            if bounded.maxlen is not None and len(values) + len(attributes) > bounded.maxlen:
                return False
            values.update(attributes)
    except AttributeError:  # another SDK's insides
        return False
    return True
