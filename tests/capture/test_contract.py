"""One contract for every vendor and entry point: exactly one span, exact attributes, and the caller sees the SDK's own objects.

vendor x {sync, async} x {plain, parse, raw, stream, stream helper, raw stream, streaming response}
       x {ok, API error, broken mid-stream, early close, cancelled, abandoned}
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from fake_vendor import FakeVendor, Fault
from fake_wire import Answer
from tracewrap import semconv, testing, wrap
from tracewrap.records import TokenUsage

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
httpx = pytest.importorskip("httpx")
genai = pytest.importorskip("google.genai")


pytestmark = [  # abandoned clients and streams are the point here: their sockets are closed when they are collected
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai over aiohttp
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Name(BaseModel):
    """What structured answers parse into."""

    name: str


HELLO = [{"role": "user", "content": "a b c"}]
Q: dict[str, Any] = {"model": "m", "messages": HELLO}
QR: dict[str, Any] = {"model": "m", "input": "a b c"}
QG: dict[str, Any] = {"model": "m", "contents": "a b c"}
QA: dict[str, Any] = {"model": "m", "messages": HELLO, "max_tokens": 8}


@dataclass(frozen=True)
class Entry:
    """An entry point: ``call(client, **how the SDK takes headers)``; ``then``: what the caller does with the result."""

    vendor: str
    name: str
    streamed: bool
    call: Callable[..., Any]
    then: Callable[[Any], Any] = lambda result: result
    exists: Callable[[Any], bool] = lambda client: True
    operation: str = "chat"


def _parse(raw: Any) -> Any:
    return raw.parse()


ENTRIES = [
    Entry("openai", "plain", False, lambda c, **h: c.chat.completions.create(**Q, **h)),
    Entry("openai", "parse", False, lambda c, **h: c.chat.completions.parse(response_format=Name, **Q, **h)),
    Entry("openai", "raw", False, lambda c, **h: c.chat.completions.with_raw_response.create(**Q, **h), _parse),
    Entry("openai", "stream", True, lambda c, **h: c.chat.completions.create(stream=True, **Q, **h)),
    Entry("openai", "helper", True, lambda c, **h: c.chat.completions.stream(**Q, **h)),
    Entry(
        "openai",
        "raw-stream",
        True,
        lambda c, **h: c.chat.completions.with_raw_response.create(stream=True, **Q, **h),
        _parse,
    ),
    Entry(
        "openai",
        "streaming-response",
        True,
        lambda c, **h: c.chat.completions.with_streaming_response.create(stream=True, **Q, **h),
    ),
    Entry("openai", "responses", False, lambda c, **h: c.responses.create(**QR, **h)),
    Entry("openai", "responses-parse", False, lambda c, **h: c.responses.parse(text_format=Name, **QR, **h)),
    Entry("openai", "responses-raw", False, lambda c, **h: c.responses.with_raw_response.create(**QR, **h), _parse),
    Entry("openai", "responses-stream", True, lambda c, **h: c.responses.create(stream=True, **QR, **h)),
    Entry("openai", "responses-helper", True, lambda c, **h: c.responses.stream(**QR, **h)),
    Entry(
        "openai",
        "completions",
        False,
        lambda c, **h: c.completions.create(model="m", prompt="a b c", **h),
        operation="text_completion",
    ),
    Entry(
        "openai",
        "completions-stream",
        True,
        lambda c, **h: c.completions.create(model="m", prompt="a b c", stream=True, **h),
        operation="text_completion",
    ),
    Entry("openai", "embeddings", False, lambda c, **h: c.embeddings.create(**QR, **h), operation="embeddings"),
    Entry("anthropic", "plain", False, lambda c, **h: c.messages.create(**QA, **h)),
    Entry(
        "anthropic",
        "parse",
        False,
        lambda c, **h: c.messages.parse(output_format=Name, **QA, **h),
        exists=lambda c: hasattr(c.messages, "parse"),
    ),
    Entry("anthropic", "raw", False, lambda c, **h: c.messages.with_raw_response.create(**QA, **h), _parse),
    Entry("anthropic", "stream", True, lambda c, **h: c.messages.create(stream=True, **QA, **h)),
    Entry("anthropic", "helper", True, lambda c, **h: c.messages.stream(**QA, **h)),
    Entry(
        "anthropic",
        "raw-stream",
        True,
        lambda c, **h: c.messages.with_raw_response.create(stream=True, **QA, **h),
        _parse,
    ),
    Entry(
        "anthropic",
        "streaming-response",
        True,
        lambda c, **h: c.messages.with_streaming_response.create(stream=True, **QA, **h),
    ),
    Entry("anthropic", "beta", False, lambda c, **h: c.beta.messages.create(**QA, **h)),
    Entry("anthropic", "beta-stream", True, lambda c, **h: c.beta.messages.create(stream=True, **QA, **h)),
    Entry("anthropic", "beta-helper", True, lambda c, **h: c.beta.messages.stream(**QA, **h)),
    Entry("cohere", "plain", False, lambda c, **h: c.chat(**Q, **h)),
    Entry("cohere", "raw", False, lambda c, **h: c.with_raw_response.chat(**Q, **h)),
    Entry("cohere", "stream", True, lambda c, **h: c.chat_stream(**Q, **h)),
    Entry("cohere", "raw-stream", True, lambda c, **h: c.with_raw_response.chat_stream(**Q, **h)),
    Entry(
        "cohere",
        "rerank",
        False,
        lambda c, **h: c.rerank(model="m", query="a", documents=["b"], **h),
        operation="rerank",
    ),
    Entry(
        "cohere",
        "embed",
        False,
        lambda c, **h: c.embed(model="m", texts=["a b c"], input_type="classification", embedding_types=["float"], **h),
        operation="embeddings",
    ),
    Entry("cohere-v1", "plain", False, lambda c, **h: c.chat(model="m", message="a b c", **h)),
    Entry("cohere-v1", "stream", True, lambda c, **h: c.chat_stream(model="m", message="a b c", **h)),
    Entry(
        "cohere-v1",
        "generate",
        False,
        lambda c, **h: c.generate(model="m", prompt="a b c", **h),
        operation="text_completion",
    ),
    Entry(
        "cohere-v1",
        "generate-stream",
        True,
        lambda c, **h: c.generate_stream(model="m", prompt="a b c", **h),
        operation="text_completion",
    ),
    Entry("cohere-v1", "embed", False, lambda c, **h: c.embed(model="m", texts=["a b c"], **h), operation="embeddings"),
    Entry(
        "cohere-v1",
        "rerank",
        False,
        lambda c, **h: c.rerank(model="m", query="a", documents=["b"], **h),
        operation="rerank",
    ),
    Entry("google", "plain", False, lambda c, **h: c.models.generate_content(**QG, **h)),
    Entry("google", "stream", True, lambda c, **h: c.models.generate_content_stream(**QG, **h)),
    Entry("google", "chat", False, lambda c, **h: c.chats.create(model="m").send_message("a b c", **h)),
    Entry("google", "chat-stream", True, lambda c, **h: c.chats.create(model="m").send_message_stream("a b c", **h)),
    Entry("google", "embed", False, lambda c, **h: c.models.embed_content(**QG, **h), operation="embeddings"),
]
CASES = [
    pytest.param(entry, is_async, id=f"{entry.vendor}-{entry.name}-{'async' if is_async else 'sync'}")
    for entry in ENTRIES
    for is_async in (False, True)
]
STREAMS = [case for case in CASES if case.values[0].streamed]


def make_client(name: str, vendor: FakeVendor, is_async: bool) -> Any:
    """A client of the fake, without the cost of loading certificates."""
    if name in ("openai", "anthropic"):
        sdk, url = (openai, vendor.openai_url) if name == "openai" else (anthropic, vendor.url)
        http = (sdk.DefaultAsyncHttpxClient if is_async else sdk.DefaultHttpxClient)(verify=False)
        plain, asynchronous = ("OpenAI", "AsyncOpenAI") if name == "openai" else ("Anthropic", "AsyncAnthropic")
        cls = getattr(sdk, asynchronous if is_async else plain)
        return cls(api_key="k", base_url=url, max_retries=0, http_client=http)
    if name == "google":
        options: dict[str, Any] = {"base_url": vendor.url}
        options["client_args"] = options["async_client_args"] = {"verify": False}
        google = genai.Client(api_key="k", http_options=options)
        if is_async:
            google.aio.owner = google  # which closes both when it is collected
        return google.aio if is_async else google
    client = (httpx.AsyncClient if is_async else httpx.Client)(verify=False)
    suffix = "V2" if name == "cohere" else ""
    cls = getattr(cohere, ("AsyncClient" if is_async else "Client") + suffix)
    return cls(api_key="k", base_url=vendor.url, httpx_client=client)


def _headers(entry: Entry, fault: Fault | None) -> dict[str, Any]:
    if fault is None:
        return {}
    headers = {"x-fault": json.dumps(asdict(fault))}
    if entry.vendor.startswith("cohere"):
        return {"request_options": {"additional_headers": headers, "max_retries": 0}}
    if entry.vendor == "google":
        return {"config": {"http_options": {"headers": headers}}}
    return {"extra_headers": headers}


class Run:
    """One call, as its caller makes it; ``seen`` is what the caller saw, as types."""

    def __init__(self, entry: Entry, client: Any, fault: Fault | None, limit: int | None, close: bool) -> None:
        self.entry, self.client, self.fault = entry, client, fault
        self.limit, self.close = limit, close
        self.seen: list[object] = []

    def sync(self) -> Run:
        """Make the call and read what comes."""
        thing = self.entry.then(self.entry.call(self.client, **_headers(self.entry, self.fault)))
        self.seen.append(type(thing))
        if not self.entry.streamed:
            return self
        manager = None if hasattr(thing, "__iter__") else thing
        source = thing if manager is None else manager.__enter__()
        self.seen.append(type(source))
        error: BaseException | None = None
        try:
            for number, chunk in enumerate(_chunks(source, False), 1):
                self.seen.append(type(chunk))
                if number == self.limit:
                    break
        except BaseException as raised:
            error = raised
            raise
        finally:
            if manager is not None and (self.close or error):
                manager.__exit__(*((type(error), error, None) if error else (None, None, None)))
            elif manager is None and self.close:
                thing.close()
        return self

    async def run(self) -> Run:
        """The same, awaited."""
        thing = self.entry.call(self.client, **_headers(self.entry, self.fault))
        thing = await thing if inspect.isawaitable(thing) else thing
        thing = self.entry.then(thing)
        thing = await thing if inspect.isawaitable(thing) else thing
        self.seen.append(type(thing))
        if not self.entry.streamed:
            return self
        manager = None if hasattr(thing, "__aiter__") else thing
        source = thing if manager is None else await manager.__aenter__()
        self.seen.append(type(source))
        error: BaseException | None = None
        try:
            number = 0
            async for chunk in _chunks(source, True):
                self.seen.append(type(chunk))
                number += 1
                if number == self.limit:
                    break
        except BaseException as raised:
            error = raised
            raise
        finally:
            if manager is not None and (self.close or error):
                await manager.__aexit__(*((type(error), error, None) if error else (None, None, None)))
            elif manager is None and self.close:
                await (thing.aclose() if hasattr(thing, "aclose") else thing.close())
        return self


def _chunks(source: Any, is_async: bool) -> Any:
    if hasattr(source, "iter_lines"):
        return source.iter_lines()
    if hasattr(source, "data"):
        return source.data
    return source


def run(
    entry: Entry,
    vendor: FakeVendor,
    is_async: bool,
    fault: Fault | None = None,
    *,
    wrapped: bool = True,
    limit: int | None = None,
    close: bool = True,
) -> list[object]:
    """Make one call of *entry*; what its caller saw."""

    def prepared() -> Run:
        client = make_client(entry.vendor, vendor, is_async)
        if not entry.exists(client):
            pytest.skip("this SDK has no such method")
        return Run(entry, wrap(client) if wrapped else client, fault, limit, close)

    async def main() -> list[object]:
        made = prepared()
        seen = (await made.run()).seen
        if not close:
            del made
            gc.collect()
            await asyncio.sleep(0.01)
        return seen

    return asyncio.run(main()) if is_async else prepared().sync().seen


GENERATING = ("chat", "text_completion")
COMMON: dict[str, type] = {
    semconv.OPERATION: str,
    semconv.PROVIDER: str,
    semconv.REQUEST_MODEL: str,
    semconv.SERVER_ADDRESS: str,
    semconv.SERVER_PORT: int,
    semconv.RUNTIME_RAW: float,
    semconv.ATTEMPTS: int,
    semconv.OUTCOME: str,
    semconv.REQUEST_ID: str,
}
COUNTS = {semconv.INPUT_TOKENS: int, semconv.OUTPUT_TOKENS: int, semconv.USAGE_SOURCE: str}
STREAMED = {semconv.REQUEST_STREAM: bool, semconv.TIME_TO_FIRST_CHUNK: float, semconv.CONSUMER: float}
ANSWERED = {semconv.RESPONSE_ID: str, semconv.FINISH_REASONS: tuple}
OPENAI = {semconv.RESPONSE_MODEL: str, semconv.SERVER_PROCESSING: float}
LIMITS = "tracewrap.ratelimit_remaining_requests"
TIERED = {"openai.api.type": str, semconv.SERVICE_TIER: str, "openai.response.service_tier": str}


TIMED = {semconv.NETWORK_TRANSIT: float}
"""Where the vendor's header says how long it took."""
SIDE = {semconv.CLIENT_POOL: float, semconv.CLIENT_SDK: float, semconv.NETWORK: float}
"""What is measured of our side of the wire, whoever the vendor is."""


def expected_types(entry: Entry) -> dict[str, type]:
    """Every attribute of a successful call, and its type."""
    types = {**COMMON, **(STREAMED if entry.streamed else {})}
    if entry.vendor == "openai":
        types |= OPENAI | {LIMITS: str} | COUNTS
        if entry.name == "embeddings":
            types["gen_ai.request.encoding_formats"] = tuple
            return {name: kind for name, kind in types.items() if name != semconv.OUTPUT_TOKENS}
        types |= ANSWERED
        details = {semconv.CACHE_READ: int, semconv.REASONING: int}
        if entry.operation == "chat":
            types["openai.api.type"] = str
        if "responses" in entry.name or (entry.operation == "chat" and not entry.streamed):
            types |= TIERED
        if entry.operation == "chat" and not entry.streamed and "responses" not in entry.name:
            types["openai.response.system_fingerprint"] = str
        if "responses" not in entry.name:
            details |= {semconv.AUDIO_INPUT: int, semconv.AUDIO_OUTPUT: int}
        if entry.name in ("parse", "responses-parse"):
            types["gen_ai.output.type"] = str
        return types | details
    if entry.vendor == "anthropic":
        written = dict.fromkeys((semconv.CACHE_WRITE, semconv.CACHE_WRITE_OLD), int)  # under both names, on spans
        types |= COUNTS | ANSWERED | {semconv.RESPONSE_MODEL: str, semconv.CACHE_READ: int} | written
        return types | {
            semconv.SERVICE_TIER: str,
            "gen_ai.request.max_tokens": int,
            "tracewrap.anthropic_ratelimit_requests_remaining": str,
            **({"gen_ai.output.type": str} if entry.name == "parse" else {}),
        }
    if entry.vendor == "google":
        del types[semconv.REQUEST_ID]
        types |= COUNTS | {semconv.SERVER_PROCESSING: float}
        if entry.operation == "embeddings":
            return {name: kind for name, kind in types.items() if name != semconv.OUTPUT_TOKENS}
        return types | ANSWERED | {semconv.RESPONSE_MODEL: str}
    types |= {semconv.SERVER_PROCESSING: float, semconv.RESPONSE_ID: str}
    if entry.operation == "rerank":
        return types | {semconv.SEARCH_UNITS: int, semconv.USAGE_SOURCE: str}
    types |= COUNTS
    if entry.operation == "embeddings":
        types.pop(semconv.OUTPUT_TOKENS)
        return types
    types |= ANSWERED
    return types | (
        {semconv.PROCESSED_INPUT: int, semconv.PROCESSED_OUTPUT: int} if "generate" not in entry.name else {}
    )


@pytest.mark.parametrize(("entry", "is_async"), CASES)
def test_ok(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A call that succeeds: the caller sees what it sees without us; one span, exact names and types, right counts."""
    bare = run(entry, vendor, is_async, wrapped=False)
    assert run(entry, vendor, is_async) == bare
    (span,) = recorded.spans
    found = {name: type(value) for name, value in (span.attributes or {}).items()}
    late = (semconv.CLIENT_LAG, semconv.CLIENT_LAG_KIND)  # there on a busy machine
    lag = {name: found.pop(name, None) for name in late}
    assert lag in (dict.fromkeys(lag), {semconv.CLIENT_LAG: float, semconv.CLIENT_LAG_KIND: str})
    several = (
        entry.vendor.startswith("cohere") and entry.operation == "embeddings"
    )  # requests of one call, side by side
    expected = expected_types(entry)
    side = SIDE | (TIMED if semconv.SERVER_PROCESSING in expected else {})
    assert found == expected | ({} if several else side)
    (call,) = recorded()
    assert (call.outcome, call.operation, call.stream) == ("complete", entry.operation, entry.streamed)
    assert span.name == f"{entry.operation} m"
    if call.usage is not None and call.usage.source == "reported" and entry.operation == "chat":
        assert (call.usage.input_tokens, call.usage.output_tokens) == (3, 8)


WHAT_ELSE = {
    "openai": (TokenUsage(3, 8, 1, 1, None, 2), ("stop",), "m-0001"),
    "anthropic": (TokenUsage(3, 8, 1, 1, None, 2), ("end_turn",), "m-0001"),
    "cohere": (TokenUsage(3, 8, 1, billed_input_tokens=1, billed_output_tokens=7), ("COMPLETE",), None),
    "google": (TokenUsage(3, 8, 1, None, None, 2), ("STOP",), "m-0001"),
}
"""Of an answer of 8 tokens, 2 of them thoughts, to a prompt of 3, one of them cached and one written: counts, reasons, model."""
ODD = {
    ("cohere-v1", "generate"): TokenUsage(1, 7),  # billed counts only
    ("cohere-v1", "generate-stream"): TokenUsage(2, 6, source="estimated"),
}
IDS = {
    "openai": {"chatcmpl-1", "resp_1", "cmpl-1"},
    "anthropic": {"msg_1"},
    "cohere": {"co-1", "r-1", "gen-0"},
    "google": {"resp-1"},
}


@pytest.mark.parametrize(("entry", "is_async"), [case for case in CASES if case.values[0].operation in GENERATING])
def test_what_else_the_answer_says(
    entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """Cached and written tokens, reasoning, billed counts, reasons, model, ids, tier: the same in every mode of a vendor."""
    vendor.answer = Answer(cached_tokens=1, cache_write_tokens=1, reasoning_tokens=2)
    run(entry, vendor, is_async)
    (call,) = recorded()
    owner = entry.vendor.partition("-")[0]
    usage, reasons, model = WHAT_ELSE[owner]
    assert call.usage is not None
    found = call.usage._replace(audio_input_tokens=None, audio_output_tokens=None)  # 0, where it is said
    assert found == ODD.get((entry.vendor, entry.name), usage)
    request_id = None if owner == "google" else "req_1"  # its answers have no header for it
    assert (call.finish_reasons, call.response_model, call.request_id) == (reasons, model, request_id)
    assert call.response_id in IDS[owner]
    tiers = {"openai": {None, "default"}, "anthropic": {"standard"}, "cohere": {None}, "google": {None}}[owner]
    assert call.service_tier in tiers


@pytest.mark.parametrize(("entry", "is_async"), [case for case in CASES if case.values[0].operation == "chat"])
def test_a_call_of_a_tool(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An answer that only calls a tool says so, in every mode; its tokens are the answer's."""
    if entry.vendor in ("cohere-v1", "google") or "parse" in entry.name:
        pytest.skip("the fake calls no tool there")
    vendor.answer = Answer(tool_call=True)
    run(entry, vendor, is_async)
    (call,) = recorded()
    expected = {"openai": "tool_calls", "anthropic": "tool_use", "cohere": "TOOL_CALL"}[entry.vendor]
    assert call.finish_reasons == (("stop",) if "responses" in entry.name else (expected,))
    assert call.usage is not None
    assert call.usage.source == "estimated" or (call.usage.input_tokens, call.usage.output_tokens) == (3, 8)


def _undated(error: BaseException) -> str:
    """What *error* says, without the response's date, which some SDKs quote."""
    return re.sub(r"'date': '[^']*'", "", str(error), flags=re.IGNORECASE)


@pytest.mark.parametrize(("entry", "is_async"), CASES)
def test_api_error(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An API error is the SDK's own, and the span says which."""
    fault = Fault(status=400)
    with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever the SDK raises
        run(entry, vendor, is_async, fault, wrapped=False)
    with pytest.raises(type(bare.value)) as caught:
        run(entry, vendor, is_async, fault)
    assert _undated(caught.value) == _undated(bare.value)
    (call,) = recorded()
    assert (call.outcome, call.error_type) == ("error", type(bare.value).__name__)
    assert recorded.spans[0].status.status_code.name == "ERROR"


@pytest.mark.parametrize(("entry", "is_async"), CASES)
def test_broken_connection(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A connection that breaks mid-answer raises the SDK's error; a broken stream keeps what it had."""
    fault = Fault(cut_after=4)
    with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever the SDK raises
        run(entry, vendor, is_async, fault, wrapped=False)
    with pytest.raises(type(bare.value)):
        run(entry, vendor, is_async, fault)
    (call,) = recorded()
    assert call.outcome == "error"
    assert call.error_type is not None
    assert (call.time_to_first_chunk_s is not None) == entry.streamed


@pytest.mark.parametrize(("entry", "is_async"), STREAMS)
def test_early_close(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream closed by its consumer ends its span, with estimated usage."""
    run(entry, vendor, is_async, Fault(chunk_delay_s=0.01), limit=3)
    (call,) = recorded()
    assert call.outcome == "partial"
    assert call.usage is None or call.usage.source == "estimated"


@pytest.mark.parametrize(("entry", "is_async"), STREAMS)
def test_abandoned(entry: Entry, is_async: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream that its consumer forgets ends its span when it is collected."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(entry, vendor, is_async, Fault(chunk_delay_s=0.01), limit=2, close=False)
        gc.collect()
    (call,) = recorded()
    assert call.outcome in ("partial", "cancelled")


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e.vendor}-{e.name}" for e in ENTRIES])
def test_cancelled(entry: Entry, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A task that is cancelled while it waits raises CancelledError, and the span says so."""
    fault = Fault(chunk_delay_s=5.0) if entry.streamed else Fault(delay_s=5.0)

    async def main() -> None:
        client = make_client(entry.vendor, vendor, True)
        if not entry.exists(client):
            pytest.skip("this SDK has no such method")
        task = asyncio.create_task(Run(entry, wrap(client), fault, None, False).run())
        while not vendor.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (call,) = recorded()
    assert call.outcome == "cancelled"
