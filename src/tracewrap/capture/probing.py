"""Calls made on purpose: a client wrapped like any other, whose calls are handed back instead of exported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tracewrap import semconv
from tracewrap.capture.state import state
from tracewrap.capture.wrap import wrap
from tracewrap.errors import UnsupportedClientError
from tracewrap.records import Call
from tracewrap.vendors import adapters
from tracewrap.vendors._adapter import Adapter

# Where the SDKs keep the method that ``Adapter.probe_request`` makes arguments for; streaming ones that are their own come second.
_METHODS = (("chat.completions.create", None), ("messages.create", None), ("chat", "chat_stream"))


@dataclass(frozen=True, slots=True)
class Probe:
    """A wrapped client and the way to call it; one attempt a call, so that no retry hides in a runtime."""

    provider: str
    client: Any
    method: Callable[..., Any]
    arguments: Callable[[str, str, int, bool], dict[str, Any]]

    def send(self, model: str, prompt: str, output_tokens: int, stream: bool) -> Call:
        """Make one call, read it to its end, and return it as recorded; raises what the SDK raises."""
        with _recording() as calls:
            answer = self.method(**self.arguments(model, prompt, output_tokens, stream))
            if stream:
                for _ in answer:
                    pass
        return calls()[-1]


def open_probe(client: Any, stream: bool) -> Probe:
    """Wrap *client* (a vendor SDK's, synchronous) for probing; raises UnsupportedClientError for any other object."""
    with contextlib.suppress(Exception):  # cohere has no such method and retries only when asked to
        client = client.with_options(max_retries=0)
    client = wrap(client)
    adapter = _adapter_of(client)
    for plain, streamed in _METHODS:
        name = streamed if stream and streamed else plain
        method = client
        for part in name.split("."):
            method = getattr(method, part, None)
        if callable(method) and adapter is not None:
            return Probe(adapter.provider, client, method, adapter.probe_request)
    raise UnsupportedClientError(f"{type(client).__name__} has no method that a probe can call: chat or messages")


def _adapter_of(client: Any) -> Adapter | None:
    for adapter in adapters():
        for seam in adapter.seams:
            module, _, name = seam.target.partition(":")
            known = getattr(sys.modules.get(module), name, None)
            if isinstance(known, type) and isinstance(client, known):
                return adapter
    return None


@contextlib.contextmanager
def _recording() -> Iterator[Callable[[], list[Call]]]:
    """Record in memory alone while the block runs: probes are no traffic and reach no exporter."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    before, state.tracer = state.tracer, provider.get_tracer(semconv.SCOPE)
    try:
        yield lambda: [call for span in memory.get_finished_spans() if (call := _call(span)) is not None]
    finally:
        state.tracer = before
        provider.shutdown()


def _call(span: ReadableSpan) -> Call | None:
    context = span.context
    if context is None or span.start_time is None:
        return None
    return semconv.call_from_attributes(
        dict(span.attributes or {}),
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        start_time_ns=span.start_time,
        end_time_ns=span.end_time,
        failed=span.status.status_code is StatusCode.ERROR,
    )
