"""OpenAI's usage object, from answers in the vendor's published format, as SDK objects and as parsed JSON."""

from __future__ import annotations

from typing import Any

import pytest

from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.quiet.usable import Observation
from tracewrap.semconv import call_attributes, call_from_attributes
from tracewrap.vendors.openai import read_response, read_stream

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-11-20",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 300,
        "total_tokens": 1500,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 5},
        "completion_tokens_details": {
            "reasoning_tokens": 40,
            "audio_tokens": 7,
            "accepted_prediction_tokens": 180,
            "rejected_prediction_tokens": 20,
        },
    },
}
EXPECTED = TokenUsage(
    input_tokens=1200,
    output_tokens=300,
    cached_input_tokens=1024,
    reasoning_output_tokens=40,
    audio_input_tokens=5,
    audio_output_tokens=7,
    accepted_prediction_output_tokens=180,
    rejected_prediction_output_tokens=20,
)


@pytest.mark.parametrize("shape", ["sdk", "json"])
def test_every_detail_of_a_chat_answer(shape: str) -> None:
    """Cached, audio, reasoning and predicted tokens are parts of the two counts, kept apart."""
    answer: Any = CHAT
    if shape == "sdk":
        from openai.types.chat import ChatCompletion

        answer = ChatCompletion.model_validate(CHAT)
    assert read_response(answer).usage == EXPECTED


def test_details_survive_the_span() -> None:
    """Call -> attributes -> call: nothing lost, nothing absent turned into 0."""
    call = Call(
        trace_id="t",
        span_id="s",
        start_time_ns=1,
        provider="openai",
        operation="chat",
        usage=EXPECTED,
        raw_runtime_s=1.0,
    )
    back = call_from_attributes(call_attributes(call), trace_id="t", span_id="s", start_time_ns=1)
    assert back is not None
    assert back.usage == EXPECTED
    assert "tracewrap.usage.accepted_prediction.output_tokens" not in call_attributes(
        Call(trace_id="t", span_id="s", start_time_ns=1, provider="openai", operation="chat", usage=TokenUsage(1, 1))
    )


@pytest.mark.parametrize(("accepted", "counts"), [(None, True), (0, True), (30, True), (31, False)])
def test_predicted_answers_teach_nothing(accepted: int | None, counts: bool) -> None:
    """Over a tenth of the answer taken from a prediction: faster than the model generates, so no observation."""
    usage = TokenUsage(1200, 300, accepted_prediction_output_tokens=accepted)
    call = Call(
        trace_id="t", span_id="s", start_time_ns=1, provider="openai", operation="chat", usage=usage, raw_runtime_s=1.0
    )
    assert (Observation.of(call) is not None) is counts


def chunk(**fields: Any) -> dict[str, Any]:
    """A chat chunk as a compatible server sends it."""
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []} | fields


TEXT = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
END = {"index": 0, "delta": {}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@pytest.mark.parametrize("shape", ["sdk", "json"])
@pytest.mark.parametrize(
    "last",
    [
        [chunk(choices=[END]), chunk(usage=USAGE)],
        [chunk(choices=[END], usage=USAGE)],
        [chunk(choices=[END], x_groq={"id": "r", "usage": USAGE})],
        [chunk(choices=[END | {"usage": USAGE}])],
    ],
    ids=["OpenAI", "with the last choice", "Groq", "Moonshot"],
)
def test_streamed_usage_wherever_servers_put_it(shape: str, last: list[Any]) -> None:
    """Reported, not estimated."""
    first: Any = chunk(choices=[TEXT])
    if shape == "sdk":
        from openai.types.chat import ChatCompletionChunk

        first, last = ChatCompletionChunk.model_validate(first), [ChatCompletionChunk.model_validate(c) for c in last]
    reply = read_stream(first, last, 1 + len(last))
    assert reply.usage == TokenUsage(input_tokens=7, output_tokens=3)
    assert (reply.model, reply.finish_reasons) == ("m", ("stop",))


def test_azure_opens_with_a_chunk_without_names() -> None:
    """The content filter's chunk has neither model nor id; the next one has."""
    opening = chunk(id="", model="", prompt_filter_results=[{"prompt_index": 0}])
    reply = read_stream(opening, [opening, chunk(choices=[TEXT]), chunk(choices=[END]), chunk(usage=USAGE)], 4)
    assert (reply.model, reply.id) == ("m", "c")


def test_deepseek_names_cached_tokens_its_own_way() -> None:
    """Hits are part of the prompt tokens."""
    usage = USAGE | {"prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 2}
    assert read_response(CHAT | {"usage": usage}).usage == TokenUsage(7, 3, cached_input_tokens=5)
