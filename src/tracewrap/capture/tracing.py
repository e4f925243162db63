"""Where a call stands in the program's traces, and handing on what was measured: a record always, a span as the program wants it.

* The program has a tracer provider (looked up at each call, so one that is set late is seen): a span of the call is made with it,
  whatever its sampler says. The record takes that span's ids.
* It has none, or one that makes no spans: ids of our own, from the operating system, and no SDK span at all. A span that records
  nothing stands in the context, so that what happens below the call, and what it sends on, belongs to the trace.
* Another instrumentor's span of this very call is open: it is lent to us; what we measured is added to it, and ending it is theirs.
* Somebody suppresses spans round the call: no span, nothing in the context; the record says that its trace is not exported.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tracewrap import semconv, systems
from tracewrap.capture.attributes import put_attributes
from tracewrap.capture.other_instrumentors import any_begun, ended_silent, open_span_of, says_usage
from tracewrap.capture.state import drop, state
from tracewrap.records import CallRecord
from tracewrap.vendors.adapter import Request

_SUPPRESSED = ("suppress_instrumentation", getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", ""))
"""Context keys under which no span is to be made: the one by name, and the SDK's own, which exporters set."""
_SAMPLED, _UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)


class Standing:
    """Where one call stands: its span, whose it is, and the resource of the provider that made it."""

    __slots__ = ("lent", "parent_span_id", "program_span", "resource", "span", "token")

    def __init__(self, span: Any, parent_span_id: int | None, program_span: bool, resource: Any) -> None:
        self.span = span
        self.parent_span_id = parent_span_id
        self.program_span = program_span
        self.resource = resource
        self.lent = False
        """The span is another instrumentor's, and ends without us."""
        self.token: Any = None
        """Of the context in which ``span`` is the current one."""


def is_suppressed(context: Context) -> bool:
    """Whether somebody wants no spans of what happens in *context*."""
    return bool(context) and (bool(context.get(_SUPPRESSED[0])) or bool(context.get(_SUPPRESSED[1])))


def tracer() -> trace.Tracer | None:
    """What spans are made with: a tracer that was set, else the program's provider's of this moment; None where it has no provider."""
    if state.tracer is not None:
        return state.tracer
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    if provider is not _known[0] or state.naming != _known[2]:
        _known[:] = provider, tracer_of(provider), state.naming
    found: trace.Tracer | None = _known[1]
    return found


_known: list[Any] = [None, None, None]
"""The program's provider when it was last looked up, its tracer, and whose names its spans have."""


def tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """*provider*'s tracer for our scope."""
    return provider.get_tracer(semconv.SCOPE, semconv.scope_version(), semconv.schema_url(state.naming))


def stand(by: trace.Tracer | None, request: Request, name: str, attributes: dict[str, Any], start_ns: int) -> Standing:
    """Where a call that begins at *start_ns* stands in the current context; its span is the current one until ``leave``."""
    context = otel_context.get_current()
    resource = getattr(by, "resource", None)
    parent = trace.get_current_span(context).get_span_context()
    parent_id = parent.span_id if parent.is_valid else None
    theirs = open_span_of(request, resource) if context or any_begun() else None
    if theirs is not None:
        return lend(theirs, resource)
    if is_suppressed(context):
        return Standing(_own_span(parent), parent_id, False, resource)
    span = None if by is None else _span(by, parent, name, attributes, start_ns)
    made = _own_span(parent, (context, name, attributes)) if span is None else span
    standing = Standing(made, parent_id, span is not None, resource)
    standing.token = otel_context.attach(trace.set_span_in_context(made, context))
    return standing


def lend(theirs: Any, resource: Any) -> Standing:
    """The standing of a call that another's span *theirs* describes. It carries a mark at once, as it may end before the call does."""
    parent = getattr(theirs, "parent", None)
    standing = Standing(theirs, None if parent is None else parent.span_id, True, resource)
    standing.lent = True
    theirs.set_attribute(semconv.ATTEMPTS, 1)
    return standing


def lend_current() -> Standing | None:
    """The standing of a call whose SDK has just opened a span of it, which is the current one; None where it has not."""
    theirs = trace.get_current_span()
    return lend(theirs, getattr(theirs, "resource", None)) if theirs.get_span_context().is_valid else None


def leave(standing: Standing) -> None:
    """The call's method has returned: its span is no longer the current one."""
    token, standing.token = standing.token, None
    if token is not None:
        otel_context.detach(token)


def _span(by: trace.Tracer, parent: SpanContext, name: str, attributes: dict[str, Any], start_ns: int) -> Any:
    """A span of the program's own; None where its provider fails or makes none."""
    try:
        known = semconv.named(attributes, state.naming)
        span = by.start_span(name, kind=SpanKind.CLIENT, attributes=known, start_time=start_ns)
        made = span.get_span_context()
        return span if made.is_valid and made.span_id != parent.span_id else None
    except Exception:
        drop("the program's tracing")
        return None


def end_unkept(standing: Standing | None) -> None:
    """End the span of a call of which nobody gets to know anything."""
    if standing is not None and standing.program_span and not standing.lent:
        standing.span.end()


def deliver(
    standing: Standing | None,
    name: str,
    times_ns: tuple[int, int],
    attributes: dict[str, Any],
    late: dict[str, Any],
    failure: str | None,
    chunk_gaps_s: Sequence[float] = (),
    content: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """A call has ended: hand its record on, then end its span. *attributes* are on the span already, *late* ones are not.

    *content* gives more late ones: a span of the program's takes them now, a record alone leaves them for later.
    *standing* None: the SDK's own span was to be used, and there was none.
    """
    if standing is None:
        standing = Standing(_own_span(trace.INVALID_SPAN_CONTEXT), None, False, None)
    if content is not None and standing.program_span and standing.span.is_recording():
        late, content = {**late, **_written(content)}, None
    if state.record is not None:
        try:
            state.record(_record(standing, name, times_ns, {**attributes, **late}, failure, chunk_gaps_s, content))
        except Exception:
            drop("handing on a call")
    if standing.program_span:
        try:
            if standing.lent and says_usage(late) and ended_silent(standing.span):
                standing = _below(standing, name, attributes, times_ns[0])
            if standing.program_span:
                _end(standing, attributes, late, failure, times_ns[1])
        except Exception:
            drop("the program's tracing")


def _below(theirs: Standing, name: str, attributes: dict[str, Any], start_ns: int) -> Standing:
    """A span of our own below *theirs*, which ended before the call did and says nothing of its tokens."""
    by = tracer()
    if by is None:
        return Standing(theirs.span, None, False, None)
    known, context = semconv.named(attributes, state.naming), trace.set_span_in_context(theirs.span)
    span = by.start_span(name, context, SpanKind.CLIENT, known, start_time=start_ns)
    return Standing(span, theirs.span.get_span_context().span_id, True, theirs.resource)


def _record(
    standing: Standing,
    name: str,
    times_ns: tuple[int, int],
    attributes: dict[str, Any],
    failure: str | None,
    chunk_gaps_s: Sequence[float],
    content: Callable[[], dict[str, Any]] | None,
) -> CallRecord:
    context = standing.span.get_span_context()
    resource = standing.resource
    return CallRecord(
        context.trace_id,
        context.span_id,
        standing.parent_span_id,
        bool(context.trace_flags & TraceFlags.SAMPLED),
        context.trace_state.to_header() if context.trace_state else None,
        standing.program_span,
        None if resource is None else resource.attributes,
        name,
        times_ns[0],
        times_ns[1],
        attributes,
        failure,
        chunk_gaps_s,
        content,
    )


def _written(content: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The attributes that *content* gives; none where it fails."""
    try:
        return content()
    except Exception:
        drop("message content")
        return {}


def _end(
    standing: Standing, attributes: dict[str, Any], late: dict[str, Any], failure: str | None, end_ns: int
) -> None:
    span = standing.span
    if standing.lent:
        if span.is_recording():  # what we know and they do not say yet
            known = span.attributes
            said = semconv.named({**attributes, **late}, state.naming)
            span.set_attributes({k: v for k, v in said.items() if k not in known or k == semconv.ATTEMPTS})
        return
    if span.is_recording():
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, failure))
        said = late if state.enrich is None else _enriched(span, attributes, late)
        put_attributes(span, semconv.named(said, state.naming))
    span.end(end_ns)


def _enriched(span: Any, attributes: dict[str, Any], late: dict[str, Any]) -> dict[str, Any]:
    """*late* beside its estimates, where they are wanted on the program's span."""
    try:
        return {**late, **state.enrich(span, {**attributes, **late})} if state.enrich is not None else late
    except Exception:
        drop("inline join")
        return late


def deliver_at_once(name: str, attributes: dict[str, Any], failure: str | None) -> None:
    """Hand on a call that took no time of this program's: what was asked for hours ago and is read now."""
    by = tracer()
    if by is None and state.record is None:
        return
    now = time_ns()
    context = otel_context.get_current()
    parent = trace.get_current_span(context).get_span_context()
    quiet = is_suppressed(context)
    span = None if by is None or quiet else _span(by, parent, name, attributes, now)
    made = _own_span(parent, None if quiet else (context, name, attributes)) if span is None else span
    parent_id = parent.span_id if parent.is_valid else None
    standing = Standing(made, parent_id, span is not None, getattr(by, "resource", None))
    deliver(standing, name, (now, now), attributes, {}, failure)


def _own_span(parent: SpanContext, asked: tuple[Context, str, dict[str, Any]] | None = None) -> NonRecordingSpan:
    """A span that records nothing, with ids of our own, below *parent* if that is valid.

    *asked*: what a sampler is asked with, to say whether the trace is exported; None: it is not.
    """
    below = parent.is_valid
    trace_id = parent.trace_id if below else _number() << 64 | _number()
    trace_state = parent.trace_state if below else None
    sampled = False
    if asked is not None:
        sampler = _environments_sampler()
        if sampler is None:
            sampled = not below or bool(parent.trace_flags & TraceFlags.SAMPLED)
        else:
            sampled, trace_state = _decision(sampler, trace_id, *asked)
    return NonRecordingSpan(SpanContext(trace_id, _number(), False, _SAMPLED if sampled else _UNSAMPLED, trace_state))


_numbers: list[int] = []
"""Random numbers of 64 bits, from the operating system, not yet used: the program's own generator is not touched."""


def _number() -> int:
    while True:
        try:
            number = _numbers.pop()
        except IndexError:
            _numbers.extend(struct.unpack("256Q", os.urandom(2048)))
            continue
        if number:
            return number


systems.at_fork(after_in_child=_numbers.clear)


_sampler: list[Any] = [None, None]
"""The hand-over for which the environment was last read, and its sampler."""


def _environments_sampler() -> Any:
    """The sampler that OTEL_TRACES_SAMPLER names; None: the stock one (as the parent says, always without one), which need not be asked."""
    if _sampler[0] is not state.record:
        named = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
        stock = named in ("", "parentbased_always_on")
        _sampler[:] = state.record, None if stock else sampling._get_from_env_or_default()
    return _sampler[1]


def _decision(sampler: Any, trace_id: int, context: Context, name: str, attributes: dict[str, Any]) -> tuple[bool, Any]:
    """(whether the trace is exported, its tracestate)."""
    try:
        result = sampler.should_sample(context, trace_id, name, SpanKind.CLIENT, attributes, None)
        return result.decision.is_sampled(), result.trace_state
    except Exception:
        drop("OTEL_TRACES_SAMPLER")
        return True, None
