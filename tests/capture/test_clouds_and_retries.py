"""Cloud clients, retries and waits, provider headers, and a vendor that is added as one file."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

import tracewrap.vendors
from fake_vendor import FakeVendor, Fault
from fake_wire import Answer
from tracewrap import instrument, testing, wrap
from tracewrap.capture import import_hook
from tracewrap.capture.wrap import uninstrument
from tracewrap.cli.doctor import _vendors
from tracewrap.prices.book import PriceBook
from tracewrap.prices.rates import Purchase
from tracewrap.profiler.probe.calling import open_probe
from tracewrap.vendors import providers

anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")

pytestmark = [  # clients are left to the collector, which closes their sockets
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
HELLO: list[Any] = [{"role": "user", "content": "a b c"}]
QA: dict[str, Any] = {"model": "claude-x", "messages": HELLO, "max_tokens": 8}
SOON = {"retry-after-ms": "1"}


def _cloud(name: str, vendor: FakeVendor) -> Any:
    """A client of one of the clouds, pointed at the fake."""
    if "Bedrock" in name:
        pytest.importorskip("boto3")
        keys = {"aws_access_key": "a", "aws_secret_key": "s", "aws_region": "us-east-1"}
        return getattr(anthropic, name)(base_url=vendor.url, **keys)
    if "Vertex" in name:
        pytest.importorskip("google.auth")
        return getattr(anthropic, name)(base_url=vendor.url, region="r", project_id="p", access_token="t")
    if "Foundry" in name:
        return getattr(anthropic, name)(base_url=vendor.url, api_key="k")
    if "Azure" in name:
        return getattr(openai, name)(azure_endpoint=vendor.url, api_key="k", api_version="2025-01-01")
    raise AssertionError(name)


CLOUDS = {
    "AnthropicBedrock": "aws.bedrock",
    "AsyncAnthropicBedrock": "aws.bedrock",
    "AnthropicVertex": "gcp.vertex_ai",
    "AsyncAnthropicVertex": "gcp.vertex_ai",
    "AnthropicFoundry": "azure.ai.inference",
    "AzureOpenAI": "azure.ai.openai",
    "AsyncAzureOpenAI": "azure.ai.openai",
}


@pytest.mark.parametrize("how", ["wrap", "instrument"])
@pytest.mark.parametrize("name", CLOUDS)
def test_cloud_clients(name: str, how: str, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Calls through a cloud are recorded once, under the cloud's name and the model that was asked for."""
    if not hasattr(anthropic if "Anthropic" in name else openai, name):
        pytest.skip("this SDK has no such client")
    client = _cloud(name, vendor)
    if how == "wrap":
        wrap(client)
    else:
        instrument()

    def call() -> Any:
        if "Azure" in name:
            return client.chat.completions.create(model="claude-x", messages=HELLO)
        return client.messages.create(**QA)

    if name.startswith("Async"):

        async def main() -> None:
            await call()

        asyncio.run(main())
    else:
        call()
    (made,) = recorded()
    assert (made.provider, made.request_model) == (CLOUDS[name], "claude-x")
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (3, 8)


def test_vertex_stream(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream through Vertex is a stream."""
    client = wrap(_cloud("AnthropicVertex", vendor))
    with client.messages.stream(**QA) as stream:
        assert stream.get_final_message().usage.output_tokens == 8
    (made,) = recorded()
    assert made.stream
    assert made.usage is not None
    assert made.usage.output_tokens == 8


def _retried(name: str, vendor: FakeVendor) -> None:
    if name == "openai":
        wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k")).responses.create(model="m", input="a")
    elif name == "anthropic":
        wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k")).messages.create(**QA)
    elif name == "openai-async":

        async def main() -> None:
            client = wrap(openai.AsyncOpenAI(base_url=vendor.openai_url, api_key="k"))
            await client.chat.completions.create(model="m", messages=HELLO)

        asyncio.run(main())
    elif name == "openai-stream":
        client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
        list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    else:
        wrap(cohere.ClientV2(base_url=vendor.url, api_key="k")).chat(model="m", messages=HELLO)


@pytest.mark.parametrize("name", ["openai", "openai-async", "openai-stream", "anthropic", "cohere"])
def test_retries(name: str, vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, 503, 200 is one call of three attempts; the time before the last one is kept apart; ids and timing are the last one's."""
    if name == "cohere":
        http = importlib.import_module("cohere.core.http_client")
        monkeypatch.setattr(http, "_retry_timeout", lambda response, retries: 0.001)
    vendor.fail_next(Fault(status=500, headers=SOON, delay_s=0.02), Fault(status=503, headers=SOON, delay_s=0.02))
    _retried(name, vendor)
    (call,) = recorded()
    assert (call.attempts, call.outcome, call.request_id) == (3, "complete", "req_1")
    assert 0.04 <= call.retry_s < call.raw_runtime_s
    assert call.last_attempt_s == pytest.approx(call.raw_runtime_s - call.retry_s)
    if name != "anthropic":
        assert call.server_processing_s == pytest.approx(0.007)


def test_retries_in_vain(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Three failures are one failed call of three attempts."""
    vendor.fail_next(*[Fault(status=429, headers=SOON)] * 3)
    with pytest.raises(anthropic.RateLimitError):
        wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k")).messages.create(**QA)
    (call,) = recorded()
    assert (call.attempts, call.outcome, call.error_type) == (3, "error", "RateLimitError")


def test_copies_stay_wrapped(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """with_options() of a wrapped client gives a wrapped client."""
    client = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))
    client.with_options(timeout=9).messages.create(**QA)
    assert len(recorded()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_counts_end_to_end(stream: bool, recorded: testing.Recording) -> None:
    """Cached and reasoning tokens of the three vendors, through the SDKs."""
    answer = Answer(cached_tokens=2, reasoning_tokens=3, output_tokens=8)
    with FakeVendor(answer=answer) as vendor:
        client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
        result = client.responses.create(model="m", input="a b c", stream=stream)
        claude = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))
        message = claude.messages.create(stream=stream, **QA)
        if stream:
            list(result)
            list(message)
    first, second = (call.usage for call in recorded())
    assert first is not None
    assert (first.input_tokens, first.cached_input_tokens, first.reasoning_output_tokens) == (3, 2, 3)
    assert second is not None
    assert (second.input_tokens, second.cached_input_tokens, second.output_tokens) == (3, 2, 8)


def test_background_response(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A background response is only queued: its time is no model's, and it has no usage yet."""
    wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k")).responses.create(model="m", input="a", background=True)
    (call,) = recorded()
    assert (call.outcome, call.usage) == ("background", None)


def test_what_is_never_recorded_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Realtime sessions are left out by name, once, in the log."""
    from tracewrap.capture import wrap as module

    monkeypatch.setattr(module, "_noted", set())
    with caplog.at_level(logging.INFO, logger="tracewrap"):
        wrap(openai.OpenAI(api_key="k"))
        wrap(openai.OpenAI(api_key="k"))
    assert [record.message.count("Realtime") for record in caplog.records if "Realtime" in record.message] == [1]


NEW_VENDOR = '''
"""Acme's wire format."""
from tracewrap.records import TokenUsage
from tracewrap.vendors.adapter import Adapter, Reply, Request, Seam, get

def read_request(path, body):
    return Request("chat", body.get("m"), bool(body.get("live"))) if path == "/talk" else None

def read_response(response):
    return Reply(id=get(response, "id"), usage=TokenUsage(input_tokens=get(response, "i"), output_tokens=get(response, "o")))

def read_stream(first, last, count):
    return read_response(last[-1]) if last else Reply()

def probe_request(model, prompt, output_tokens, stream):
    return {"m": model, "text": prompt}

def sdk_arguments(args, kwargs):
    return args[1], kwargs["json"]

ADAPTER = Adapter("acme", (Seam("acme_sdk:Client", "send", kind="http"),), read_request, read_response, read_stream,
                  probe_request, endpoints=("/talk",), sdk_arguments=sdk_arguments, marker_fields=("text",),
                  modelless_endpoints=("/talk",), hosts={"acme.example": "acme"}, headers={"x-acme": "request_id"},
                  price_ids={"acme": "openai"}, probe_client="acme_sdk:Client", probe_methods=("talk", "talk"))
'''
NEW_SDK = """
import httpx

class Client:
    base_url = "https://acme.example"

    def __init__(self, handler):
        self._http = httpx.Client(transport=httpx.MockTransport(handler), base_url=self.base_url)

    def send(self, path, *, json):
        return self._http.post(path, json=json)

    def talk(self, text):
        return self.send("/talk", json={"m": "acme-1", "text": text}).json()
"""


def test_a_new_vendor_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: testing.Recording) -> None:
    """One file in the vendors folder: its SDK can be wrapped, instrumented and probed, its raw HTTP read, doctor and prices know it."""
    (tmp_path / "vendors").mkdir()
    (tmp_path / "vendors" / "acme.py").write_text(NEW_VENDOR)
    (tmp_path / "acme_sdk.py").write_text(NEW_SDK)
    monkeypatch.syspath_prepend(str(tmp_path))
    home = list(tracewrap.vendors.__path__)
    tracewrap.vendors.__path__ = [*home, str(tmp_path / "vendors")]
    providers.forget()
    try:
        acme = importlib.import_module("acme_sdk")

        def handler(request: Any) -> Any:
            assert json.loads(request.content)["text"] == "hi"
            return httpx.Response(200, json={"id": "1", "i": 2, "o": 5}, headers={"x-acme": "r1"})

        assert wrap(acme.Client(handler)).talk("hi") == {"id": "1", "i": 2, "o": 5}
        instrument()
        acme.Client(handler).talk("hi")
        with wrap(httpx.Client(transport=httpx.MockTransport(handler))) as raw:
            raw.post("https://acme.example/talk", json={"m": "acme-1", "text": "hi"})
        calls = recorded()
        probed = open_probe(acme.Client(handler), stream=False).send("acme-1", "hi", 5, False)
        assert (probed.provider, probed.usage and probed.usage.output_tokens) == ("acme", 5)
        assert any(finding.about == "acme_sdk" for finding in _vendors())
        assert providers.endpoint_of("openai", "https://acme.example").provider == "acme"
        if PriceBook().version is not None:
            assert PriceBook().find(Purchase("acme", ("gpt-4o",)), 0, 10**9).rates
    finally:
        tracewrap.vendors.__path__ = home
        providers.forget()
        sys.modules.pop("tracewrap.vendors.acme", None)
    uninstrument()
    assert not import_hook.any_waiting()  # also what a vendor's file that is gone had waited for
    assert {call.request_id for call in calls} == {"r1"}
    assert [(call.provider, call.request_model, call.server_address) for call in calls] == [
        ("acme", "acme-1", "acme.example")
    ] * 3
    assert {call.usage and call.usage.output_tokens for call in calls} == {5}


@pytest.mark.parametrize("how", ["wrap", "instrument"])
def test_embed_in_batches_is_one_call(how: str, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Cohere's embed sends 96 texts a request from threads of its own: one span, with all its tokens; two at once are two."""
    client = cohere.Client(base_url=vendor.url, api_key="k")
    if how == "wrap":
        wrap(client)
    else:
        instrument()
    texts = [f"text {number}" for number in range(200)]
    client.embed(texts=texts, model="m")
    assert len(vendor.requests) == 3
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.input_tokens, call.attempts, call.operation) == (400, 1, "embeddings")
    client.embed(texts=["a b"], model="m", batching=False)
    assert len(recorded()) == 2

    async def main() -> None:
        many = cohere.AsyncClient(base_url=vendor.url, api_key="k")
        many = wrap(many) if how == "wrap" else many
        await asyncio.gather(*(many.embed(texts=texts, model="m") for _ in range(2)))

    asyncio.run(main())
    assert [made.usage and made.usage.input_tokens for made in recorded()[2:]] == [400, 400]
