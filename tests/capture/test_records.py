"""Every call makes exactly one record, the same one, whatever the program's tracing keeps of it.

{no provider, samplers of the environment, an unsampled parent, the program's provider in every condition} x {wrap, instrument, bare HTTP}
      x {plain, streamed, failed} x {sync, async}
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, SpanContext, TraceFlags, TraceState

from fake_vendor import FakeVendor, Fault
from tracewrap import instrument, semconv, wrap
from tracewrap.capture.state import state
from tracewrap.records import CallRecord

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}
FACTS = (semconv.OPERATION, semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, semconv.REQUEST_STREAM, semconv.INPUT_TOKENS)
FACTS += (semconv.OUTPUT_TOKENS, semconv.OUTCOME, semconv.ERROR_TYPE, semconv.ATTEMPTS, semconv.USAGE_SOURCE)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[CallRecord]:
    """What is handed on in place of a pipeline's queue."""
    handed: list[CallRecord] = []
    monkeypatch.setattr(state, "record", handed.append)
    return handed


class Raising(SpanProcessor):
    """A processor of the program's that fails whenever it can."""

    def on_start(self, *_: Any, **__: Any) -> None:
        """Fail."""
        raise RuntimeError("broken processor")

    def on_end(self, *_: Any) -> None:
        """Fail."""
        raise RuntimeError("broken processor")


def _provider(**options: Any) -> TracerProvider:
    return TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "checkout"}), **options)


def _broken_provider() -> TracerProvider:
    provider = _provider()
    provider.add_span_processor(Raising())
    return provider


PROVIDERS: dict[str, Callable[[], Any]] = {
    "provider": _provider,
    "provider-samples-some": lambda: _provider(sampler=ParentBased(TraceIdRatioBased(0.1))),
    "provider-samples-none": lambda: _provider(sampler=ALWAYS_OFF),
    "provider-8-attributes": lambda: _provider(span_limits=SpanLimits(max_span_attributes=8)),
    "provider-short-values": lambda: _provider(span_limits=SpanLimits(max_span_attribute_length=2)),
    "provider-whose-processor-raises": _broken_provider,
    "provider-that-makes-no-spans": NoOpTracerProvider,
}
PARENT = SpanContext(0xABC, 0xDEF, True, TraceFlags(0), TraceState([("ot", "th:8")]))


@contextlib.contextmanager
def _current(context: Any) -> Iterator[None]:
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


@contextlib.contextmanager
def _tracing(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program's tracing, as *kind* says."""
    monkeypatch.setattr(state, "tracer", None)
    with contextlib.ExitStack() as stack:
        if kind.startswith("OTEL_TRACES_SAMPLER="):
            monkeypatch.setenv("OTEL_TRACES_SAMPLER", kind.partition("=")[2])
            monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
        elif kind == "unsampled-parent":
            stack.enter_context(_current(trace.set_span_in_context(NonRecordingSpan(PARENT))))
        elif kind == "suppressed":
            stack.enter_context(_current(otel_context.set_value("suppress_instrumentation", True)))
        elif kind in PROVIDERS:
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", PROVIDERS[kind]())
        yield


KINDS = [
    "none",
    *(f"OTEL_TRACES_SAMPLER={name}" for name in ("always_off", "traceidratio", "parentbased_traceidratio", "nonsense")),
    "unsampled-parent",
    "suppressed",
    *PROVIDERS,
]


def _sdk_program(vendor: FakeVendor, prepare: Callable[[Any], Any]) -> None:
    """Plain, streamed and failed calls, sync and async, of two SDKs."""

    async def asynchronously(client: Any, ask: Callable[..., Any], refused: type[Exception]) -> None:
        await ask(client)
        async for _ in await ask(client, stream=True):
            pass
        vendor.fail_next(Fault(status=400))
        with pytest.raises(refused):
            await ask(client)

    for module, name, url, ask in (
        (openai, "OpenAI", vendor.openai_url, lambda c, **more: c.chat.completions.create(**ASKED, **more)),
        (anthropic, "Anthropic", vendor.url, lambda c, **more: c.messages.create(max_tokens=8, **ASKED, **more)),
    ):
        options = {"base_url": url, "api_key": "k", "max_retries": 0}
        client = prepare(getattr(module, name)(**options))
        ask(client)
        list(ask(client, stream=True))
        vendor.fail_next(Fault(status=400))
        with pytest.raises(module.BadRequestError):
            ask(client)
        asyncio.run(asynchronously(prepare(getattr(module, f"Async{name}")(**options)), ask, module.BadRequestError))


def _http_program(vendor: FakeVendor, _: Callable[[Any], Any]) -> None:
    url = f"{vendor.openai_url}/chat/completions"
    streamed = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    with wrap(httpx.Client()) as client:
        client.post(url, json=ASKED)
        with client.stream("POST", url, json=streamed) as response:
            response.read()
        vendor.fail_next(Fault(status=400))
        client.post(url, json=ASKED)

    async def asynchronously() -> None:
        async with wrap(httpx.AsyncClient()) as client:
            await client.post(url, json=ASKED)
            async with client.stream("POST", url, json=streamed) as response:
                await response.aread()
            vendor.fail_next(Fault(status=400))
            await client.post(url, json=ASKED)

    asyncio.run(asynchronously())


def _instrumented(client: Any) -> Any:
    instrument()
    return client


ENTRIES: dict[str, tuple[Callable[..., None], Callable[[Any], Any]]] = {
    "wrap": (_sdk_program, wrap),
    "instrument": (_sdk_program, _instrumented),
    "http": (_http_program, wrap),
}


def _facts(records: list[CallRecord]) -> list[dict[str, Any]]:
    return [
        {name: record.attributes.get(name) for name in FACTS} | {"failed": record.failure is not None}
        for record in records
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_same_records_whatever_is_traced(
    entry: str, kind: str, vendor: FakeVendor, records: list[CallRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, outcomes, models, errors and attempts do not depend on what becomes of the trace; ids are real and differ."""
    program, prepare = ENTRIES[entry]
    with _tracing("none", monkeypatch):
        program(vendor, prepare)
    expected = _facts(records)
    assert len(expected) == (6 if entry == "http" else 12)
    assert [fact[semconv.OUTCOME] for fact in expected] == ["complete", "complete", "error"] * (len(expected) // 3)
    assert all(fact[semconv.OUTPUT_TOKENS] for fact in expected if not fact["failed"])
    records.clear()
    with _tracing(kind, monkeypatch):
        program(vendor, prepare)
    assert _facts(records) == expected
    assert len({record.span_id for record in records}) == len(records)
    assert all(0 < record.span_id < 2**64 and 0 < record.trace_id < 2**128 for record in records)
    assert all(record.start_time_ns < record.end_time_ns for record in records)


SAMPLED = {
    "none": {True},
    "OTEL_TRACES_SAMPLER=always_off": {False},
    "OTEL_TRACES_SAMPLER=nonsense": {True},
    "unsampled-parent": {False},
    "suppressed": {False},
    "provider": {True},
    "provider-samples-none": {False},
    "provider-8-attributes": {True},
}


@pytest.mark.parametrize("kind", SAMPLED)
def test_what_is_exported_follows_the_sampler(
    kind: str, vendor: FakeVendor, records: list[CallRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records say whether their trace is exported, as the program's provider, the parent or the environment decides."""
    with _tracing(kind, monkeypatch):
        _http_program(vendor, wrap)
    assert {record.sampled for record in records} == SAMPLED[kind]
    assert {record.program_span for record in records} == {kind.startswith("provider")}


def test_environments_ratio_decides_by_trace_id(
    vendor: FakeVendor, records: list[CallRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_TRACES_SAMPLER=traceidratio: as OpenTelemetry's own sampler decides for that trace, so that services agree."""
    with _tracing("OTEL_TRACES_SAMPLER=traceidratio", monkeypatch):
        for _ in range(10):
            _http_program(vendor, wrap)
    rule = TraceIdRatioBased(0.1)
    assert [record.sampled for record in records] == [
        rule.should_sample(None, record.trace_id, "chat m").decision.is_sampled() for record in records
    ]


def test_record_belongs_to_the_programs_trace(
    vendor: FakeVendor, records: list[CallRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, parent and resource are those of the program's span, times too; tracestate of a remote parent is kept without a provider."""
    memory = InMemorySpanExporter()
    provider = _provider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(state, "tracer", None)
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    with _current(trace.set_span_in_context(NonRecordingSpan(PARENT))):
        client.chat.completions.create(**ASKED)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # set after the client was wrapped and used
    with provider.get_tracer("app").start_as_current_span("request") as request:
        client.chat.completions.create(**ASKED)
    orphan, child = records
    assert (orphan.trace_id, orphan.parent_span_id, orphan.trace_state) == (PARENT.trace_id, PARENT.span_id, "ot=th:8")
    assert orphan.resource is None
    (span, _) = memory.get_finished_spans()
    assert (span.context.trace_id, span.context.span_id) == (child.trace_id, child.span_id)
    assert child.parent_span_id == request.get_span_context().span_id
    assert (child.resource or {})["service.name"] == "checkout"
    assert (span.start_time, span.end_time) == (child.start_time_ns, child.end_time_ns)
    assert dict(span.attributes or {}) == child.attributes


def test_the_call_is_current_below_it(records: list[CallRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs inside the call, and what it sends on, belongs to its trace although no SDK span exists; afterwards all is as before."""
    seen: list[SpanContext] = []

    def answer(_: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context())
        return httpx.Response(
            200, json={"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "choices": []}
        )

    monkeypatch.setattr(state, "tracer", None)
    client = wrap(httpx.Client(transport=httpx.MockTransport(answer)))
    client.post("http://127.0.0.1:9/v1/chat/completions", json=ASKED)
    assert [(context.trace_id, context.span_id) for context in seen] == [(records[0].trace_id, records[0].span_id)]
    assert not trace.get_current_span().get_span_context().is_valid


def test_ids_do_not_come_from_the_programs_random(
    vendor: FakeVendor, records: list[CallRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that seeds its generator gets the numbers it would have got, and still every call has ids of its own."""
    monkeypatch.setattr(state, "tracer", None)
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    for _ in range(2):
        random.seed(7)
        before = random.getstate()
        client.chat.completions.create(**ASKED)
        assert random.getstate() == before
    assert records[0].trace_id != records[1].trace_id


def test_nothing_is_done_for_nobody(vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pipeline and without a provider a call is not even looked at."""
    monkeypatch.setattr(state, "tracer", None)
    monkeypatch.setattr(state, "record", None)
    monkeypatch.setattr("tracewrap.capture.call.OpenCall.__init__", lambda *_: pytest.fail("looked at"))
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    assert client.chat.completions.create(**ASKED).usage.completion_tokens


def test_a_record_that_cannot_be_handed_on_changes_nothing(vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand-over that raises costs the record; the program's span ends and the answer arrives."""
    memory = InMemorySpanExporter()
    provider = _provider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(state, "tracer", provider.get_tracer(semconv.SCOPE))
    monkeypatch.setattr(state, "record", lambda _: {}["missing"])
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    assert client.chat.completions.create(**ASKED).id
    assert len(memory.get_finished_spans()) == 1
