"""Cohere's published formats -> Request and Reply."""

from __future__ import annotations

from typing import Any

import pytest

from tracewrap.records import TokenUsage
from tracewrap.vendors.cohere import read_request, read_response, read_stream, sdk_arguments

COUNTS = {
    "billed_units": {"input_tokens": 7.0, "output_tokens": 109.0},
    "tokens": {"input_tokens": 69.0, "output_tokens": 110.0},
}
BOTH = TokenUsage(input_tokens=69, output_tokens=110, billed_input_tokens=7, billed_output_tokens=109)
V2 = {
    "id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "LLMs are ..."}]},
    "usage": COUNTS,
}
V1 = {"response_id": "r", "generation_id": "g", "text": "hi", "finish_reason": "COMPLETE", "meta": COUNTS}


@pytest.mark.parametrize(("answer", "identifier"), [(V2, V2["id"]), (V1, "r")], ids=["v2", "v1"])
def test_processed_and_billed_counts(answer: dict[str, Any], identifier: str) -> None:
    """Processed and billed counts are kept apart, as whole numbers."""
    reply = read_response(answer)
    assert reply.usage == BOTH
    assert all(type(count) is int for count in (reply.usage.input_tokens, reply.usage.billed_output_tokens))
    assert (reply.id, reply.finish_reasons) == (identifier, ("COMPLETE",))


def test_cached_tokens() -> None:
    """cached_tokens is a part of the processed input."""
    usage = read_response({**V2, "usage": {**COUNTS, "cached_tokens": 48.0}}).usage
    assert usage is not None
    assert (usage.cached_input_tokens, usage.input_tokens) == (48, 69)


def test_tool_call() -> None:
    """A tool call has its own reason and the same counts."""
    message = {"role": "assistant", "tool_plan": "I will look", "tool_calls": []}
    reply = read_response({**V2, "finish_reason": "TOOL_CALL", "message": message})
    assert (reply.finish_reasons, reply.usage) == (("TOOL_CALL",), BOTH)


def test_generate_has_billed_counts_only() -> None:
    """Where only billed counts exist they are the counts."""
    meta = {"billed_units": {"input_tokens": 2.0, "output_tokens": 20.0}}
    reply = read_response({"id": "i", "generations": [{"id": "g", "finish_reason": "MAX_TOKENS"}], "meta": meta})
    assert reply.usage == TokenUsage(input_tokens=2, output_tokens=20)
    assert reply.finish_reasons == ("MAX_TOKENS",)


def test_embed_and_rerank() -> None:
    """Embedding bills input tokens, reranking search units."""
    embedded = read_response({"id": "e", "embeddings": [[0.1]], "meta": {"billed_units": {"input_tokens": 4.0}}})
    assert embedded.usage == TokenUsage(input_tokens=4)
    ranked = read_response({"id": "r", "results": [], "meta": {"billed_units": {"search_units": 2.0}}})
    assert ranked.usage == TokenUsage(search_units=2)


def _v2_events(words: int = 3) -> list[dict[str, Any]]:
    delta = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}}
    return [
        {"type": "message-start", "id": "s-1", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        *[delta] * words,
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COUNTS}},
    ]


def test_v2_stream() -> None:
    """message-end carries the usage of a v2 stream."""
    events = _v2_events()
    reply = read_stream(events[0], events[-4:], len(events))
    assert (reply.usage, reply.id, reply.finish_reasons) == (BOTH, "s-1", ("COMPLETE",))


def test_v1_stream() -> None:
    """stream-end carries the whole answer of a v1 stream."""
    events = [
        {"event_type": "stream-start", "is_finished": False, "generation_id": "g"},
        {"event_type": "text-generation", "is_finished": False, "text": "hi"},
        {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": V1},
    ]
    reply = read_stream(events[0], events, len(events))
    assert (reply.usage, reply.id, reply.finish_reasons) == (BOTH, "r", ("COMPLETE",))


def test_cut_stream_is_estimated() -> None:
    """A stream cut before its end has its output counted, and says so."""
    events = _v2_events()[:5]
    assert read_stream(events[0], events[-4:], 5).usage == TokenUsage(output_tokens=3, source="estimated")


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat", "chat"),
        ("/v2/chat", "chat"),
        ("/v1/generate", "text_completion"),
        ("/v1/embed", "embeddings"),
        ("/proxy/v2/embed", "embeddings"),
        ("/v2/rerank", "rerank"),
        ("/v1/tokenize", None),
        ("/v1/chat/completions", None),
    ],
)
def test_requests(path: str, operation: str | None) -> None:
    """Inference calls have an operation; the rest are no calls."""
    request = read_request(path, {"model": "command-a", "stream": True, "p": 1, "k": 2})
    assert (request.operation if request else None) == operation
    if request is not None:
        assert (request.model, request.stream) == ("command-a", True)
        assert dict(request.attributes) == {"gen_ai.request.top_p": 1.0, "gen_ai.request.top_k": 2}


def test_sdk_arguments() -> None:
    """Path and body of the SDK's HTTP layer; a GET is no call."""
    assert sdk_arguments((None, "v2/chat"), {"method": "POST", "json": {"a": 1}}) == ("/v2/chat", {"a": 1})
    assert sdk_arguments((None, "v1/models"), {"method": "GET"}) is None
