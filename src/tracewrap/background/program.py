"""The program's own tracing: its provider, whenever it is set, lends our exporters its other spans; and one back end gets one copy.

The provider's processors and exporters have no public names. Where they cannot be found, the back end counts as another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import time_ns
from typing import Any, Protocol
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from tracewrap import semconv
from tracewrap.background.spans import SpanRecord, record_of

_OTLP_PORTS = {4317, 4318}


class Receives(Protocol):
    """Who takes what the program's provider made."""

    def put_record(self, record: SpanRecord) -> None:
        """A model call that another library made a span of."""

    def put_span(self, span: ReadableSpan) -> None:
        """Any other span, which passes unchanged."""


class ProgramSpans(SpanProcessor):
    """Hands the spans of the program's provider on, but those of calls that capture records itself."""

    def __init__(self, receives: Receives, begun: Callable[[Span], None]) -> None:
        self._receives, self._begun = receives, begun
        self.active = True
        self._since_ns = time_ns()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tell capture of *span*: it may be of a call that begins right after it."""
        if self.active:
            self._begun(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass *span* on; nothing here raises into the program."""
        if not self.active:
            return
        try:
            attributes = span.attributes or {}
            if semconv.ATTEMPTS in attributes or _is_ours(span):
                return
            record = record_of(span) if semconv.OPERATION in attributes else None
            if record is not None and record.start_time_ns < self._since_ns and semconv.RESPONSE_ID not in attributes:
                return  # begun unseen and without an answer: nothing tells it from a call that capture recorded meanwhile
            if record is not None:
                self._receives.put_record(record)
            elif span.context is not None and span.context.trace_flags.sampled:
                self._receives.put_span(span)
        except Exception:  # noqa: BLE001 - telemetry never changes the program
            return

    def shutdown(self) -> None:
        """Our exporters outlive the program's provider."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held here."""
        return True


def _is_ours(span: ReadableSpan) -> bool:
    """Whether capture made *span*; others' spans that it recorded carry ``tracewrap.attempts``."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE


class Program:
    """Watches for the program's TracerProvider. ``shared``: it exports to the receiver at *url* itself."""

    def __init__(self, receives: Receives, url: str | None, begun: Callable[[Span], None]) -> None:
        self._receives, self._url, self._begun = receives, url, begun
        self._seen: object = None
        self._processors: list[ProgramSpans] = []
        self.shared = False

    def look(self) -> bool:
        """Note a provider that has been set since; whether it exports to our receiver, where we need not."""
        provider = trace.get_tracer_provider()
        if provider is not self._seen:
            self._seen = provider
            for earlier in self._processors:
                earlier.active = False
            self.shared = False
            if isinstance(provider, TracerProvider):
                self._processors.append(ProgramSpans(self._receives, self._begun))
                provider.add_span_processor(self._processors[-1])
                self.shared = self._url is not None and any(same_place(self._url, url) for url in endpoints(provider))
        return self.shared

    def leave(self) -> None:
        """Take nothing more from any provider."""
        for processor in self._processors:
            processor.active = False


def endpoints(provider: TracerProvider) -> Iterator[str]:
    """URLs that *provider*'s OTLP exporters send to."""
    for processor in _inner(getattr(provider, "_active_span_processor", None)):
        exporter = getattr(processor, "span_exporter", None)
        if exporter is None:
            exporter = getattr(getattr(processor, "_batch_processor", None), "_exporter", None)
        for _ in range(4):  # exporters that wrap one, as ours does
            url = getattr(exporter, "_endpoint", None)
            if isinstance(url, str):
                yield url
            exporter = getattr(exporter, "_exporter", None)


def _inner(processor: Any, depth: int = 0) -> Iterator[Any]:
    """The processors that *processor* passes spans on to, itself too."""
    yield processor
    several = getattr(processor, "_span_processors", None)
    if isinstance(several, list | tuple) and depth < 4:
        for one in several:
            yield from _inner(one, depth + 1)


def same_place(a: str, b: str) -> bool:
    """Whether two OTLP endpoints are one receiver: host and port are the same, or it is asked by its gRPC port here and by HTTP there."""
    (host_a, port_a), (host_b, port_b) = _host(a), _host(b)
    return host_a == host_b and (port_a == port_b or {port_a, port_b} <= _OTLP_PORTS)


def _host(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = "localhost" if parts.hostname in ("127.0.0.1", "::1") else parts.hostname
        return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None
