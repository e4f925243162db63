"""Bare HTTP clients and transports of httpx and httpx2: bodies pass untouched, inference calls are recorded, the rest is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from fake_vendor import FakeVendor, Fault
from tracewrap import testing, wrap

FAMILIES = ["httpx", "httpx2"]
HELLO = [{"role": "user", "content": "a b c"}]
CALLS: list[tuple[str, dict[str, Any], tuple[str, int | None, int | None]]] = [
    ("/v1/chat/completions", {"model": "m", "messages": HELLO}, ("openai", 3, 8)),
    ("/v1/responses", {"model": "m", "input": "a b c"}, ("openai", 3, 8)),
    ("/v1/embeddings", {"model": "m", "input": "a b c"}, ("openai", 3, None)),
    ("/v1/messages", {"model": "m", "messages": HELLO, "max_tokens": 8}, ("anthropic", 3, 8)),
    ("/v2/chat", {"model": "m", "messages": HELLO}, ("cohere", 3, 8)),
    ("/v1/chat", {"message": "a b c"}, ("cohere", 3, 8)),
]
STREAMED = [
    ("/v1/chat/completions", {"model": "m", "messages": HELLO, "stream_options": {"include_usage": True}}),
    ("/v1/responses", {"model": "m", "input": "a b c"}),
    ("/v1/messages", {"model": "m", "messages": HELLO, "max_tokens": 8}),
    ("/v2/chat", {"model": "m", "messages": HELLO}),
    ("/v1/chat", {"message": "a b c"}),
]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> ModuleType:
    """httpx and httpx2."""
    module = pytest.importorskip(request.param)
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture(params=["client", "transport"])
def client(request: pytest.FixtureRequest, family: ModuleType, vendor: FakeVendor) -> Iterator[Any]:
    """A wrapped client, and a client over a wrapped transport."""
    if request.param == "client":
        made = wrap(family.Client(base_url=vendor.url, verify=False))
    else:
        made = family.Client(base_url=vendor.url, transport=wrap(family.HTTPTransport(verify=False)))
    with made:
        yield made


@pytest.mark.parametrize(("path", "body", "expected"), CALLS, ids=[path for path, _, _ in CALLS])
def test_plain(client: Any, path: str, body: Any, expected: tuple[Any, ...], recorded: testing.Recording) -> None:
    """A plain answer reaches its caller whole and is recorded once."""
    response = client.post(path, json=body)
    assert response.json() == json.loads(response.content)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.provider, call.usage.input_tokens, call.usage.output_tokens) == expected
    assert (call.server_address, call.outcome, call.attempts) == ("127.0.0.1", "complete", 1)
    assert call.request_id == "req_1"


@pytest.mark.parametrize(("path", "body"), STREAMED, ids=[path for path, _ in STREAMED])
def test_stream(client: Any, path: str, body: Any, recorded: testing.Recording) -> None:
    """A stream's bytes pass untouched; its events are parsed as they pass."""
    with client.stream("POST", path, json={**body, "stream": True}) as response:
        text = "".join(response.iter_text())
    assert "tok" in text
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.source) == (3, 8, "reported")
    assert call.stream
    assert call.time_to_first_chunk_s is not None
    assert call.outcome == "complete"


def test_stream_read_at_once(client: Any, recorded: testing.Recording) -> None:
    """A streamed answer that the caller reads whole is the same call."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 8, "stream": True}
    assert "message_stop" in client.post("/v1/messages", json=body).text
    (call,) = recorded()
    assert call.usage is not None
    assert call.usage.output_tokens == 8


def test_stream_closed_early(client: Any, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream closed early ends its span as partial."""
    vendor.fail_next(Fault(chunk_delay_s=0.01))
    body = {"model": "m", "messages": HELLO, "max_tokens": 8, "stream": True}
    with client.stream("POST", "/v1/messages", json=body) as response:
        next(response.iter_bytes())
    (call,) = recorded()
    assert call.outcome == "partial"


def test_errors(client: Any, family: ModuleType, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An error status is a response for the caller and an error on the span; a broken connection raises as ever."""
    vendor.fail_next(Fault(status=429), Fault(cut_after=3))
    assert client.post("/v1/responses", json={"model": "m", "input": "a"}).status_code == 429
    with pytest.raises(family.RemoteProtocolError):
        client.post("/v1/responses", json={"model": "m", "input": "a", "stream": True})
    assert [(call.outcome, call.error_type) for call in recorded()] == [
        ("error", "429"),
        ("error", "RemoteProtocolError"),
    ]


def test_the_rest_is_untraced(client: Any, recorded: testing.Recording) -> None:
    """Other paths, other bodies, other methods and streamed bodies pass without a span."""
    client.post("/v1/files", json={"model": "m", "input": "a"})
    client.post("/survey/responses", json={"answers": [1]})
    client.post("/v1/messages/count_tokens", json={"model": "m", "messages": HELLO})
    client.post("/v1/chat/completions", content=b"no json")
    client.post("/v1/chat/completions", content=iter([b"{}"]))
    client.get("/v1/responses")
    assert recorded() == []


@pytest.mark.parametrize("stream", [False, True])
def test_async(family: ModuleType, vendor: FakeVendor, recorded: testing.Recording, stream: bool) -> None:
    """Async clients and transports record the same."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 8, "stream": stream}

    async def main() -> None:
        inner = wrap(family.AsyncHTTPTransport(verify=False))
        async with (
            wrap(family.AsyncClient(base_url=vendor.url, verify=False)) as client,
            family.AsyncClient(base_url=vendor.url, transport=inner) as below,
        ):
            for each in (client, below):
                async with each.stream("POST", "/v1/messages", json=body) as response:
                    assert b"tok" in b"".join([part async for part in response.aiter_bytes()])
                assert "tok" in (await each.post("/v1/messages", json=body)).text

    asyncio.run(main())
    assert [(call.usage and call.usage.output_tokens, call.stream) for call in recorded()] == [(8, stream)] * 4


def test_wrapped_twice(family: ModuleType, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Client and transport both wrapped, and each twice: still one span."""
    transport = wrap(wrap(family.HTTPTransport(verify=False)))
    with wrap(wrap(family.Client(base_url=vendor.url, transport=transport))) as client:
        client.post("/v1/responses", json={"model": "m", "input": "a"})
    assert len(recorded()) == 1
    assert recorded()[0].attempts == 1


def test_below_a_wrapped_sdk(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Under a wrapped SDK the HTTP client adds attempts to the open call, never a second span."""
    openai = pytest.importorskip("openai")
    with wrap(openai.DefaultHttpxClient(verify=False)) as http:
        client = wrap(openai.OpenAI(api_key="k", base_url=vendor.openai_url, http_client=http))
        vendor.fail_next(
            Fault(status=500, headers={"retry-after-ms": "1"}), Fault(status=500, headers={"retry-after-ms": "1"})
        )
        client.chat.completions.create(model="m", messages=HELLO)
        assert [len(list(client.chat.completions.create(model="m", messages=HELLO, stream=True)))] == [10]
    assert [call.attempts for call in recorded()] == [3, 1]
    assert recorded()[0].retry_s > 0


def test_below_a_bare_sdk(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Under an SDK that is not wrapped the HTTP client records the calls itself."""
    cohere, httpx = pytest.importorskip("cohere"), pytest.importorskip("httpx")
    with wrap(httpx.Client(verify=False)) as http:
        client = cohere.ClientV2(api_key="k", base_url=vendor.url, httpx_client=http)
        client.chat(model="m", messages=HELLO)
        list(client.chat_stream(model="m", messages=HELLO))
    assert [(call.provider, call.stream) for call in recorded()] == [("cohere", False), ("cohere", True)]


def test_openai_s_own_attribute_is_openai_s_alone(family: Any, recorded: testing.Recording) -> None:
    """Which of OpenAI's interfaces was called is told on spans of OpenAI and Azure, not of others that speak its format."""
    answer = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    with wrap(family.Client(transport=family.MockTransport(lambda _: family.Response(200, json=answer)))) as client:
        for host in ("api.openai.com", "x.openai.azure.com", "api.groq.com"):
            client.post(f"https://{host}/v1/chat/completions", json={"model": "m", "seed": 2, "messages": []})
    found = [record.attributes for record in recorded.records]
    assert [one.get("openai.api.type") for one in found] == ["chat_completions", "chat_completions", None]
    assert [one["gen_ai.request.seed"] for one in found] == [2, 2, 2]
