"""OTLP's JSON as text, a span at a time: strict JSON, whatever the values are, and no call that keeps the interpreter for long.

Hex ids, 64-bit integers as text, enumerations as numbers, absent means default. What JSON or OTLP cannot hold is left out: NaN and
infinities, integers beyond 64 bits. Half a surrogate pair becomes U+FFFD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from tracewrap import semconv
from tracewrap.records import CallRecord

_CLIENT = 3
_ERROR = 2
_SURROGATES = re.compile("[\ud800-\udfff]")
_INT64 = 2**63
_MOST_NAMES, _LONG_NAME = 1000, 200
_beginnings: dict[str, str] = {}


def quoted(text: str) -> str:
    """*text* as a JSON string."""
    return encode_basestring(text)


def utf8(text: str) -> bytes:
    """*text* in UTF-8, half surrogate pairs replaced."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode("utf-8")


def line(resource: str, scope: str, spans: Sequence[str], schema_url: str | None = None) -> str:
    """One TracesData of encoded *spans* of one resource and scope, which are JSON texts too."""
    schema = f',"schemaUrl":{quoted(schema_url)}' if schema_url else ""
    return (
        f'{{"resourceSpans":[{{"resource":{{"attributes":{resource}}},'
        f'"scopeSpans":[{{"scope":{scope},"spans":[{",".join(spans)}]{schema}}}]}}]}}\n'
    )


def scope_text(name: str, version: str | None) -> str:
    """An instrumentation scope."""
    return f'{{"name":{quoted(name)},"version":{quoted(version)}}}' if version else f'{{"name":{quoted(name)}}}'


def record_text(record: CallRecord, attributes: Mapping[str, Any]) -> str:
    """The span of a recorded call, with *attributes*; its flags say whether its trace was sampled."""
    status = None if record.failure is None else (_ERROR, record.failure)
    return _span_text(
        record.trace_id,
        record.span_id,
        record.parent_span_id,
        record.trace_state,
        int(record.sampled),
        record.name,
        _CLIENT,
        (record.start_time_ns, record.end_time_ns),
        attributes,
        status,
    )


def span_text(span: ReadableSpan) -> str:
    """A span of the SDK's, events and links too."""
    context, code = span.context, span.status.status_code.value
    assert context is not None
    extra = ""
    if span.events:
        events = (
            f'{{"timeUnixNano":"{event.timestamp}","name":{quoted(event.name)},"attributes":{pairs(event.attributes or {})}}}'
            for event in span.events
        )
        extra += f',"events":[{",".join(events)}]'
    if span.links:
        links = (
            f'{{"traceId":"{link.context.trace_id:032x}","spanId":"{link.context.span_id:016x}",'
            f'"attributes":{pairs(link.attributes or {})}}}'
            for link in span.links
        )
        extra += f',"links":[{",".join(links)}]'
    return _span_text(
        context.trace_id,
        context.span_id,
        None if span.parent is None else span.parent.span_id,
        context.trace_state.to_header() or None,
        int(context.trace_flags),
        span.name,
        span.kind.value + 1,
        (span.start_time or 0, span.end_time or 0),
        span.attributes or {},
        (code, span.status.description) if code else None,
        extra,
    )


def _span_text(
    trace_id: int,
    span_id: int,
    parent_span_id: int | None,
    trace_state: str | None,
    flags: int,
    name: str,
    kind: int,
    times_ns: tuple[int, int],
    attributes: Mapping[str, Any],
    status: tuple[int, str | None] | None,
    extra: str = "",
) -> str:
    if trace_state:
        extra = f',"traceState":{quoted(trace_state)}{extra}'
    if parent_span_id is not None:
        extra = f',"parentSpanId":"{parent_span_id:016x}"{extra}'
    if status is not None:
        code, message = status
        extra += f',"status":{{"code":{code}' + (f',"message":{quoted(message)}}}' if message else "}")
    return (
        f'{{"traceId":"{trace_id:032x}","spanId":"{span_id:016x}","name":{quoted(name)},"kind":{kind},"flags":{flags},'
        f'"startTimeUnixNano":"{times_ns[0]}","endTimeUnixNano":"{times_ns[1]}","attributes":{pairs(attributes)}{extra}}}'
    )


def pairs(attributes: Mapping[str, Any]) -> str:
    """Attributes as a JSON list of keys and values."""
    written = []
    for key, value in attributes.items():
        kind = type(value)
        if kind is str:
            text = f'{{"stringValue":{encode_basestring(value)}}}}}'
        elif kind is float and -math.inf < value < math.inf:
            text = f'{{"doubleValue":{value!r}}}}}'
        elif kind is int and -_INT64 <= value < _INT64:
            text = f'{{"intValue":"{value}"}}}}'
        elif (other := value_text(value)) is not None:
            text = other + "}"
        else:
            continue
        written.append((_beginnings.get(key) or _beginning(key)) + text)
    return f"[{','.join(written)}]"


def _beginning(key: str) -> str:
    """An attribute's text up to its value, kept for names that come again and again."""
    text = f'{{"key":{encode_basestring(key)},"value":'
    if len(_beginnings) < _MOST_NAMES and len(key) < _LONG_NAME:
        _beginnings[key] = text
    return text


def value_text(value: Any) -> str | None:
    """An attribute's value as OTLP's AnyValue; None where it has none."""
    if isinstance(value, str):
        return f'{{"stringValue":{encode_basestring(value)}}}'
    if isinstance(value, bool):
        return f'{{"boolValue":{"true" if value else "false"}}}'
    if isinstance(value, int):
        return f'{{"intValue":"{int(value)}"}}' if -_INT64 <= value < _INT64 else None
    if isinstance(value, float):
        return f'{{"doubleValue":{float(value)!r}}}' if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return f'{{"kvlistValue":{{"values":{pairs({str(key): one for key, one in value.items()})}}}}}'
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        inner = (text for one in value if (text := value_text(one)) is not None)
        return f'{{"arrayValue":{{"values":[{",".join(inner)}]}}}}'
    return None if value is None else f'{{"stringValue":{encode_basestring(str(value))}}}'


def losses_text(ids: tuple[int, int], place: str, reason: str, count: int, times_ns: tuple[int, int]) -> str:
    """The record of calls that did not reach a place: no model call, so that readers of calls pass it over and count it apart.

    A span named ``tracewrap.losses`` from the first of them to now, with how many (``tracewrap.lost.calls``), where
    (``tracewrap.lost.place``) and why (``tracewrap.lost.reason``).
    """
    attributes = {semconv.LOST_CALLS: count, semconv.LOST_PLACE: place, semconv.LOST_REASON: reason}
    return _span_text(ids[0], ids[1], None, None, 0, semconv.LOSSES, 1, times_ns, attributes, None)
