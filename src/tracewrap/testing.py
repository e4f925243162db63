"""For tests, yours and ours: recorded calls in memory, with ids that repeat.

with tracewrap.testing.recording() as calls:
    client = tracewrap.wrap(openai.OpenAI(...))
    ...
assert [call.usage.output_tokens for call in calls()] == [9]

``recording_all()`` records clients that the program makes itself; ``tracewrap.pytest_plugin`` has it as a fixture.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from tracewrap import semconv
from tracewrap.background.spans import call_of_record
from tracewrap.capture import import_hook
from tracewrap.capture.seams.vendor_batches import forget
from tracewrap.capture.state import state
from tracewrap.capture.tracing import tracer_of
from tracewrap.capture.wrap import instrument, instrumented, uninstrument
from tracewrap.records import Call, CallRecord


class CountingIds(IdGenerator):
    """Trace and span ids 1, 2, 3, ..."""

    def __init__(self) -> None:
        self._trace = 0
        self._span = 0

    def generate_trace_id(self) -> int:
        """The next trace id."""
        self._trace += 1
        return self._trace

    def generate_span_id(self) -> int:
        """The next span id."""
        self._span += 1
        return self._span


class Recording:
    """What was recorded: call it for the calls, or look at ``records`` and ``spans``."""

    def __init__(self, memory: InMemorySpanExporter, provider: TracerProvider) -> None:
        self._memory = memory
        self.provider = provider
        self.records: list[CallRecord] = []
        """The records of the calls so far, in the order in which they ended."""

    def __call__(self) -> list[Call]:
        """The calls recorded so far, in the order in which they ended."""
        own = Resource.get_empty()
        found = (call_of_record(record, record.attributes, own) for record in list(self.records))
        return [call for call in found if call is not None]

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All spans that ended so far."""
        return self._memory.get_finished_spans()

    def clear(self) -> None:
        """Forget what was recorded."""
        self._memory.clear()
        self.records.clear()


@contextlib.contextmanager
def recording(id_generator: Callable[[], IdGenerator] = CountingIds) -> Iterator[Recording]:
    """Record the calls of wrapped and instrumented clients in memory while the block runs; nothing with OTEL_SDK_DISABLED."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        id_generator=id_generator(), resource=Resource({semconv.SERVICE_NAME: "test"}), shutdown_on_exit=False
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    recorded = Recording(memory, provider)
    before = state.tracer, state.record
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    state.tracer, state.record = tracer_of(provider), None if disabled else recorded.records.append
    forget()
    try:
        yield recorded
    finally:
        state.tracer, state.record = before
        provider.shutdown()


@contextlib.contextmanager
def recording_all() -> Iterator[Recording]:
    """``recording`` of every client of every SDK, wrapped or not, made before the block or in it; afterwards SDKs are as they were."""
    earlier = bool(instrumented()) or import_hook.any_waiting()
    instrument()
    try:
        with recording() as recorded:
            yield recorded
    finally:
        if not earlier:
            uninstrument()
