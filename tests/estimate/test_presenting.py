"""Exported spans as people see them: one line of text, four digits, one value an attribute, ticks on the bar; facts stay readable."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.estimate.presenting import Presenting, presented, summary, with_attributes
from tracewrap.runtime.profile import RuntimeProfile

START_NS = 1_795_132_800 * 10**9
JOINED: dict[str, Any] = {
    semconv.OPERATION: "chat",
    semconv.RUNTIME_RAW: 1.2725618273499,
    semconv.RUNTIME_DENOISED: 0.73312345678,
    f"{semconv.RUNTIME_DENOISED}.low": 0.71312345678,
    f"{semconv.RUNTIME_DENOISED}.high": 0.75412345678,
    semconv.RUNTIME_IDEALIZED: 0.41012345678,
    semconv.REFERENCE_STACK: "h100",
    semconv.CONTENTION_SHARE: 0.4239,
    semconv.COST_LIST: 0.012345678,
    semconv.JOIN_STATUS: "ok",
}


def span(attributes: dict[str, Any], seconds: float = 1.2725618273499, failure: str | None = None) -> ReadableSpan:
    """A finished span with *attributes*."""
    provider = TracerProvider(shutdown_on_exit=False)
    made = provider.get_tracer("tracewrap").start_span("chat m", attributes=attributes, start_time=START_NS)
    if failure is not None:
        made.set_status(Status(StatusCode.ERROR, failure))
    made.end(START_NS + round(seconds * 1e9))
    assert isinstance(made, ReadableSpan)
    return made


def test_one_line_says_the_three_runtimes() -> None:
    """Raw, quiet day with its interval, contention, reference, cost: what a stranger reads first."""
    assert (
        summary(JOINED) == "raw 1.27 s; quiet day 733 ms (713 to 754 ms); contention 42%; on h100 410 ms; list $0.0123"
    )
    failed = {semconv.RUNTIME_RAW: 0.2118, semconv.ERROR_TYPE: "RateLimitError", semconv.RETRY: 0.1}
    assert summary(failed) == "raw 212 ms, 100 ms of it retries; failed: RateLimitError"
    assert summary({}) is None


def test_estimates_have_four_digits_and_facts_stay_facts() -> None:
    """What is only looked at is short; what a report reads back is right to 1e-9."""
    found = presented(span(JOINED)).attributes
    assert found is not None
    assert found[semconv.RUNTIME_DENOISED] == 0.7331
    assert found[semconv.COST_LIST] == 0.01235
    assert found[semconv.RUNTIME_RAW] == pytest.approx(JOINED[semconv.RUNTIME_RAW], rel=1e-9)
    assert found[semconv.RUNTIME_RAW] == 1.272561827


def test_ticks_where_quiet_day_and_reference_would_have_ended() -> None:
    """Two events in order of time, from the last attempt's start; none beyond the span's end."""
    events = presented(span(JOINED)).events
    assert [(one.name, one.timestamp - START_NS) for one in events] == [
        (semconv.EVENT_IDEALIZED_END, 410_123_457),
        (semconv.EVENT_DENOISED_END, 733_123_457),
    ]
    (event,) = presented(span(JOINED | {semconv.RETRY: 0.5})).events[:1]
    assert event.timestamp - START_NS == 910_123_457
    assert presented(span(JOINED, seconds=0.4)).events == ()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ok", ("ok", "ok", "ok")),
        (
            "no_denoised_profile,no_idealized_profile",
            ("no_denoised_profile", "no_denoised_profile", "no_idealized_profile"),
        ),
        ("no_denoised_profile,unknown_model,partial", ("no_denoised_profile", "no_denoised_profile", "unknown_model")),
        ("no_usage", ("no_usage", "no_usage", "no_usage")),
        ("failed", ("failed", "failed", "failed")),
    ],
)
def test_one_value_an_attribute(status: str, expected: tuple[str, str, str]) -> None:
    """Back ends search by whole values: no attribute holds two."""
    attributes = {semconv.OPERATION: "chat", semconv.JOIN_STATUS: status}
    if status == "ok":
        attributes = JOINED
    found = presented(span(attributes)).attributes
    assert found is not None
    assert (found[semconv.JOIN_STATUS], found[semconv.JOIN_DENOISED], found[semconv.JOIN_IDEALIZED]) == expected


def test_failures_can_be_searched_by_status() -> None:
    """429 is an attribute, not only a word of the description; a description without one gives none."""
    failed = {semconv.OPERATION: "chat", semconv.JOIN_STATUS: "failed"}
    assert (presented(span(failed, failure="RateLimitError 429")).attributes or {})[semconv.HTTP_STATUS] == 429
    assert semconv.HTTP_STATUS not in (presented(span(failed, failure="APITimeoutError")).attributes or {})
    assert semconv.HTTP_STATUS not in (presented(span(failed, failure="a text that ends in 429")).attributes or {})


def test_cache_writes_have_both_names() -> None:
    """Views that read the name of 2025 show them too."""
    found = presented(span(JOINED | {semconv.CACHE_WRITE: 512})).attributes or {}
    assert (found[semconv.CACHE_WRITE], found[semconv.CACHE_WRITE_OLD]) == (512, 512)


def test_other_spans_stay_as_they_are() -> None:
    """A span that was not joined is the same object; one that cannot be presented is exported as it is."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Presenting(exporter)))
    tracer = provider.get_tracer("web")
    tracer.start_span("GET /").end()
    tracer.start_span("odd", attributes={semconv.JOIN_STATUS: "ok", semconv.RUNTIME_RAW: "soon"}).end()
    plain, odd = exporter.get_finished_spans()
    assert dict(plain.attributes or {}) == {}
    assert (odd.attributes or {})[semconv.RUNTIME_RAW] == "soon"
    foreign = span({"http.route": "/"})
    assert presented(foreign) is foreign


def test_a_copy_is_its_span_with_other_attributes() -> None:
    """The SDK's own class by its fields, a class derived from it by its properties: all else is the same, and the original unchanged."""

    class Slotted(ReadableSpan):
        __slots__ = ()

    for kind in (ReadableSpan, Slotted):
        original = kind("chat m", start_time=1, end_time=2, attributes={"a": 1}, events=[Event("e", timestamp=1)])
        copy = with_attributes(original, {"b": 2})
        assert (dict(copy.attributes or {}), dict(original.attributes or {})) == ({"b": 2}, {"a": 1})
        for name in (
            "name",
            "context",
            "parent",
            "resource",
            "events",
            "links",
            "kind",
            "status",
            "start_time",
            "end_time",
        ):
            assert getattr(copy, name) == getattr(original, name)


def test_presented_twice_is_presented_once() -> None:
    """JoiningExporter around an OTLP exporter of ours: the same attributes and events as from the latter alone."""
    once = presented(span(JOINED))
    twice = presented(presented(span(JOINED), short=False))
    assert dict(twice.attributes or {}) == dict(once.attributes or {})
    assert [event.name for event in twice.events] == [event.name for event in once.events]


def test_joining_exporter_presents_with_every_digit() -> None:
    """A pipeline of the user's own may end in a file that reports are read from: summary and ticks, and nothing rounded."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    key = "openai||m|chat|plain"
    profile = RuntimeProfile(
        id="quiet", model="m", prompt_knots=((0.0, 0.1), (1000.0, 0.2)), d0=0.0123456789, stack={"deployment": key}
    )
    provider.add_span_processor(SimpleSpanProcessor(JoiningExporter(exporter, Catalog(denoised={key: profile}))))
    attributes = {semconv.OPERATION: "chat", semconv.PROVIDER: "openai", semconv.REQUEST_MODEL: "m"}
    attributes |= {semconv.INPUT_TOKENS: 500, semconv.OUTPUT_TOKENS: 11, semconv.RUNTIME_RAW: 1.0}
    made = provider.get_tracer("tracewrap").start_span("chat m", attributes=attributes, start_time=START_NS)
    made.end(START_NS + 10**9)
    (found,) = exporter.get_finished_spans()
    read = found.attributes or {}
    assert read[semconv.RUNTIME_DENOISED] == pytest.approx(0.15 + 10 * 0.0123456789, rel=1e-12)
    assert str(read[semconv.SUMMARY]).startswith("raw 1.00 s; quiet day 273 ms (")
    assert [event.name for event in found.events] == [semconv.EVENT_DENOISED_END]
