"""JoiningExporter: a span cannot change once it has ended, so the batch processor's thread exports an enriched copy of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog, load_catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.estimate.split import put_split, split
from tracewrap.prices.list_cost import Pricer, load_pricer, put_list_cost
from tracewrap.records import Call
from tracewrap.runtime.profile import RuntimeProfile

logger = logging.getLogger("tracewrap")


class Learner(Protocol):
    """What the exporter needs of a denoiser."""

    def observe(self, call: Call) -> None:
        """Take note of a call."""

    def snapshot(self) -> Mapping[str, RuntimeProfile]:
        """Denoised profiles by deployment key; the same object until there are newer ones."""


class JoiningExporter(SpanExporter):
    """Hands *exporter* a copy of each LLM span with estimates added, and every other span as it is.

    For those who own their OpenTelemetry pipeline: ``BatchSpanProcessor(JoiningExporter(your_exporter))``. ``catalog``: a snapshot, or
    a function that loads one, called on the exporting thread when the first span arrives. ``prices``: likewise, what list
    costs are computed with. ``learner``: sees every call, and its newest denoised profiles are used.
    A span that cannot be joined is exported as it is.
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
        self._source = catalog
        self._catalog: Catalog | None = catalog if isinstance(catalog, Catalog) else None
        self._price_source: Callable[[], Pricer | None] | None = prices
        self._pricer: Pricer | None = None
        self._learner = learner
        self._learned: Mapping[str, RuntimeProfile] = {}
        self.failures = 0
        """Spans exported without estimates because joining them failed."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Join and pass on; what the inner exporter answers is the answer."""
        catalog = self._current()
        return self._exporter.export([self._joined(span, catalog) for span in spans])

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the inner exporter."""
        return self._exporter.force_flush(timeout_millis)

    def _current(self) -> Catalog | None:
        """The newest snapshot; None when it cannot be loaded, which is logged once."""
        try:
            if self._price_source is not None:
                source, self._price_source = self._price_source, None
                self._pricer = source()
            if self._catalog is None:
                self._catalog = self._source() if callable(self._source) else self._source
            if self._learner is not None:
                learned = self._learner.snapshot()
                if learned is not self._learned:
                    self._learned, self._catalog = learned, self._catalog.with_denoised(learned)
            return self._catalog
        except Exception:  # noqa: BLE001 - telemetry never changes the program
            self._failed()
            return self._catalog

    def _joined(self, span: ReadableSpan, catalog: Catalog | None) -> ReadableSpan:
        try:
            attributes = _attributes(span)
            if semconv.OPERATION not in attributes:
                return span
            call = None
            if self._learner is not None or semconv.RUNTIME_RAW not in attributes:
                call = call_of(span, attributes)
                if call is None:
                    return span
                if self._learner is not None:
                    self._learner.observe(call)
            if catalog is None:
                return span
            if semconv.RUNTIME_RAW in attributes:  # our own span: no need to build the records between
                attributes.update(join_attributes(attributes, catalog))
            elif call is not None:
                joined = join_call(call, catalog)
                attributes.update(semconv.joined_attributes(joined))
                put_split(attributes, split(joined))
            if self._pricer is not None:
                put_list_cost(attributes, self._pricer, span.start_time or 0)
            return with_attributes(span, attributes)
        except Exception:  # noqa: BLE001
            self._failed()
            return span

    def _failed(self) -> None:
        self.failures += 1
        if self.failures == 1:
            logger.warning("joining failed; spans are exported without estimates", exc_info=True)


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    """A copy of the span's attributes. Its own mapping is slow to read item by item: where there is a plain dict inside, that is copied."""
    inner = getattr(getattr(span, "_attributes", None), "_dict", None)
    return dict(inner) if isinstance(inner, dict) else dict(span.attributes or {})


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


def with_attributes(span: ReadableSpan, attributes: Mapping[str, Any]) -> ReadableSpan:
    """A copy of *span* with *attributes* in place of its own."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
