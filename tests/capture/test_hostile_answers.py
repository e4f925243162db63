"""Odd answers, read right: real SDKs and bare HTTP, and a server on loopback that answers word for word; one call each."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from fake_answers import Canned, CannedVendor, canned, streamed
from tracewrap import testing, wrap
from tracewrap.records import Call, TokenUsage

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
httpx = pytest.importorskip("httpx")

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydantic, of answers with fields of the wrong kind
]
Ask = Callable[[Any], Any]
HELLO = [{"role": "user", "content": "a b c"}]
U = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
READ = TokenUsage(10, 5)


def guess(output: int) -> TokenUsage:
    """Nobody reported: 2 tokens by the prompt's 5 bytes, *output* by chunks with text."""
    return TokenUsage(2, output, source="estimated")


def choice(reason: Any = "stop", index: int = 0, **message: Any) -> dict[str, Any]:
    """One choice of a whole chat answer."""
    return {"index": index, "message": {"role": "assistant", "content": "x"} | message, "finish_reason": reason}


def chat(usage: Any = U, **more: Any) -> dict[str, Any]:
    """A whole chat answer."""
    base = {"id": "c", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice()], "usage": usage}
    return base | more


def chunk(delta: Any = None, finish: Any = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A chunk of a chat stream; *delta*: its text, or all of it."""
    said = {"content": delta} if isinstance(delta, str) else delta or {}
    choices = [{"index": index, "delta": said, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": choices} | more


def tail(usage: Any) -> dict[str, Any]:
    """The chunk of usage alone."""
    return chunk() | {"choices": [], "usage": usage}


A, STOP = chunk("a"), chunk(finish="stop")


def whole(**more: Any) -> Ask:
    """A plain chat call of the openai SDK."""
    return lambda client: client.chat.completions.create(model="m", messages=HELLO, **more)


def stream(**more: Any) -> Ask:
    """A chat stream, read to its end."""
    return lambda client: list(client.chat.completions.create(model="m", messages=HELLO, stream=True, **more))


def response(**more: Any) -> dict[str, Any]:
    """An answer of the responses endpoint."""
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    base = {"id": "r", "object": "response", "created_at": 1, "model": "m-1", "status": "completed", "output": []}
    return base | {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage} | more


def respond(**more: Any) -> Ask:
    """A plain call of the responses endpoint."""
    return lambda client: client.responses.create(model="m", input="a b c", **more)


def follow(client: Any) -> Any:
    """A stream of the responses endpoint."""
    return list(client.responses.create(model="m", input="a b c", stream=True))


CREATED = {"type": "response.created", "response": response(status="in_progress", usage=None)}
DELTA = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": "x"}


def ended(kind: str, **more: Any) -> dict[str, Any]:
    """The last event of a responses stream."""
    return {"type": f"response.{kind}", "response": response(status=kind, **more)}


def events(*several: dict[str, Any]) -> Canned:
    """A responses stream: numbered events, no end mark."""
    return streamed([{"sequence_number": n, "logprobs": []} | one for n, one in enumerate(several)], done=False)


def in_raw_response(client: Any) -> None:
    """The raw response of a stream, read line by line."""
    list(
        client.chat.completions.with_raw_response.create(
            model="m", messages=HELLO, stream=True
        ).http_response.iter_lines()
    )


def in_streaming_response(client: Any) -> None:
    """A streaming response, parsed twice."""
    with client.chat.completions.with_streaming_response.create(model="m", messages=HELLO) as answer:
        answer.parse()
        answer.parse()


def embed(client: Any) -> None:
    """One embedding."""
    client.embeddings.create(model="e", input="x", encoding_format="float")


def embedding(usage: Any) -> dict[str, Any]:
    """Its answer."""
    return {
        "object": "list",
        "model": "e",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": usage,
    }


LLAMA = {"cache_n": 3, "prompt_n": 7, "predicted_n": 5, "prompt_ms": 1.5}
IMAGES = {"input_tokens": 50, "output_tokens": 40, "total_tokens": 90, "input_tokens_details": {"image_tokens": 30}}
TOOL = {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
OPENAI: list[tuple[str, Canned, Ask, dict[str, Any]]] = [
    ("no choices", canned(chat(choices=[])), whole(), {"usage": READ, "finish_reasons": ()}),
    ("usage null", canned(chat(None)), whole(), {"usage": None, "outcome": "complete"}),
    ("usage in digits", canned(chat({"prompt_tokens": "10", "completion_tokens": "5"})), whole(), {"usage": READ}),
    ("usage in floats", canned(chat({"prompt_tokens": 10.0, "completion_tokens": 5.0})), whole(), {"usage": READ}),
    ("half a token", canned(chat({"prompt_tokens": 10.5, "completion_tokens": 5})), whole(), {"usage": TokenUsage(None, 5)}),
    ("fewer than none", canned(chat({"prompt_tokens": -1, "completion_tokens": 5})), whole(), {"usage": TokenUsage(None, 5)}),
    ("not a number", canned(chat({"prompt_tokens": float("nan"), "completion_tokens": 5})), whole(), {"usage": TokenUsage(None, 5)}),
    ("too many", canned(chat({"prompt_tokens": 10**30, "completion_tokens": 5})), whole(), {"usage": TokenUsage(None, 5)}),
    ("output only", canned(chat({"completion_tokens": 5})), whole(), {"usage": TokenUsage(None, 5)}),
    ("tool calls only", canned(chat(choices=[choice("tool_calls", content=None, **TOOL)])), whole(),
     {"usage": READ, "finish_reasons": ("tool_calls",)}),
    ("refusal", canned(chat(choices=[choice("content_filter", content=None, refusal="no")])), whole(),
     {"usage": READ, "finish_reasons": ("content_filter",), "outcome": "complete"}),
    ("three choices", canned(chat(choices=[choice("stop"), choice("length", 1), choice("content_filter", 2)])), whole(n=3),
     {"finish_reasons": ("stop", "length", "content_filter")}),
    ("error in a 200", canned({"error": {"message": "x", "code": "overloaded"}}), whole(),
     {"outcome": "error", "error_type": "overloaded", "usage": None}),
    ("error of one choice", canned(chat(choices=[choice("error") | {"error": {"code": 502, "message": "x"}}])), whole(),
     {"outcome": "error", "error_type": "502"}),
    ("error null", canned(chat(error=None)), whole(), {"outcome": "complete", "usage": READ}),
    ("nothing at all", canned(""), whole(), {"outcome": "error", "usage": None}),
    ("cached, reasoning, tier, fingerprint", canned(chat(
        U | {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}},
        service_tier="flex", system_fingerprint="fp")), whole(),
     {"usage": TokenUsage(10, 5, 4, reasoning_output_tokens=3), "service_tier": "flex", "response_id": "c", "response_model": "m-1"}),
    ("llama.cpp's timings", canned(chat(None, timings=LLAMA)), whole(), {"usage": TokenUsage(10, 5, 3)}),
    ("Perplexity's searches", canned(chat(U | {"num_search_queries": 2, "citation_tokens": 0, "cost": {"total_cost": 0.3}})), whole(),
     {"usage": TokenUsage(10, 5, web_searches=2)}),
    ("xAI's sources", canned(chat(U | {"num_sources_used": 3})), whole(), {"usage": TokenUsage(10, 5, other_charges=3)}),
    ("a gateway's searches", canned(chat(U | {"server_tool_use": {"web_search_requests": 2}})), whole(),
     {"usage": TokenUsage(10, 5, web_searches=2)}),
    ("a model that always searches", canned(chat(model="gpt-4o-search-preview-2025-03-11")), whole(),
     {"usage": TokenUsage(10, 5, web_searches=1)}),
    ("usage in two chunks", streamed([A, tail({"prompt_tokens": 10}), STOP, tail({"completion_tokens": 5})]), stream(), {"usage": READ}),
    ("usage, then zeros", streamed([A, STOP, tail(U), tail(dict.fromkeys(U, 0))]), stream(), {"usage": READ}),
    ("usage twice", streamed([A, STOP, tail(U), tail(U)]), stream(), {"usage": READ}),
    ("usage that grows", streamed([chunk("a", usage={"prompt_tokens": 10, "completion_tokens": 1}), chunk(finish="stop", usage=U)]),
     stream(), {"usage": READ}),
    ("usage with the reason", streamed([A, chunk(finish="length", usage=U)]), stream(), {"usage": READ, "finish_reasons": ("length",)}),
    ("usage after the end mark", streamed([A, STOP, "data: [DONE]\n\n", tail(U)], done=False), in_raw_response, {"usage": READ}),
    ("no usage", streamed([A, A, STOP]), stream(), {"usage": guess(2), "outcome": "complete"}),
    ("thoughts and no usage", streamed([A, *[chunk({"reasoning": "x"})] * 3, STOP]), stream(), {"usage": guess(4)}),
    ("a stream without its end", streamed([A, A], done=False), stream(), {"outcome": "partial", "usage": guess(2)}),
    ("an error event", streamed([A, {"error": {"message": "x", "code": "rate_limit"}}]), stream(), {"outcome": "error", "usage": guess(1)}),
    ("a cut connection", streamed([A, A], done=False, cut=True), stream(), {"outcome": "error", "usage": guess(2)}),
    ("reasons out of order", streamed([chunk("x"), chunk("y", index=1), chunk(finish="length", index=1), STOP, tail(U)]), stream(n=2),
     {"finish_reasons": ("stop", "length")}),
    ("tool calls streamed", streamed([chunk(TOOL), chunk(finish="tool_calls"), tail(U)]), stream(),
     {"usage": READ, "finish_reasons": ("tool_calls",)}),
    ("timings streamed", streamed([A, chunk(finish="stop", timings=LLAMA)]), stream(), {"usage": TokenUsage(10, 5, 3)}),
    ("comments and pings", streamed([": x\n\n", A, ": x\n\n", STOP, tail(U)]), stream(), {"usage": READ, "outcome": "complete"}),
    ("incomplete response", canned(response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})), respond(),
     {"outcome": "complete", "finish_reasons": ("length",), "usage": READ}),
    ("filtered response", canned(response(status="incomplete", incomplete_details={"reason": "content_filter"})), respond(),
     {"finish_reasons": ("content_filter",)}),
    ("cancelled response", canned(response(status="cancelled", usage=None)), respond(), {"outcome": "cancelled", "usage": None}),
    ("failed response", canned(response(status="failed", usage=None, error={"code": "server_error", "message": "x"})), respond(),
     {"outcome": "error", "error_type": "server_error"}),
    ("queued response", canned(response(status="queued", usage=None)), respond(background=True), {"outcome": "background", "usage": None}),
    ("incomplete, streamed", events(CREATED, DELTA, ended("incomplete", incomplete_details={"reason": "max_output_tokens"})), follow,
     {"outcome": "complete", "finish_reasons": ("length",), "usage": READ}),
    ("failed, streamed", events(CREATED, DELTA, ended("failed", usage=None, error={"code": "server_error", "message": "x"})), follow,
     {"outcome": "error", "error_type": "server_error"}),
    ("completed without usage", events(CREATED, DELTA, DELTA, ended("completed", usage=None)), follow,
     {"outcome": "complete", "finish_reasons": ("stop",), "usage": guess(2)}),
    ("response without its end", events(CREATED, DELTA, DELTA), follow, {"outcome": "partial", "usage": guess(2)}),
    ("embedding without usage", canned(embedding(None)), embed, {"operation": "embeddings", "usage": None}),
    ("embedding with a total only", canned(embedding({"total_tokens": 10})), embed, {"usage": TokenUsage(10)}),
    ("images", canned({"created": 1, "data": [], "usage": IMAGES}), lambda c: c.images.generate(model="i", prompt="x"),
     {"operation": "image_generation", "usage": TokenUsage(50, 40, image_input_tokens=30)}),
    ("images without usage", canned({"created": 1, "data": []}), lambda c: c.images.generate(model="i", prompt="x"), {"usage": None}),
    ("a raw response that nobody parses", canned(chat()), lambda c: c.chat.completions.with_raw_response.create(model="m", messages=HELLO),
     {"usage": READ, "outcome": "complete"}),
    ("a streaming response", canned(chat()), in_streaming_response, {"usage": READ, "outcome": "complete"}),
]  # fmt: skip


def one_call(answer: Canned, client_of: Callable[[CannedVendor], Any], ask: Ask) -> list[Call]:
    """The calls recorded while a client asks for *answer*; what the SDK makes of it is the SDK's."""
    with CannedVendor(answer) as vendor, testing.recording() as recorded:
        with suppress(Exception):
            ask(wrap(client_of(vendor)))
        return recorded()


def check(found: list[Call], expected: dict[str, Any]) -> None:
    """One call, which says what is expected."""
    (call,) = found
    assert {name: getattr(call, name) for name in expected} == expected


def _openai(vendor: CannedVendor) -> Any:
    return openai.OpenAI(api_key="k", base_url=vendor.url + "/v1", max_retries=0)


@pytest.mark.parametrize(("answer", "ask", "expected"), [case[1:] for case in OPENAI], ids=[case[0] for case in OPENAI])
def test_openai(answer: Canned, ask: Ask, expected: dict[str, Any]) -> None:
    """OpenAI's wire format, as it and the many servers that speak it answer."""
    check(one_call(answer, _openai, ask), expected)


def _azure(vendor: CannedVendor) -> Any:
    return openai.AzureOpenAI(api_key="k", azure_endpoint=vendor.url, api_version="2024-10-21", max_retries=0)


def test_azure_opens_with_a_nameless_chunk() -> None:
    """The model is the one that later chunks name, the provider the client's own."""
    opening = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    found = one_call(streamed([opening, A, STOP, tail(U)]), _azure, stream())
    check(found, {"usage": READ, "response_model": "m-1", "response_id": "c", "provider": "azure.ai.openai"})


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (U | {"cost": 0.0012}, 0.0012),
        (U | {"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.001}}, 0.0011),
        (U | {"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.001}}, 0.001),
        (U | {"cost": {"total_cost": 0.3}}, 0.3),
        (U | {"cost": -1}, None),
        (U | {"cost": "free"}, None),
    ],
)
def test_what_the_provider_says_it_costs(usage: Any, cost: float | None) -> None:
    """Kept beside the list cost; with a key of one's own, OpenRouter's fee and what the model's owner charges."""
    with CannedVendor(canned(chat(usage))) as vendor, testing.recording() as recorded:
        whole()(wrap(_openai(vendor)))
        (record,) = recorded.records
    assert record.attributes.get("tracewrap.cost.reported") == (None if cost is None else pytest.approx(cost))


NO_CALLS: list[tuple[str, Any, Ask]] = [
    ("moderation", {"id": "m", "model": "o", "results": []}, lambda c: c.moderations.create(input="x")),
    ("models", {"object": "list", "data": []}, lambda c: list(c.models.list())),
    ("files", {"object": "list", "data": []}, lambda c: list(c.files.list())),
    ("counting", {"object": "response.input_tokens", "input_tokens": 5}, lambda c: c.responses.input_tokens.count(model="m", input="x")),
    ("a batch", {"id": "b", "object": "batch"}, lambda c: c.batches.create(
        input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h")),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "ask"), [case[1:] for case in NO_CALLS], ids=[case[0] for case in NO_CALLS])
def test_what_is_no_call(answer: Any, ask: Ask) -> None:
    """What generates nothing is not recorded."""
    assert one_call(canned(answer), _openai, ask) == []


AU = {"input_tokens": 10, "output_tokens": 5}


def message(usage: Any = AU, reason: Any = "end_turn", **more: Any) -> dict[str, Any]:
    """A whole answer of Anthropic's."""
    base = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c-1",
        "content": [{"type": "text", "text": "x"}],
    }
    return base | {"stop_reason": reason, "stop_sequence": None, "usage": usage} | more


def delta(usage: Any, reason: Any = "end_turn") -> dict[str, Any]:
    """``message_delta``."""
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def start(usage: Any) -> dict[str, Any]:
    """``message_start``."""
    return {"type": "message_start", "message": message(usage, None, content=[])}


PING = 'event: ping\ndata: {"type": "ping"}\n\n'
OPEN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
CLOSE = {"type": "content_block_stop", "index": 0}
END = {"type": "message_stop"}
START = start({"input_tokens": 10, "output_tokens": 1})
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}


def messages(*several: Any, **more: Any) -> Canned:
    """A stream of Anthropic's."""
    return streamed(several, done=False, **more)


def create(client: Any) -> Any:
    """A plain message."""
    return client.messages.create(model="c", max_tokens=9, messages=HELLO)


def create_stream(client: Any) -> Any:
    """A streamed message."""
    return list(client.messages.create(model="c", max_tokens=9, messages=HELLO, stream=True))


def helper(client: Any) -> Any:
    """The stream helper."""
    with client.messages.stream(model="c", max_tokens=9, messages=HELLO) as opened:
        return opened.get_final_message()


SPLIT = {
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 3},
}
ANTHROPIC: list[tuple[str, Canned, Ask, dict[str, Any]]] = [
    ("usage null", canned(message(None)), create, {"usage": None, "outcome": "complete"}),
    ("refusal", canned(message(reason="refusal", content=[])), create, {"finish_reasons": ("refusal",), "usage": READ}),
    ("pause", canned(message(reason="pause_turn")), create, {"finish_reasons": ("pause_turn",), "outcome": "complete"}),
    ("error in a 200", canned(OVERLOADED), create, {"outcome": "error", "error_type": "overloaded_error"}),
    ("cache by lifetime", canned(message(AU | SPLIT)), create,
     {"usage": TokenUsage(120, 5, 100, 10, 3)}),
    ("thinking", canned(message(AU | {"output_tokens_details": {"thinking_tokens": 3}})), create,
     {"usage": TokenUsage(10, 5, reasoning_output_tokens=3)}),
    ("searches", canned(message(AU | {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}})), create,
     {"usage": TokenUsage(10, 5, web_searches=2)}),
    ("tier", canned(message(AU | {"service_tier": "priority"})), create, {"service_tier": "priority"}),
    ("ping first", messages(PING, START, OPEN, TEXT, CLOSE, delta({"output_tokens": 5}), END), create_stream, {"usage": READ}),
    ("helper", messages(START, OPEN, PING, TEXT, CLOSE, delta({"output_tokens": 5}), END), helper,
     {"usage": READ, "finish_reasons": ("end_turn",)}),
    ("delta twice", messages(START, OPEN, TEXT, CLOSE, delta({"output_tokens": 3}, None), delta({"output_tokens": 5}), END), create_stream,
     {"usage": READ}),
    ("input in the delta only", messages(start({"input_tokens": 0, "output_tokens": 0}), OPEN, TEXT, CLOSE,
     delta({"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5}), END), create_stream, {"usage": TokenUsage(10, 5, 4)}),
    ("zero input in the delta", messages(START, OPEN, TEXT, CLOSE, delta({"input_tokens": 0, "output_tokens": 5}), END), create_stream,
     {"usage": READ}),
    ("no output at all", messages(START, delta({"output_tokens": 0}, "refusal"), END), create_stream,
     {"usage": TokenUsage(10, 0), "finish_reasons": ("refusal",)}),
    ("searches in the delta", messages(START, OPEN, TEXT, CLOSE,
     delta({"output_tokens": 5, "server_tool_use": {"web_search_requests": 1}}), END), create_stream,
     {"usage": TokenUsage(10, 5, web_searches=1)}),
    ("no usage in the delta", messages(START, OPEN, TEXT, TEXT, CLOSE, delta(None), END), create_stream,
     {"usage": TokenUsage(10, 2, source="estimated"), "outcome": "complete"}),
    ("no delta", messages(START, OPEN, TEXT, TEXT, CLOSE, END), create_stream, {"usage": TokenUsage(10, 2, source="estimated")}),
    ("an error event", messages(START, OPEN, TEXT, OVERLOADED), create_stream, {"outcome": "error"}),
    ("no end", messages(START, OPEN, TEXT), create_stream, {"outcome": "partial"}),
    ("a cut connection", messages(START, OPEN, TEXT, TEXT, cut=True), create_stream,
     {"outcome": "error", "usage": TokenUsage(10, 2, source="estimated")}),
]  # fmt: skip


def _anthropic(vendor: CannedVendor) -> Any:
    return anthropic.Anthropic(api_key="k", base_url=vendor.url, max_retries=0)


@pytest.mark.parametrize(
    ("answer", "ask", "expected"), [case[1:] for case in ANTHROPIC], ids=[case[0] for case in ANTHROPIC]
)
def test_anthropic(answer: Canned, ask: Ask, expected: dict[str, Any]) -> None:
    """Anthropic's messages, whole, streamed and by the helper."""
    check(one_call(answer, _anthropic, ask), expected)


def test_counting_and_batches_are_no_calls() -> None:
    """Neither Anthropic's token counts nor the making of a batch."""
    count = one_call(
        canned({"input_tokens": 5}), _anthropic, lambda c: c.messages.count_tokens(model="c", messages=HELLO)
    )
    requests = [{"custom_id": "x", "params": {"model": "c", "max_tokens": 9, "messages": HELLO}}]
    batch = one_call(canned({"id": "b"}), _anthropic, lambda c: c.messages.batches.create(requests=requests))
    assert count == batch == []


TOKENS, BILLED = {"input_tokens": 10.0, "output_tokens": 5.0}, {"input_tokens": 3.0, "output_tokens": 4.0}
BOTH = {"tokens": TOKENS, "billed_units": BILLED}


def said(usage: Any = BOTH, reason: str = "COMPLETE") -> dict[str, Any]:
    """A whole answer of Cohere's."""
    content = {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
    return {"id": "co", "finish_reason": reason, "message": content, "usage": usage}


def ask_cohere(client: Any) -> Any:
    """A plain chat."""
    return client.chat(model="m", messages=HELLO)


def follow_cohere(client: Any) -> Any:
    """A streamed chat."""
    return list(client.chat_stream(model="m", messages=HELLO))


OPENING = [
    {"type": "message-start", "id": "co", "delta": {"message": {"role": "assistant", "content": []}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
]
WORD = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "x"}}}}
CLOSING = {"type": "content-end", "index": 0}


def last(usage: Any, reason: str = "COMPLETE") -> dict[str, Any]:
    """``message-end``."""
    return {"type": "message-end", "id": "co", "delta": {"finish_reason": reason, "usage": usage}}


SEPARATE = TokenUsage(10, 5, billed_input_tokens=3, billed_output_tokens=4)
COHERE: list[tuple[str, Canned, Ask, dict[str, Any]]] = [
    ("processed and billed", canned(said()), ask_cohere, {"usage": SEPARATE}),
    ("billed only", canned(said({"billed_units": BILLED})), ask_cohere, {"usage": TokenUsage(3, 4)}),
    ("tokens empty", canned(said({"tokens": {}, "billed_units": BILLED})), ask_cohere, {"usage": TokenUsage(3, 4)}),
    ("usage null", canned(said(None)), ask_cohere, {"usage": None, "outcome": "complete"}),
    ("cached", canned(said({"cached_tokens": 6, **BOTH})), ask_cohere, {"usage": SEPARATE._replace(cached_input_tokens=6)}),
    ("length", canned(said(reason="MAX_TOKENS")), ask_cohere, {"outcome": "complete", "finish_reasons": ("MAX_TOKENS",)}),
    ("failed in a 200", canned(said(reason="ERROR_TOXIC")), ask_cohere, {"outcome": "error", "error_type": "ERROR_TOXIC"}),
    ("streamed", streamed([*OPENING, WORD, CLOSING, last(BOTH)]), follow_cohere, {"usage": SEPARATE, "outcome": "complete"}),
    ("no usage", streamed([*OPENING, WORD, WORD, CLOSING, last(None)]), follow_cohere, {"usage": guess(2), "outcome": "complete"}),
    ("no end", streamed([*OPENING, WORD, WORD], done=False), follow_cohere, {"usage": guess(2), "outcome": "partial"}),
    ("failed in a stream", streamed([*OPENING, WORD, last(None, "ERROR")]), follow_cohere, {"outcome": "error", "error_type": "ERROR"}),
    ("cut", streamed([*OPENING, WORD], done=False, cut=True), follow_cohere, {"usage": guess(1), "outcome": "error"}),
]  # fmt: skip


def _cohere(vendor: CannedVendor) -> Any:
    return cohere.ClientV2(api_key="k", base_url=vendor.url)


@pytest.mark.parametrize(("answer", "ask", "expected"), [case[1:] for case in COHERE], ids=[case[0] for case in COHERE])
def test_cohere(answer: Canned, ask: Ask, expected: dict[str, Any]) -> None:
    """Cohere's chat: what was processed, what is billed, and how it ended."""
    check(one_call(answer, _cohere, ask), expected)


STREAM = streamed([A, STOP, tail(U)])
PACKED = {"gzip": gzip.compress, "deflate": zlib.compress}


def bare(answer: Canned, path: str, body: dict[str, Any], method: str | None = None) -> list[Call]:
    """The calls of a bare HTTP request, read by *method* or at once."""
    with CannedVendor(answer) as vendor, testing.recording() as recorded, wrap(httpx.Client()) as client:
        with suppress(httpx.HTTPError):
            if method is None:
                client.post(vendor.url + path, json=body)
            else:
                with client.stream("POST", vendor.url + path, json=body) as got:
                    list(getattr(got, method)())
        return recorded()


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "application/octet-stream"])
@pytest.mark.parametrize("method", [None, "iter_raw", "iter_lines"])
def test_a_stream_of_another_content_type(kind: str, method: str | None) -> None:
    """What begins like an event stream is one, whatever its server calls it."""
    answer = replace(STREAM, headers={"content-type": kind})
    found = bare(answer, "/v1/chat/completions", {"model": "m", "messages": HELLO, "stream": True}, method)
    check(found, {"usage": READ, "outcome": "complete", "finish_reasons": ("stop",)})


@pytest.mark.parametrize("encoding", list(PACKED))
@pytest.mark.parametrize("method", ["iter_raw", "iter_bytes"])
def test_packed_streams(encoding: str, method: str) -> None:
    """Compressed, in two pieces, read raw or decoded."""
    data = PACKED[encoding](b"".join(STREAM.pieces))
    answer = Canned((data[:20], data[20:]), {"content-type": "text/event-stream", "content-encoding": encoding})
    found = bare(answer, "/v1/chat/completions", {"model": "m", "messages": HELLO, "stream": True}, method)
    check(found, {"usage": READ, "outcome": "complete"})


BARE: list[tuple[str, str, Canned, dict[str, Any]]] = [
    ("a page", "/v1/chat/completions", canned("<html>", headers={"content-type": "text/html"}), {"usage": None, "outcome": "complete"}),
    ("digits", "/v1/chat/completions", canned(chat({"prompt_tokens": "10", "completion_tokens": "5"})), {"usage": READ}),
    ("an error in a 200", "/v1/chat/completions", canned({"error": {"code": "busy"}}), {"outcome": "error", "error_type": "busy"}),
    ("Azure's path", "/openai/deployments/d/chat/completions?api-version=1", canned(chat()), {"usage": READ, "response_model": "m-1"}),
    ("Vertex's path", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", canned(chat()), {"usage": READ}),
    ("a failed response", "/v1/responses", events(CREATED, ended("failed", usage=None, error={"code": "server_error"})),
     {"outcome": "error", "error_type": "server_error"}),
    ("Anthropic's error event", "/v1/messages", messages(START, OPEN, TEXT, OVERLOADED),
     {"outcome": "error", "error_type": "overloaded_error", "usage": TokenUsage(10, 1, source="estimated")}),
    ("Cohere", "/v2/chat", canned(said()), {"usage": SEPARATE}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "answer", "expected"), [case[1:] for case in BARE], ids=[case[0] for case in BARE])
def test_bare_http(path: str, answer: Canned, expected: dict[str, Any]) -> None:
    """The same over bare HTTP."""
    asked = {"input": "a b c"} if path.endswith("/responses") else {"messages": HELLO}
    streams = answer.headers["content-type"] == "text/event-stream"
    check(bare(answer, path, {"model": "m", "stream": streams, **asked}), expected)


def test_json_that_is_an_event_stream_in_pieces_of_one_byte() -> None:
    """The first byte tells; a byte order mark and blank lines before it do not."""
    whole_answer = json.dumps(chat()).encode()
    for data, kind in ((b"\xef\xbb\xbf" + b"".join(STREAM.pieces), True), (b"\n\n" + whole_answer, False)):
        answer = Canned(tuple(data[at : at + 1] for at in range(len(data))), {"content-type": "application/json"})
        found = bare(answer, "/v1/chat/completions", {"model": "m", "messages": HELLO, "stream": kind}, "iter_raw")
        check(found, {"usage": READ, "finish_reasons": ("stop",)})
