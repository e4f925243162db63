"""JoiningExporter: a span cannot change once it has ended, so the batch processor's thread exports an enriched copy of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.estimate.live_join import Learner, LiveJoin
from tracewrap.estimate.presenting import attributes_of, presented_with, shown, with_attributes
from tracewrap.prices.list_cost import Pricer, load_pricer
from tracewrap.records import Call


class JoiningExporter(SpanExporter):
    """Hands *exporter* a copy of each LLM span with estimates added, presented to people, and every other span as it is.

    For those who own their OpenTelemetry pipeline: ``BatchSpanProcessor(JoiningExporter(your_exporter))``. ``catalog``: a snapshot, or
    a function that loads one, called on the exporting thread when the first span arrives. ``prices``: likewise, what list
    costs are computed with. ``learner``: sees every call, and its newest denoised profiles are used.
    A span that cannot be joined, or has been joined before it ended, is exported as it is.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        catalog: Catalog | Callable[[], Catalog] = load_catalog,
        *,
        prices: Callable[[], Pricer | None] = load_pricer,
        learner: Learner | None = None,
    ) -> None:
        self._exporter = exporter
        self._join = LiveJoin(catalog, prices, learner)

    @property
    def failures(self) -> int:
        """Spans exported without estimates because joining them failed."""
        return self._join.failures

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Join and pass on; what the inner exporter answers is the answer."""
        return self._exporter.export([joined_span(span, self._join) for span in spans])

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the inner exporter."""
        return self._exporter.force_flush(timeout_millis)


def joined_span(span: ReadableSpan, join: LiveJoin) -> ReadableSpan:
    """A copy of *span* with the estimates that *join* knows, as people see them; *span* itself where it is no call, or nothing to add."""
    attributes = attributes_of(span)
    if attributes.get(semconv.OPERATION) in _NO_CALLS:
        return shown(span, short=False)
    old = semconv.PROVIDER not in attributes and semconv.PROVIDER_OLD in attributes
    if old:  # the join reads the new name; the span keeps its own
        attributes[semconv.PROVIDER] = semconv.provider_of(attributes)
    joined = join.joined(attributes, span.start_time or 0, lambda: call_of(span, attributes))
    if joined is None:
        return shown(span, short=False)
    if old:
        del joined[semconv.PROVIDER]
    try:
        return presented_with(span, joined, short=False)
    except Exception:  # noqa: BLE001 - telemetry never changes the program
        return with_attributes(span, joined)


_NO_CALLS = (None, *semconv.OTHER_OPERATIONS)


def call_of(span: ReadableSpan, attributes: Mapping[str, Any] | None = None) -> Call | None:
    """The call that *span* describes, without tags; None for other spans. *attributes*: the span's, when read already."""
    context = span.context
    if attributes is None:
        attributes = dict(span.attributes or {})
    if context is None or span.start_time is None:
        return None
    scope = span.instrumentation_scope
    return semconv.call_from_attributes(
        attributes,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=None if span.parent is None else f"{span.parent.span_id:016x}",
        start_time_ns=span.start_time,
        end_time_ns=span.end_time,
        service_name=_service_name(span),
        scope_name=None if scope is None else scope.name,
        failed=span.status.status_code is StatusCode.ERROR,
        keep_tags=False,
    )


def _service_name(span: ReadableSpan) -> str | None:
    name = span.resource.attributes.get(semconv.SERVICE_NAME)
    return name if isinstance(name, str) else None
