"""How a joined span looks to people: what exported spans have beside the facts and estimates, for back ends such as Jaeger.

One line of text with the three runtimes, over OTLP estimates in four digits, one value an attribute (back ends search by whole
values), and events where the quiet day and the reference stack would have been done: ticks on the span's bar, contention is what lies
right of them. The span log keeps every digit and none of this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracewrap import semconv
from tracewrap.words import clean, seconds, usd

_ESTIMATE_DIGITS = 4
_FACT_DIGITS = 10
"""Facts are read back from a back end: a report from there still equals the span log's to 1e-9."""
_FACTS = (
    semconv.RUNTIME_RAW,
    semconv.TIME_TO_FIRST_CHUNK,
    semconv.CONSUMER,
    semconv.RETRY,
    semconv.SERVER_PROCESSING,
    semconv.CLIENT_POOL,
    semconv.CLIENT_SDK,
    semconv.CLIENT_LAG,
    semconv.NETWORK,
)
_NO_ESTIMATE = ("not_generation", "failed", "no_usage")
"""Statuses of calls that have no estimate of either kind."""


def presented(span: ReadableSpan, *, short: bool = True) -> ReadableSpan:
    """A copy of the joined *span* as people see it; other spans as they are. *short*: with few digits."""
    attributes = attributes_of(span)
    return presented_with(span, attributes, short=short) if semconv.JOIN_STATUS in attributes else span


def presented_with(span: ReadableSpan, attributes: dict[str, Any], *, short: bool) -> ReadableSpan:
    """A copy of *span* with the *attributes* of its joined call in place of its own, as people see them."""
    shown = presented_attributes(attributes, short=short)
    if span.status.description is not None:
        shown = _status_code(span.status.description) | shown
    ends = () if semconv.JOIN_DENOISED in attributes else _ends(span, attributes)
    return with_attributes(span, shown, ends)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """A copy of the span's attributes. Its own mapping is slow to read item by item: where there is a plain dict inside, that is copied."""
    inner = getattr(getattr(span, "_attributes", None), "_dict", None)
    return dict(inner) if isinstance(inner, dict) else dict(span.attributes or {})


def with_attributes(span: ReadableSpan, attributes: Mapping[str, Any], events: Sequence[Event] = ()) -> ReadableSpan:
    """A copy of *span* with *attributes* in place of its own, and *events* beside its own."""
    if type(span) is ReadableSpan and hasattr(span, "_attributes") and not events:  # thrice as quick as making one
        made = ReadableSpan.__new__(ReadableSpan)
        vars(made).update(vars(span), _attributes=attributes)
        return made
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[*span.events, *events] if events else span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def presented_attributes(attributes: Mapping[str, Any], *, short: bool = True) -> dict[str, Any]:
    """*attributes* of a joined call as people see them; those that were presented before are only made *short*."""
    out = {name: _rounded(name, value) for name, value in attributes.items()} if short else dict(attributes)
    if semconv.JOIN_DENOISED in attributes:
        return out
    if semconv.CACHE_WRITE in attributes:
        out[semconv.CACHE_WRITE_OLD] = attributes[semconv.CACHE_WRITE]  # what the views of 2025 read
    statuses = str(attributes.get(semconv.JOIN_STATUS, "")).split(",")
    out[semconv.JOIN_STATUS] = statuses[0]
    out[semconv.JOIN_DENOISED] = _part(statuses, "no_denoised_profile", semconv.RUNTIME_DENOISED in attributes)
    missing = "unknown_model" if "unknown_model" in statuses else "no_idealized_profile"
    out[semconv.JOIN_IDEALIZED] = _part(statuses, missing, semconv.RUNTIME_IDEALIZED in attributes)
    if (text := summary(attributes)) is not None:
        out[semconv.SUMMARY] = text
    return out


def _status_code(description: str) -> dict[str, int]:
    """The HTTP status that our description of a failure ends with, as an attribute that can be searched."""
    found = re.fullmatch(r"\w+ ([45]\d\d)", description, re.ASCII)
    return {semconv.HTTP_STATUS: int(found[1])} if found else {}


def summary(attributes: Mapping[str, Any]) -> str | None:
    """``raw 1.27 s; quiet day 733 ms (713 to 754 ms); contention 42%; slow by provider; on STACK 410 ms``; None without a runtime."""
    read = attributes.get
    if (raw := read(semconv.RUNTIME_RAW)) is None:
        return None
    parts = [f"raw {seconds(raw)}"]
    if (retry := read(semconv.RETRY)) is not None:
        parts[0] += f", {seconds(retry)} of it retries"
    if (error := read(semconv.ERROR_TYPE)) is not None:
        parts.append(f"failed: {clean(str(error))}")
    if (quiet := read(semconv.RUNTIME_DENOISED)) is not None:
        low, high = read(f"{semconv.RUNTIME_DENOISED}.low", quiet), read(f"{semconv.RUNTIME_DENOISED}.high", quiet)
        sure = read(semconv.PROFILE_VERDICT, "ok")
        parts.append(
            f"quiet day {seconds(quiet)} ({_between(seconds(low), seconds(high))}{'' if sure == 'ok' else f', {sure}'})"
        )
    if (contention := read(semconv.CONTENTION_SHARE)) is not None:
        parts.append(f"contention {contention:.0%}")
    if (verdict := read(semconv.SPLIT_VERDICT)) is not None:
        parts.append(f"slow by {verdict}" if verdict != "model" else "as fast as on a quiet day")
    if (idealized := read(semconv.RUNTIME_IDEALIZED)) is not None:
        parts.append(f"on {read(semconv.REFERENCE_STACK, 'the reference stack')} {seconds(idealized)}")
    costs = (("list", semconv.COST_LIST), ("idealized", semconv.COST_IDEALIZED))
    parts += [f"{word} {usd(read(name))}" for word, name in costs if read(name) is not None]
    return "; ".join(parts)


def _between(low: str, high: str) -> str:
    """*low* to *high*, a shared unit written once."""
    amount, _, unit = low.rpartition(" ")
    return f"{amount} to {high}" if high.endswith(f" {unit}") and amount else f"{low} to {high}"


def _part(statuses: Sequence[str], missing: str, known: bool) -> str:
    if known:
        return "ok"
    return next((one for one in statuses if one in (missing, *_NO_ESTIMATE)), statuses[0])


def _rounded(name: str, value: Any) -> Any:
    if not isinstance(value, float) or not name.startswith(("tracewrap.", semconv.TIME_TO_FIRST_CHUNK)):
        return value
    return float(f"{value:.{_FACT_DIGITS if name in _FACTS else _ESTIMATE_DIGITS}g}")


def _ends(span: ReadableSpan, attributes: Mapping[str, Any]) -> list[Event]:
    """Events where the last attempt would have ended on a quiet day and on the reference stack, where that lies inside the span."""
    if span.start_time is None or span.end_time is None:
        return []
    retry = attributes.get(semconv.RETRY) or 0.0
    events = []
    for name, source in (
        (semconv.EVENT_DENOISED_END, semconv.RUNTIME_DENOISED),
        (semconv.EVENT_IDEALIZED_END, semconv.RUNTIME_IDEALIZED),
    ):
        runtime = attributes.get(source)
        if runtime is None:
            continue
        at = span.start_time + round((retry + runtime) * 1e9)
        if at < span.end_time:
            events.append(Event(name, {source: _rounded(source, float(runtime))}, at))
    return sorted(events, key=lambda event: event.timestamp)


class Presenting(SpanExporter):
    """Hands *exporter* joined spans as people see them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export copies; a span that cannot be presented is exported as it is."""
        return self._exporter.export([shown(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the inner exporter."""
        return self._exporter.force_flush(timeout_millis)


def shown(span: ReadableSpan, *, short: bool = True) -> ReadableSpan:
    """``presented``; a span that cannot be presented is itself."""
    try:
        return presented(span, short=short)
    except Exception:  # noqa: BLE001 - telemetry never changes the program
        return span
