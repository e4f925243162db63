"""The matrix of SDKs: what ``instrument()`` records of each entry point, seen on the real SDK; the page of it says the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import ROOT
from fake_bedrock import FakeBedrock
from fake_vendor import FakeVendor
from fake_wire import Answer
from tracewrap import instrument, testing
from tracewrap.prices.book import PriceBook
from tracewrap.prices.rates import Purchase

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai over aiohttp
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),  # an older model, which price lists know
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HELLO = [{"role": "user", "content": "a b c"}]
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TURN = {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": "a b c"}]}]}
BODY = json.dumps({"messages": HELLO, "max_tokens": 9, "anthropic_version": "x"})


@dataclass(frozen=True)
class Servers:
    """Where the SDKs' clients are sent."""

    vendor: FakeVendor
    bedrock: FakeBedrock


@dataclass(frozen=True)
class Row:
    """An SDK's entry point and what is recorded of it; ``how``: by the SDK's own seam or by the HTTP client that it sends with."""

    sdk: str
    entry: str
    call: Callable[[Servers], Any]
    provider: str
    how: str = "SDK"
    tokens: str = "reported"
    cached: bool = True
    stream: bool = False
    model: str = "gpt-4o-mini"
    priced: bool = True


def _openai(servers: Servers) -> Any:
    openai = pytest.importorskip("openai")
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(api_key="k", base_url=servers.vendor.openai_url, http_client=http)


def _anthropic(servers: Servers) -> Any:
    anthropic = pytest.importorskip("anthropic")
    http = anthropic.DefaultHttpxClient(verify=False)
    return anthropic.Anthropic(api_key="k", base_url=servers.vendor.url, http_client=http)


def _cohere(servers: Servers) -> Any:
    cohere, httpx = pytest.importorskip("cohere"), pytest.importorskip("httpx")
    return cohere.ClientV2(api_key="k", base_url=servers.vendor.url, httpx_client=httpx.Client(verify=False))


_KEPT: list[Any] = []


def _google(servers: Servers) -> Any:
    genai = pytest.importorskip("google.genai")
    options = {"base_url": servers.vendor.url, "client_args": {"verify": False}}
    _KEPT[:] = [genai.Client(api_key="k", http_options=options)]  # closed when it is collected, its streams too
    return _KEPT[0].models


def _boto(servers: Servers) -> Any:
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    return boto3.Session().client("bedrock-runtime", endpoint_url=servers.bedrock.url, **keys)


def _groq(servers: Servers) -> Any:
    groq, httpx = pytest.importorskip("groq"), pytest.importorskip("httpx")
    return groq.Groq(api_key="k", base_url=servers.vendor.url, http_client=httpx.Client(verify=False))


def _together(servers: Servers) -> Any:
    together, httpx = pytest.importorskip("together"), pytest.importorskip("httpx")
    return together.Together(api_key="k", base_url=servers.vendor.openai_url, http_client=httpx.Client(verify=False))


def _mistral(servers: Servers) -> Any:
    sdk, httpx = pytest.importorskip("mistralai.client.sdk"), pytest.importorskip("httpx")
    return sdk.Mistral(api_key="k", server_url=servers.vendor.url, client=httpx.Client(verify=False))


def _ollama(servers: Servers) -> Any:
    ollama = pytest.importorskip("ollama")
    return ollama.Client(host=servers.vendor.url, verify=False)


def _huggingface(servers: Servers) -> Any:
    hub = pytest.importorskip("huggingface_hub")
    _KEPT[:] = [hub.InferenceClient(base_url=servers.vendor.url, api_key="k")]  # its streams end with it
    return _KEPT[0]


def _requests(servers: Servers, **more: Any) -> Any:
    body = {"model": "gpt-4o-mini", "messages": HELLO, **({"stream": True} if more else {})}
    return pytest.importorskip("requests").post(servers.vendor.openai_url + "/chat/completions", json=body, **more)


async def _aiohttp(servers: Servers, stream: bool = False) -> Any:
    url, body = (
        servers.vendor.openai_url + "/chat/completions",
        {"model": "gpt-4o-mini", "messages": HELLO, "stream": stream},
    )
    async with pytest.importorskip("aiohttp").ClientSession() as session, session.post(url, json=body) as response:
        return [line async for line in response.content]


def _httpx(servers: Servers, family: str) -> Any:
    return pytest.importorskip(family).Client(base_url=servers.vendor.url, verify=False)


GEMINI = {"model": "gemini-2.5-flash", "contents": "a b c"}
CHAT = {"messages": HELLO}
ROWS = [
    Row("openai", "chat.completions.create", lambda s: _openai(s).chat.completions.create(model="gpt-4o-mini", **CHAT), "openai"),
    Row("openai", "chat.completions.create, streamed",
        lambda s: list(_openai(s).chat.completions.create(model="gpt-4o-mini", stream=True, **CHAT)), "openai", stream=True),
    Row("openai", "responses.create", lambda s: _openai(s).responses.create(model="gpt-4o-mini", input="a b c"), "openai"),
    Row("openai", "responses.create, streamed",
        lambda s: list(_openai(s).responses.create(model="gpt-4o-mini", input="a b c", stream=True)), "openai", stream=True),
    Row("openai", "embeddings.create",
        lambda s: _openai(s).embeddings.create(model="text-embedding-3-small", input="a b c"), "openai",
        cached=False, model="text-embedding-3-small"),
    Row("anthropic", "messages.create",
        lambda s: _anthropic(s).messages.create(model="claude-sonnet-4-5", max_tokens=8, **CHAT), "anthropic",
        model="claude-sonnet-4-5"),
    Row("anthropic", "messages.create, streamed",
        lambda s: list(_anthropic(s).messages.create(model="claude-sonnet-4-5", max_tokens=8, stream=True, **CHAT)),
        "anthropic", stream=True, model="claude-sonnet-4-5"),
    Row("cohere", "chat", lambda s: _cohere(s).chat(model="command-r", **CHAT), "cohere", model="command-r"),
    Row("cohere", "chat_stream", lambda s: list(_cohere(s).chat_stream(model="command-r", **CHAT)), "cohere",
        stream=True, model="command-r"),
    Row("google-genai", "generate_content", lambda s: _google(s).generate_content(**GEMINI), "gcp.gemini",
        model="gemini-2.5-flash"),
    Row("google-genai", "generate_content_stream", lambda s: list(_google(s).generate_content_stream(**GEMINI)), "gcp.gemini",
        stream=True, model="gemini-2.5-flash"),
    Row("google-genai", "embed_content",
        lambda s: _google(s).embed_content(model="gemini-embedding-001", contents="a b c"), "gcp.gemini",
        cached=False, model="gemini-embedding-001"),
    Row("boto3", "converse", lambda s: _boto(s).converse(**TURN), "aws.bedrock", model=CLAUDE),
    Row("boto3", "converse_stream", lambda s: list(_boto(s).converse_stream(**TURN)["stream"]), "aws.bedrock", stream=True,
        model=CLAUDE),
    Row("boto3", "invoke_model", lambda s: _boto(s).invoke_model(modelId=CLAUDE, body=BODY)["body"].read(), "aws.bedrock",
        model=CLAUDE),
    Row("boto3", "invoke_model_with_response_stream",
        lambda s: list(_boto(s).invoke_model_with_response_stream(modelId=CLAUDE, body=BODY)["body"]), "aws.bedrock",
        cached=False, stream=True, model=CLAUDE),
    Row("groq", "chat.completions.create",
        lambda s: _groq(s).chat.completions.create(model="llama-3.1-8b-instant", **CHAT), "groq", model="llama-3.1-8b-instant"),
    Row("groq", "chat.completions.create, streamed",
        lambda s: list(_groq(s).chat.completions.create(model="llama-3.1-8b-instant", stream=True, **CHAT)), "groq",
        stream=True, model="llama-3.1-8b-instant"),
    Row("together", "chat.completions.create",
        lambda s: _together(s).chat.completions.create(model="meta-llama/Llama-3.3-70B-Instruct-Turbo", **CHAT), "together",
        model="meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    Row("together", "chat.completions.create, streamed",
        lambda s: list(_together(s).chat.completions.create(
            model="meta-llama/Llama-3.3-70B-Instruct-Turbo", stream=True, **CHAT)), "together",
        stream=True, model="meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    Row("mistralai", "chat.complete", lambda s: _mistral(s).chat.complete(model="mistral-small-latest", **CHAT), "mistral_ai",
        how="HTTP", model="mistral-small-latest"),
    Row("mistralai", "chat.stream", lambda s: list(_mistral(s).chat.stream(model="mistral-small-latest", **CHAT)), "mistral_ai",
        how="HTTP", stream=True, model="mistral-small-latest"),
    Row("ollama", "chat", lambda s: _ollama(s).chat(model="llama3.1", **CHAT), "ollama", how="HTTP", cached=False,
        model="llama3.1", priced=False),
    Row("ollama", "chat, streamed", lambda s: list(_ollama(s).chat(model="llama3.1", stream=True, **CHAT)), "ollama",
        how="HTTP", cached=False, stream=True, model="llama3.1", priced=False),
    Row("ollama", "generate", lambda s: _ollama(s).generate(model="llama3.1", prompt="a b c"), "ollama", how="HTTP",
        cached=False, model="llama3.1", priced=False),
    Row("ollama", "embed", lambda s: _ollama(s).embed(model="llama3.1", input="a b c"), "ollama", how="HTTP", cached=False,
        model="llama3.1", priced=False),
    Row("huggingface_hub", "chat_completion", lambda s: _huggingface(s).chat_completion(HELLO, model="m"), "huggingface",
        how="HTTP", model="m", priced=False),
    Row("huggingface_hub", "chat_completion, streamed",
        lambda s: list(_huggingface(s).chat_completion(HELLO, model="m", stream=True)), "huggingface",
        how="HTTP", stream=True, model="m", priced=False),
    *(
        Row(family, "post", lambda s, family=family: _httpx(s, family).post(  # type: ignore[misc]
            "/v1/chat/completions", json={"model": "gpt-4o-mini", **CHAT}), "openai", how="HTTP")
        for family in ("httpx", "httpx2")
    ),
    Row("requests", "post", lambda s: _requests(s).json(), "openai", how="HTTP"),
    Row("requests", "post, streamed", lambda s: list(_requests(s, stream=True).iter_lines()), "openai", how="HTTP", stream=True),
    Row("aiohttp", "post", lambda s: asyncio.run(_aiohttp(s)), "openai", how="HTTP"),
    Row("aiohttp", "post, streamed", lambda s: asyncio.run(_aiohttp(s, stream=True)), "openai", how="HTTP", stream=True),
]  # fmt: skip


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Both fakes; one token of three is cached, and streams report usage as these vendors' do."""
    with FakeVendor(answer=Answer(cached_tokens=1, unasked_usage=True)) as vendor, FakeBedrock() as bedrock:
        yield Servers(vendor, bedrock)


BY_HOST = {"mistral_ai", "huggingface"}
"""Providers that only their host tells."""


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.sdk}-{row.entry}" for row in ROWS])
def test_what_is_recorded(row: Row, servers: Servers, recorded: testing.Recording) -> None:
    """One call; its tokens, cached ones, first chunk, how it ended, provider and price are as the matrix says."""
    instrument()
    row.call(servers)
    (call,) = recorded()
    assert (call.outcome, call.stream) == ("complete", row.stream)
    assert call.usage is not None
    assert call.usage.source == row.tokens
    assert bool(call.usage.cached_input_tokens) == row.cached
    assert (call.time_to_first_chunk_s is not None) == row.stream
    assert row.provider in BY_HOST or call.provider == row.provider
    book = PriceBook()
    now = call.start_time_ns
    if book.version is None:
        return  # no price list is installed: the environment of the oldest SDKs
    assert (book.find(Purchase(row.provider, (row.model,)), now, now + 1).rates != ()) == row.priced


ASYNC = ["openai", "anthropic", "google-genai", "groq", "ollama", "httpx"]


@pytest.mark.parametrize("sdk", ASYNC)
def test_async_clients(sdk: str, servers: Servers, recorded: testing.Recording) -> None:
    """The async client of each SDK, instrumented: plain and streamed, one call each."""
    instrument()
    asyncio.run(_ask_async(sdk, servers))
    assert [(call.stream, call.outcome) for call in recorded()] == [(False, "complete"), (True, "complete")]


async def _ask_async(sdk: str, servers: Servers) -> None:
    module = pytest.importorskip("google.genai" if sdk == "google-genai" else sdk)
    if sdk == "google-genai":
        options = {"base_url": servers.vendor.url, "async_client_args": {"verify": False}}
        client = module.Client(api_key="k", http_options=options)
        await client.aio.models.generate_content(**GEMINI)
        stream = await client.aio.models.generate_content_stream(**GEMINI)
    elif sdk == "anthropic":
        client = module.AsyncAnthropic(api_key="k", base_url=servers.vendor.url)
        await client.messages.create(model="m", max_tokens=8, **CHAT)
        stream = await client.messages.create(model="m", max_tokens=8, stream=True, **CHAT)
    elif sdk == "ollama":
        client = module.AsyncClient(host=servers.vendor.url)
        await client.chat(model="m", **CHAT)
        stream = await client.chat(model="m", stream=True, **CHAT)
    elif sdk == "httpx":
        async with module.AsyncClient(base_url=servers.vendor.url) as http:
            await http.post("/api/chat", json={"model": "m", "stream": False, **CHAT})
            async with http.stream("POST", "/api/chat", json={"model": "m", **CHAT}) as response:
                async for _ in response.aiter_lines():
                    pass
        return
    else:
        cls = module.AsyncGroq if sdk == "groq" else module.AsyncOpenAI
        client = cls(api_key="k", base_url=servers.vendor.url if sdk == "groq" else servers.vendor.openai_url)
        await client.chat.completions.create(model="m", **CHAT)
        stream = await client.chat.completions.create(model="m", stream=True, **CHAT)
    async for _ in stream:
        pass


def table() -> str:
    """The matrix as the page shows it."""
    head = "| SDK | entry point | recorded by | tokens | cached tokens | first chunk | outcome | price | provider |"
    lines = [head, "|" + "---|" * 9]
    for row in ROWS:
        yes = {True: "yes", False: "-"}
        cells = [
            row.sdk,
            f"`{row.entry}`",
            row.how,
            row.tokens,
            yes[row.cached],
            yes[row.stream],
            "yes",
            yes[row.priced],
        ]
        lines.append("| " + " | ".join([*cells, f"`{row.provider}`"]) + " |")
    return "\n".join(lines)


def test_the_page_shows_the_matrix() -> None:
    """docs/sdks.md holds the very table that these tests hold."""
    assert table() in (ROOT / "docs" / "sdks.md").read_text()
