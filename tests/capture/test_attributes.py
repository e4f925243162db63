"""Putting attributes directly gives what ``set_attributes`` gives, and stands aside wherever that could differ."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider

from tracewrap.capture import attributes as direct
from tracewrap.capture.attributes import put_attributes

PLAIN = {"a": "x", "b": 1, "c": 0.5, "d": True, "e": ("y", "z"), "first": "again"}


def span(limits: SpanLimits | None = None) -> Any:
    """A recording span with two attributes."""
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    return provider.get_tracer("t").start_span("s", attributes={"first": "1", "second": "2"})


def put_both(values: dict[str, Any], limits: SpanLimits | None = None) -> tuple[Any, Any]:
    """(attributes put by us, attributes set by the SDK)."""
    ours, theirs = span(limits), span(limits)
    put_attributes(ours, values)
    theirs.set_attributes(values)
    return ours, theirs


def test_plain_values_go_the_short_way() -> None:
    """Text, numbers, truth values and tuples of text, over what is there: the same."""
    assert direct._put_plain(span(), PLAIN)
    ours, theirs = put_both(PLAIN)
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.attributes["first"] == "again"


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ({"x": ["list", "of", "text"]}, None),
        ({"x": (1, 2)}, None),
        ({"x": None}, None),
        ({"x": b"bytes"}, None),
        ({"x": "long" * 100}, SpanLimits(max_attribute_length=10)),
        ({f"x{i}": i for i in range(9)}, SpanLimits(max_span_attributes=5)),
    ],
)
def test_what_the_sdk_would_change_goes_its_way(values: dict[str, Any], limits: SpanLimits | None) -> None:
    """Lists, mixed tuples, nothing, bytes, limits of length and of number: left to the SDK, so the outcome is the same."""
    assert not direct._put_plain(span(limits), values)
    ours, theirs = put_both(values, limits)
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.dropped_attributes == theirs.dropped_attributes


def test_an_ended_span_keeps_what_it_had() -> None:
    """As with the SDK: too late is ignored."""
    ended = span()
    ended.end()
    put_attributes(ended, PLAIN)
    assert dict(ended.attributes) == {"first": "1", "second": "2"}


def test_other_spans_are_asked_politely() -> None:
    """A span class of somebody else's, or one that overrides the method, gets the call it expects."""
    seen: list[dict[str, Any]] = []

    class Theirs(Span):
        def set_attributes(self, attributes: Any) -> None:
            seen.append(dict(attributes))

    class Foreign:
        def set_attributes(self, attributes: Any) -> None:
            seen.append(dict(attributes))

    theirs = Theirs.__new__(Theirs)
    put_attributes(theirs, {"a": 1})
    put_attributes(Foreign(), {"b": 2})
    assert seen == [{"a": 1}, {"b": 2}]


def test_another_sdks_insides_are_no_error() -> None:
    """Where the SDK keeps its attributes elsewhere, its public method is used."""
    changed = span()
    inner = changed._attributes
    del changed._attributes
    assert not direct._put_plain(changed, PLAIN)
    changed._attributes = inner
    changed.end()
