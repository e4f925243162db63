"""google-genai beyond the common contract: Vertex, retries, failures inside a stream, bare HTTP, and who is told apart from whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_vendor import FakeVendor, Fault
from fake_wire import Answer
from tracewrap import instrument, semconv, testing, uninstrument, wrap
from tracewrap.errors import UnsupportedClientError

genai = pytest.importorskip("google.genai")
httpx = pytest.importorskip("httpx")
pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai over aiohttp
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def client(vendor: FakeVendor, *, retries: int = 1, **options: Any) -> Any:
    """A client of the fake."""
    http = {"base_url": vendor.url, "retry_options": {"attempts": retries, "initial_delay": 0.01, "max_delay": 0.01}}
    http["client_args"] = http["async_client_args"] = {"verify": False}
    return genai.Client(**{"api_key": "k", **options}, http_options=http)


def vertex(vendor: FakeVendor) -> Any:
    """A Vertex AI client of the fake."""
    from google.auth.credentials import Credentials

    class Known(Credentials):
        """Credentials that are valid and never refreshed."""

        def __init__(self) -> None:
            super().__init__()
            self.token = "t"

        def refresh(self, request: object) -> None:
            """Nothing."""

    return client(vendor, vertexai=True, project="p", location="us-central1", credentials=Known(), api_key=None)


def ask(one: Any, **config: Any) -> Any:
    """A plain call."""
    return one.models.generate_content(model="gemini-2.5-flash", contents="a b c", config=config or None)


def ask_stream(one: Any) -> Any:
    """A streamed call, yet to be read."""
    return one.models.generate_content_stream(model="gemini-2.5-flash", contents="a b c")


async def _both(one: Any) -> None:
    await one.aio.models.generate_content(model="m", contents="a b c")
    async for _ in await one.aio.models.generate_content_stream(model="m", contents="a b c"):
        pass


def test_instrument_sees_every_client(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Clients made before and after; plain and streamed, sync and async; nothing once it is undone."""
    before = client(vendor)
    instrument("google-genai")
    ask(before)
    after = client(vendor)  # a client that is collected closes the streams that are yet to be read
    list(ask_stream(after))
    asyncio.run(_both(client(vendor)))
    assert [(call.provider, call.stream, call.outcome) for call in recorded()] == [
        ("gcp.gemini", stream, "complete") for stream in (False, True, False, True)
    ]
    uninstrument("google-genai")
    ask(client(vendor))
    assert len(recorded()) == 4


def test_one_wrapped_client_alone(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Wrapping one client records its sync and async calls, twice wrapped or not, and no other client's."""
    one = wrap(wrap(client(vendor)))
    ask(one)
    asyncio.run(_both(one))
    ask(client(vendor))
    assert len(recorded()) == 3


def test_vertex(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Vertex AI is a provider of its own, whatever address its client was given; both of its ways to embed are read."""
    one = wrap(vertex(vendor))
    ask(one)
    list(ask_stream(one))
    one.models.embed_content(model="text-embedding-005", contents=["a b", "c"])
    calls = recorded()
    assert {call.provider for call in calls} == {"gcp.vertex_ai"}
    assert [call.operation for call in calls] == ["chat", "chat", "embeddings"]
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls] == [(3, 8), (3, 8), (3, None)]


def test_other_requests_are_no_calls(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Counting tokens is not generation, and neither is what is only looked up."""
    one = wrap(client(vendor))
    for other in (lambda: one.models.count_tokens(model="m", contents="a"), lambda: one.models.get(model="m")):
        with pytest.raises(Exception, match=r"404|501"):
            other()
    assert recorded() == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_retries_are_attempts(is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Every try of the SDK counts once, also when its HTTP client is wrapped as well; the time before the last is retry time."""
    vendor.fail_next(Fault(status=503, delay_s=0.02), Fault(status=503))
    one = wrap(client(vendor, retries=3))
    wrap(one._api_client._httpx_client)
    if is_async:
        asyncio.run(one.aio.models.generate_content(model="m", contents="a"))
    else:
        ask(one)
    (call,) = recorded()
    assert (call.attempts, call.outcome) == (3, "complete")
    assert 0.02 < call.retry_s < call.raw_runtime_s


def test_tokens_of_all_kinds(recorded: testing.Recording) -> None:
    """Cached and thought tokens reach the call, streamed or not, and it has a list price."""
    with FakeVendor(answer=Answer(output_tokens=8, cached_tokens=2, reasoning_tokens=5)) as vendor:
        one = wrap(client(vendor))
        ask(one)
        list(ask_stream(one))
    for call in recorded():
        usage = call.usage
        assert (usage.input_tokens, usage.output_tokens) == (3, 8)
        assert (usage.cached_input_tokens, usage.reasoning_output_tokens) == (2, 5)


def test_an_error_within_a_stream(recorded: testing.Recording) -> None:
    """An error that comes after the first chunks is raised by the SDK and is the span's."""

    def handler(request: Any) -> Any:
        chunk = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n'
        failed = b'data: {"error":{"code":503,"status":"UNAVAILABLE","message":"m"}}\r\n\r\n'
        return httpx.Response(200, content=chunk + failed, headers={"content-type": "text/event-stream"})

    http = httpx.Client(transport=httpx.MockTransport(handler))
    one = wrap(genai.Client(api_key="k", http_options={"base_url": "http://127.0.0.1:9", "httpx_client": http}))
    with pytest.raises(genai.errors.APIError):
        list(ask_stream(one))
    (call,) = recorded()
    assert (call.outcome, call.error_type) == ("error", "UNAVAILABLE")


def test_the_server_s_time_and_where(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Server-Timing is the provider's time; address and port are those of the client's base URL."""
    ask(wrap(client(vendor)), temperature=0.5, max_output_tokens=4)
    (span,) = recorded.spans
    found = dict(span.attributes or {})
    assert found[semconv.SERVER_PROCESSING] == 0.007
    assert (found[semconv.SERVER_ADDRESS], found[semconv.SERVER_PORT]) == ("127.0.0.1", vendor.port)
    assert (found["gen_ai.request.temperature"], found["gen_ai.request.max_tokens"]) == (0.5, 4)


URL = "/v1beta/models/gemini-2.5-flash:"
ASKED = {"contents": [{"parts": [{"text": "a b c"}]}]}


def test_bare_http(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """The same facts from a wrapped HTTP client without the SDK: plain, streamed, and embeddings."""
    with wrap(httpx.Client(base_url=vendor.url)) as http:
        http.post(f"{URL}generateContent", json=ASKED)
        http.post(f"{URL}streamGenerateContent?alt=sse", json=ASKED)
        part = {"content": {"parts": [{"text": "a b c"}]}}
        http.post("/v1beta/models/e:batchEmbedContents", json={"requests": [part]})
        http.post("/v1beta/models/e:countTokens", json=ASKED)
    calls = recorded()
    assert [(call.provider, call.operation, call.stream) for call in calls] == [
        ("gcp.gemini", "chat", False),
        ("gcp.gemini", "chat", True),
        ("gcp.gemini", "embeddings", False),
    ]
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls] == [(3, 8), (3, 8), (3, None)]
    assert {call.response_model for call in calls[:2]} == {"gemini-2.5-flash-0001"}


def test_a_stream_that_comes_as_one_list(recorded: testing.Recording) -> None:
    """Without ``alt=sse`` Google streams the chunks as one JSON list."""
    chunk = {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "modelVersion": "g"}
    end = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 8},
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=[chunk, end]))
    with wrap(httpx.Client(transport=transport)) as http:
        http.post(f"https://generativelanguage.googleapis.com{URL}streamGenerateContent", json=ASKED)
    (call,) = recorded()
    assert (call.outcome, call.usage.output_tokens, call.response_model) == ("complete", 8, "g")


def test_an_object_that_is_no_client() -> None:
    """The message of a refusal names the SDK's clients."""
    with pytest.raises(UnsupportedClientError, match=r"google\.genai\.client\.Client"):
        wrap(object())
