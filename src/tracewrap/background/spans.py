"""Between records of calls and the SDK's spans: exporters get spans made from records, and other libraries' GenAI spans become records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tracewrap import semconv
from tracewrap.estimate.presenting import attributes_of, with_attributes
from tracewrap.records import Call, CallRecord

_INT64 = 2**63


class SpanRecord(CallRecord):
    """The record of a call that another library made a span of: exported, it is that span."""

    __slots__ = ("span",)

    span: ReadableSpan


def record_of(span: ReadableSpan) -> SpanRecord | None:
    """The record of the model call that *span* describes; None for other spans."""
    attributes, context = attributes_of(span), span.context
    provider = semconv.provider_of(attributes)
    operation = attributes.get(semconv.OPERATION)
    if operation is None or operation in semconv.OTHER_OPERATIONS or not isinstance(provider, str):
        return None
    if context is None or span.start_time is None:
        return None
    failed = span.status.status_code is StatusCode.ERROR
    record = SpanRecord(
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_span_id=None if span.parent is None else span.parent.span_id,
        sampled=context.trace_flags.sampled,
        trace_state=context.trace_state.to_header() or None,
        program_span=True,
        resource=span.resource.attributes,
        name=span.name,
        start_time_ns=span.start_time,
        end_time_ns=span.end_time or span.start_time,
        attributes=attributes,
        failure=(span.status.description or "") if failed else None,
    )
    record.span = span
    return record


def call_of_record(record: CallRecord, attributes: Mapping[str, Any], own: Resource) -> Call | None:
    """*record* as the learner reads it, without tags; None where *attributes* are no model call's."""
    resource = own.attributes if record.resource is None else record.resource
    service = resource.get(semconv.SERVICE_NAME)
    return semconv.call_from_attributes(
        attributes,
        trace_id=f"{record.trace_id:032x}",
        span_id=f"{record.span_id:016x}",
        parent_span_id=None if record.parent_span_id is None else f"{record.parent_span_id:016x}",
        start_time_ns=record.start_time_ns,
        end_time_ns=record.end_time_ns,
        service_name=service if isinstance(service, str) else None,
        scope_name=semconv.SCOPE,
        failed=record.failure is not None,
        keep_tags=False,
    )


def readable(record: CallRecord, attributes: Mapping[str, Any], own: Resource, naming: str = "latest") -> ReadableSpan:
    """The span of a recorded call with *attributes*, under the names of *naming*; *own*: the resource of records that name none."""
    if isinstance(record, SpanRecord):
        return with_attributes(record.span, attributes)
    return ReadableSpan(
        name=record.name,
        context=context_of(record),
        parent=_parent(record),
        resource=own if record.resource is None else Resource(record.resource),
        attributes={name: value for name, value in semconv.named(attributes, naming).items() if exportable(value)},
        kind=SpanKind.CLIENT,
        status=Status() if record.failure is None else Status(StatusCode.ERROR, record.failure),
        start_time=record.start_time_ns,
        end_time=record.end_time_ns,
        instrumentation_scope=InstrumentationScope(semconv.SCOPE, semconv.scope_version(), semconv.schema_url(naming)),
    )


def context_of(record: CallRecord) -> SpanContext:
    """The span context of a recorded call."""
    state = TraceState.from_header([record.trace_state]) if record.trace_state else None
    return SpanContext(record.trace_id, record.span_id, False, TraceFlags(int(record.sampled)), state)


def _parent(record: CallRecord) -> SpanContext | None:
    if record.parent_span_id is None:
        return None
    return SpanContext(record.trace_id, record.parent_span_id, False, TraceFlags(int(record.sampled)))


def exportable(value: Any) -> bool:
    """Whether OTLP's encoding can hold *value*: no NaN or infinity, no integer beyond 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -_INT64 <= value < _INT64
