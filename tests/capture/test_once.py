"""One call, one billable span: beside the SDK's own tracing, other instrumentors, and whatever else is wrapped."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from fake_vendor import FakeVendor, Fault
from tracewrap import instrument, semconv, testing, uninstrument, wrap

anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
openai = pytest.importorskip("openai")

pytestmark = [  # clients are left to the collector, which closes their sockets
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HELLO: list[Any] = [{"role": "user", "content": "a b c"}]
QA: dict[str, Any] = {"model": "m", "messages": HELLO, "max_tokens": 8}
NATIVE = hasattr(anthropic, "_tracing")


def _billable(recorded: testing.Recording) -> list[Any]:
    return [span for span in recorded.spans if semconv.OUTPUT_TOKENS in (span.attributes or {})]


def _anthropic(vendor: FakeVendor, recorded: testing.Recording, **traces: Any) -> Any:
    options = {"open_telemetry": {"tracer_provider": recorded.provider, "traces": traces}} if NATIVE else {}
    return anthropic.Anthropic(base_url=vendor.url, api_key="k", **options)


@pytest.mark.skipif(not NATIVE, reason="this SDK has no tracing of its own")
def test_native_span_that_is_on_by_default_gives_way(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Anthropic's own span would be a second one in the same provider: ours replaces it, plain and streamed."""
    client = wrap(_anthropic(vendor, recorded))
    client.messages.create(**QA)
    list(client.messages.create(stream=True, **QA))
    with client.messages.stream(**QA) as stream:
        stream.get_final_message()
    assert [span.instrumentation_scope.name for span in recorded.spans] == ["tracewrap"] * 3


@pytest.mark.skipif(not NATIVE, reason="this SDK has no tracing of its own")
def test_native_span_stays_where_ours_is_not(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Calls that we do not record, and clients that are not wrapped, keep the SDK's own spans."""
    wrap(_anthropic(vendor, recorded)).messages.count_tokens(model="m", messages=HELLO)
    _anthropic(vendor, recorded).messages.create(**QA)
    assert [span.name for span in recorded.spans] == ["anthropic.messages.count_tokens", "anthropic.messages.create"]


@pytest.mark.skipif(not NATIVE, reason="this SDK has no tracing of its own")
def test_native_span_that_records_content_is_the_one(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Whoever set the SDK's span to record content keeps it; ours stands aside."""
    wrap(_anthropic(vendor, recorded, content_mode="content")).messages.create(**QA)
    (span,) = recorded.spans
    assert span.name == "anthropic.messages.create"
    (call,) = recorded()
    assert call.usage is not None
    assert call.usage.output_tokens == 8


@pytest.mark.skipif(not NATIVE, reason="this SDK has no tracing of its own")
def test_native_span_of_another_provider_is_left_alone(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Two providers are two pipelines: one span in each."""
    with testing.recording() as inner:
        client = wrap(_anthropic(vendor, recorded))
        client.messages.create(**QA)
    assert [span.name for span in recorded.spans] == ["anthropic.messages.create"]
    assert [span.name for span in inner.spans] == ["chat m"]


class OtherInstrumentor:
    """What other instrumentors do: a span round the SDK's method, current, with the conventions' attributes, ended by them."""

    def __init__(self, recorded: testing.Recording, attributes: dict[str, Any]) -> None:
        self.tracer = recorded.provider.get_tracer("opentelemetry.instrumentation.other")
        self.attributes = attributes

    @contextlib.contextmanager
    def span(self) -> Iterator[Any]:
        """The span round one call."""
        with self.tracer.start_as_current_span("chat m", kind=SpanKind.CLIENT, attributes=self.attributes) as span:
            yield span
            span.set_attribute(semconv.OUTPUT_TOKENS, 8)


STYLES = {
    "conventions": {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "m", semconv.PROVIDER: "openai"},
    "another word for it": {semconv.OPERATION: "generate_content", semconv.REQUEST_MODEL: "models/m"},
    "the model's owner": {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "us.vendor.m"},
    "openinference": {"openinference.span.kind": "LLM"},
    "openinference, kind at its end": {"llm.model_name": "m", "llm.invocation_parameters": "{}"},
}


@pytest.mark.parametrize("style", STYLES)
def test_another_instrumentors_span_is_used(style: str, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Their span round this call becomes the one span; what we measured is added to it, what they say stands."""
    other = OtherInstrumentor(recorded, STYLES[style])
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    with other.span():
        client.chat.completions.create(model="m", messages=HELLO)
    with other.span():
        list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    with other.span() as span:
        vendor.fail_next(Fault(status=400))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=HELLO)
        assert span.is_recording()
    assert len(recorded.spans) == len(recorded()) == 3
    for each in recorded.spans:
        assert each.instrumentation_scope.name == "opentelemetry.instrumentation.other"
        assert each.attributes is not None
        assert each.attributes[semconv.RUNTIME_RAW] > 0
    assert [call.outcome for call in recorded()] == ["complete", "complete", "error"]


@pytest.mark.parametrize("facts", [("embeddings", "m"), ("chat", "other-m"), ("chat", 7)], ids=str)
def test_another_instrumentors_span_of_something_else(
    facts: tuple[str, Any], vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """A span round the call that is of another operation or model is not this call's: ours stands below it."""
    attributes = {semconv.OPERATION: facts[0], semconv.REQUEST_MODEL: facts[1]}
    with OtherInstrumentor(recorded, attributes).span():
        wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k")).chat.completions.create(model="m", messages=HELLO)
    assert next(span.instrumentation_scope.name for span in recorded.spans) == "tracewrap"
    assert len(recorded.spans) == 2


@pytest.mark.parametrize("said", [{}, {"llm.token_count.prompt": 3}], ids=["nothing", "tokens"])
def test_another_instrumentors_span_that_ends_too_early(
    said: dict[str, Any], vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """Their span ended when the stream was handed over: one that has its tokens is the one; below one without, ours says them."""
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    with OtherInstrumentor(recorded, {"llm.model_name": "m"}).tracer.start_as_current_span("Completions") as theirs:
        theirs.set_attributes({"llm.model_name": "m", **said})
        stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    list(stream)
    assert len(recorded()) == 1
    billable = [each for each in recorded.spans if any("token" in name for name in each.attributes or {})]
    assert len(billable) == 1
    if not said:
        (ours,) = billable
        assert ours.parent is not None
        assert ours.parent.span_id == theirs.get_span_context().span_id
        assert (ours.attributes or {})[semconv.RUNTIME_RAW] > 0
        assert ours.end_time is not None
        assert ours.end_time > theirs.end_time


def test_an_unrelated_parent_is_no_duplicate(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An agent's span, a request's span, another model's span and a second call are parents, not the same call."""
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    parents = [{semconv.OPERATION: "invoke_agent"}, {}, {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "another"}]
    for attributes in parents:
        with recorded.provider.get_tracer("app").start_as_current_span("parent", attributes=attributes) as parent:
            client.chat.completions.create(model="m", messages=HELLO)
        child = recorded.spans[-2]
        assert child.parent is not None
        assert child.parent.span_id == parent.get_span_context().span_id
    recorded.clear()
    with OtherInstrumentor(recorded, STYLES["conventions"]).span():
        client.chat.completions.create(model="m", messages=HELLO)
        client.chat.completions.create(model="m", messages=HELLO)
    assert len(recorded.spans) == 2


def test_wrapped_and_instrumented(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Class and instance both recorded, in any order, twice each: one span a call."""
    first = wrap(cohere.ClientV2(base_url=vendor.url, api_key="k"))
    instrument()
    instrument()
    second = wrap(wrap(cohere.ClientV2(base_url=vendor.url, api_key="k")))
    for client in (first, second):
        client.chat(model="m", messages=HELLO)
        list(client.chat_stream(model="m", messages=HELLO))
    claude = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))
    claude.messages.create(**QA)
    assert len(recorded.spans) == 5


CLASSES = [
    *(getattr(openai, name) for name in ("OpenAI", "AsyncOpenAI", "AzureOpenAI")),
    *(getattr(anthropic, name) for name in ("Anthropic", "AsyncAnthropic", "AnthropicBedrock", "AsyncAnthropicVertex")),
    *(sys.modules["cohere"].Client, cohere.AsyncClient, cohere.ClientV2),
]


def test_uninstrument_restores_everything() -> None:
    """After uninstrument every class has exactly the attributes it had, one vendor at a time and in any order."""
    from cohere.core.http_client import AsyncHttpClient, HttpClient

    classes = [*CLASSES, HttpClient, AsyncHttpClient]
    gc.collect()  # clients that others wrapped
    uninstrument()
    before = [dict(vars(cls)) for cls in classes]
    finders = list(sys.meta_path)
    vendors = ("openai", "cohere", "anthropic")
    for order in (vendors, vendors[1:] + vendors[:1]):
        instrument(*vendors)
        assert [dict(vars(cls)) for cls in classes] != before
        for vendor in order:
            uninstrument(vendor)
        assert [dict(vars(cls)) for cls in classes] == before
    assert sys.meta_path == finders
    uninstrument()


def test_disabled_instrumentations(
    monkeypatch: pytest.MonkeyPatch, vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches vendors off by our names."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, tracewrap-openai")
    instrument()
    openai.OpenAI(base_url=vendor.openai_url, api_key="k").chat.completions.create(model="m", messages=HELLO)
    cohere.ClientV2(base_url=vendor.url, api_key="k").chat(model="m", messages=HELLO)
    assert [call.provider for call in recorded()] == ["cohere"]


def test_suppressed_calls_make_records_but_no_spans(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Both suppression keys are honoured, by every kind of seam: the calls are recorded, as not to be exported."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    client = wrap(cohere.ClientV2(base_url=vendor.url, api_key="k"))
    claude = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))
    with suppress_instrumentation():
        client.chat(model="m", messages=HELLO)
        list(client.chat_stream(model="m", messages=HELLO))
        claude.messages.create(**QA)
    token = otel_context.attach(otel_context.set_value("suppress_instrumentation", True))
    claude.messages.create(**QA)
    otel_context.detach(token)
    assert recorded.spans == ()
    assert [(record.sampled, record.program_span) for record in recorded.records] == [(False, False)] * 4
    assert all(call.usage is not None and call.usage.output_tokens for call in recorded())


def test_disabled_sdk(monkeypatch: pytest.MonkeyPatch, vendor: FakeVendor) -> None:
    """OTEL_SDK_DISABLED: the program runs as ever and nothing is recorded, nor asked of the server."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with testing.recording() as recorded:
        client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
        assert len(list(client.chat.completions.create(model="m", messages=HELLO, stream=True))) == 10
        assert recorded.spans == ()
    assert "stream_options" not in vendor.requests[-1].body


def test_instrumentors(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """The entry points' classes instrument and uninstrument one vendor each, with the provider they are given."""
    from tracewrap.capture.state import state
    from tracewrap.start.instrumentors import AnthropicInstrumentor, CohereInstrumentor

    state.tracer = None
    first, second = CohereInstrumentor(), AnthropicInstrumentor()
    for each in (first, second):
        each.instrument(tracer_provider=recorded.provider)
    client = cohere.ClientV2(base_url=vendor.url, api_key="k")
    client.chat(model="m", messages=HELLO)
    first.uninstrument()
    client.chat(model="m", messages=HELLO)
    anthropic.Anthropic(base_url=vendor.url, api_key="k").messages.create(**QA)
    second.uninstrument()
    assert [call.provider for call in recorded()] == ["cohere", "anthropic"]


def test_exporter_entry_point() -> None:
    """tracewrap_otlp is a span exporter class that needs no argument."""
    from opentelemetry.sdk.trace.export import SpanExporter

    from tracewrap.start.instrumentors import JoinedOTLPExporter

    assert issubclass(JoinedOTLPExporter, SpanExporter)
    JoinedOTLPExporter().shutdown()


def test_imported_later() -> None:
    """instrument() before the SDKs are imported instruments them when they are, and imports none itself."""
    program = (
        "import sys, tracewrap; tracewrap.instrument(); assert 'cohere' not in sys.modules; "
        "import anthropic, cohere, openai; cohere.ClientV2('k'); from tracewrap.capture.wrap import instrumented; print(*instrumented())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    for name in (
        "HttpClient.stream",
        "AsyncOpenAI.request",
        "AnthropicBedrock.request",
        "AsyncAnthropicVertex.request",
    ):
        assert name in done.stdout


def test_native_global_provider_is_seen(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """With the same provider set globally, unwrapped SDKs of ours and theirs still make one span a call."""
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = recorded.provider
    try:
        instrument()
        anthropic.Anthropic(base_url=vendor.url, api_key="k").messages.create(**QA)
    finally:
        trace._TRACER_PROVIDER = before
    assert len(_billable(recorded)) == 1


class FunctionWrapper:
    """As wrapt's, which other instrumentors put in a method's place: calls what ``__wrapped__`` names, inside their span."""

    def __init__(self, wrapped: Any, other: OtherInstrumentor) -> None:
        self.__wrapped__ = wrapped
        self.other = other

    def __get__(self, client: Any, cls: type) -> Any:
        def request(*args: Any, **kwargs: Any) -> Any:
            with self.other.span():
                return self.__wrapped__(client, *args, **kwargs)

        return request


@pytest.mark.parametrize("they_go_first", [True, False])
def test_another_instrumentor_of_the_same_method(
    they_go_first: bool, vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs on the very method of ours, before ours or after: one span, and each can leave first."""
    before = openai.OpenAI.__dict__.get("request")
    theirs = FunctionWrapper(openai.OpenAI.request, OtherInstrumentor(recorded, STYLES["openinference"]))
    if they_go_first:
        monkeypatch.setattr(openai.OpenAI, "request", theirs)
        instrument()
        instrument()
    else:
        instrument()
        theirs.__wrapped__ = openai.OpenAI.request
        monkeypatch.setattr(openai.OpenAI, "request", theirs)
    client = openai.OpenAI(base_url=vendor.openai_url, api_key="k")
    client.chat.completions.create(model="m", messages=HELLO)
    (span,) = recorded.spans
    assert span.instrumentation_scope.name == "opentelemetry.instrumentation.other"
    assert span.attributes is not None
    assert span.attributes[semconv.RUNTIME_RAW] > 0
    if they_go_first:  # and leave, as wrapt's users do: what they wrapped goes back
        setattr(openai.OpenAI, "request", theirs.__wrapped__)  # noqa: B010
        client.chat.completions.create(model="m", messages=HELLO)
        assert len(recorded.spans) == 2
    uninstrument()
    client.chat.completions.create(model="m", messages=HELLO)
    assert len([span for span in recorded.spans if semconv.RUNTIME_RAW in (span.attributes or {})]) == 1 + they_go_first
    monkeypatch.undo()
    if before is None and "request" in openai.OpenAI.__dict__:
        del openai.OpenAI.request
