"""Anthropic's published formats -> Request and Reply, from SDK objects and from parsed JSON alike."""

from __future__ import annotations

from typing import Any

import pytest

from tracewrap.records import TokenUsage
from tracewrap.vendors.anthropic import ADAPTER, read_request, read_response, read_stream

types = pytest.importorskip("anthropic.types")

MESSAGE: dict[str, Any] = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 2095, "output_tokens": 503},
}
CACHED = {
    "input_tokens": 4,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1165,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 33,
    "service_tier": "standard",
}
THINKING = {"input_tokens": 45, "output_tokens": 812, "output_tokens_details": {"thinking_tokens": 700}}


def _message(**changes: Any) -> list[Any]:
    """A message as parsed JSON and as the SDK's object."""
    payload = {**MESSAGE, **changes}
    return [payload, types.Message.model_construct(**types.Message.model_validate(payload).__dict__)]


def _events(start: dict[str, Any], end: dict[str, Any], words: int = 5) -> list[dict[str, Any]]:
    opening = {**MESSAGE, "content": [], "stop_reason": None, "usage": start}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    return [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[delta] * words,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": end},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("shape", [0, 1], ids=["json", "sdk"])
def test_plain(shape: int) -> None:
    """Counts, model, id and reason of a plain answer."""
    reply = read_response(_message()[shape])
    assert reply.usage == TokenUsage(input_tokens=2095, output_tokens=503)
    assert (reply.model, reply.id) == ("claude-sonnet-4-5-20250929", "msg_01XFDUDYJgAACzvnptvVoYEL")
    assert reply.finish_reasons == ("end_turn",)


@pytest.mark.parametrize("shape", [0, 1], ids=["json", "sdk"])
def test_cached_tokens_are_part_of_input(shape: int) -> None:
    """input_tokens is the sum of fresh, written and read ones; written and read are kept apart as well."""
    reply = read_response(_message(usage=CACHED)[shape])
    assert reply.usage == TokenUsage(
        input_tokens=1269, output_tokens=33, cached_input_tokens=1165, cache_write_input_tokens=100
    )
    assert reply.service_tier == "standard"


@pytest.mark.parametrize("shape", [0, 1], ids=["json", "sdk"])
def test_thinking_is_part_of_output(shape: int) -> None:
    """Thinking tokens are kept apart and not added again."""
    usage = read_response(_message(usage=THINKING)[shape]).usage
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_output_tokens) == (812, 700)


def test_tool_use() -> None:
    """An answer that calls a tool has the tool's reason and the same counts."""
    content = [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"location": "SF"}}]
    reply = read_response({**MESSAGE, "content": content, "stop_reason": "tool_use"})
    assert reply.finish_reasons == ("tool_use",)
    assert reply.usage == TokenUsage(input_tokens=2095, output_tokens=503)


def _read(events: list[dict[str, Any]]) -> Any:
    return read_stream(events[0], events[-4:], len(events))


def test_stream_output_count_is_replaced() -> None:
    """message_delta's output count is cumulative: it replaces message_start's."""
    reply = _read(_events({"input_tokens": 25, "output_tokens": 3}, {"output_tokens": 171}))
    assert reply.usage == TokenUsage(input_tokens=25, output_tokens=171)
    assert reply.finish_reasons == ("end_turn",)


def test_stream_repeated_cache_counts_are_not_added() -> None:
    """Input and cache counts that message_delta repeats are counted once."""
    start = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 198, "output_tokens": 1}
    end = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 198, "output_tokens": 47}
    for closing in (end, {"output_tokens": 47}, {**end, "input_tokens": None}):
        usage = _read(_events(start, closing)).usage
        assert usage == TokenUsage(
            input_tokens=201, output_tokens=47, cached_input_tokens=198, cache_write_input_tokens=0
        )


def test_stream_input_grows_with_server_tools() -> None:
    """A later input count (after a web search) is the true one."""
    usage = _read(
        _events({"input_tokens": 2679, "output_tokens": 3}, {"input_tokens": 10682, "output_tokens": 510})
    ).usage
    assert usage == TokenUsage(input_tokens=10682, output_tokens=510)


def test_stream_objects_of_the_sdk() -> None:
    """SDK event objects read the same as JSON."""
    events = _events({"input_tokens": 25, "output_tokens": 3}, {"output_tokens": 171})
    start = types.RawMessageStartEvent.model_validate(events[0])
    delta = types.RawMessageDeltaEvent.model_validate(events[-2])
    assert read_stream(start, [delta], len(events)).usage.output_tokens == 171
    assert read_stream(start, [delta], len(events)).usage.input_tokens == 25


def test_stream_cut_short_is_estimated() -> None:
    """Without message_delta the input is known and the output counted, and the usage says so."""
    events = _events({"input_tokens": 25, "output_tokens": 1}, {})[:6]
    usage = read_stream(events[0], events[-4:], len(events)).usage
    assert usage == TokenUsage(input_tokens=25, output_tokens=4, source="estimated")


def test_stream_of_nothing() -> None:
    """A stream without any event says nothing."""
    assert read_stream(None, [], 0).usage is None


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/messages", {"model": "claude-x", "messages": []}, ("claude-x", False)),
        ("/v1/messages?beta=true", {"model": "claude-x", "stream": True}, ("claude-x", True)),
        ("/model/anthropic.claude-x-v1:0/invoke", {}, ("anthropic.claude-x-v1:0", False)),
        ("/model/anthropic.claude-x-v1:0/invoke-with-response-stream", {}, ("anthropic.claude-x-v1:0", True)),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-x:rawPredict", {}, ("claude-x", False)),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-x:streamRawPredict", {}, ("claude-x", True)),
        ("/v1/messages/count_tokens", {"model": "claude-x"}, None),
        ("/v1/messages/batches", {"requests": []}, None),
        ("/v1/projects/p/publishers/anthropic/models/count-tokens:rawPredict", {}, None),
        ("/model/meta.llama3/invoke", {}, None),
    ],
)
def test_requests(path: str, body: dict[str, Any], expected: tuple[str, bool] | None) -> None:
    """Only generation is a call: not counting, not batches, not another vendor's model."""
    request = read_request(path, body)
    assert (None if request is None else (request.model, request.stream)) == expected


def test_request_attributes() -> None:
    """Sampling parameters have the conventions' names and types."""
    body = {"model": "m", "max_tokens": 9, "temperature": 1, "top_k": 4, "top_p": 0.5, "stop_sequences": ["x"]}
    request = read_request("/v1/messages", body)
    assert request is not None
    assert dict(request.attributes) == {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 4,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.stop_sequences": ("x",),
    }


def test_every_client_has_a_provider() -> None:
    """Cloud clients are named by the cloud that serves them."""
    assert ADAPTER.providers_by_class["AnthropicBedrock"] == "aws.bedrock"
    assert ADAPTER.providers_by_class["AsyncAnthropicVertex"] == "gcp.vertex_ai"
