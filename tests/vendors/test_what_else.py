"""What else an answer says: tokens beside the plain counts, models, fees, failures, each as servers are known to put it; and nonsense."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tracewrap.records import TokenUsage
from tracewrap.vendors import adapters, anthropic, cohere, openai
from tracewrap.vendors.adapter import Reply
from tracewrap.vendors.checks import COUNT_LIMIT, MAX_TEXT, count, milliseconds, text


def chat(usage: Any, **more: Any) -> Reply:
    """The reply of a chat completion."""
    choices = [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]
    return openai.read_response({"id": "c", "model": "m", "choices": choices, "usage": usage, **more})


@pytest.mark.parametrize(
    ("usage", "inputs", "outputs"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
          "completion_tokens_details": {"reasoning_tokens": 94}}, 32, 103),
        ({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, 20, 603),
        ({"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81,
          "completion_tokens_details": {"reasoning_tokens": 60}}, 21, 60),
        ({"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110,
          "completion_tokens_details": {"reasoning_tokens": 94}}, 10, 100),
        ({"prompt_tokens": 10, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}}, 10, 103),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 95,
          "prompt_tokens_details": {"cached_tokens": 80}}, 90, 5),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 12}, 10, 5),
    ],
    ids=["xai", "only-the-total", "no-visible-text", "inside", "no-total", "cached-beside-prompt", "total-too-small"],
)  # fmt: skip
def test_the_total_tells_what_stands_beside(usage: Any, inputs: int, outputs: int) -> None:
    """Reasoning beside the completion's count, cached tokens beside the prompt's; what is inside stays inside."""
    read = chat(usage).usage
    assert read is not None
    assert (read.input_tokens, read.output_tokens) == (inputs, outputs)


@pytest.mark.parametrize(
    ("more", "cached", "written"),
    [
        ({"prompt_cache_hit_tokens": 7}, 7, None),
        ({"cached_tokens": 7}, 7, None),
        ({"prompt_tokens_details": {"audio_tokens": 0}, "cache_read_input_tokens": 7}, 7, None),
        ({"prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3}}, 7, 3),
        ({"prompt_tokens_details": {"cached_tokens": 7, "cache_creation_tokens": 3}}, 7, 3),
        ({"prompt_tokens_details": {"cached_tokens": 7}, "cache_creation_input_tokens": 3}, 7, 3),
    ],
)
def test_cached_and_written_wherever_servers_put_them(more: Any, cached: int, written: int | None) -> None:
    """DeepSeek, Moonshot, gateways to Anthropic, OpenRouter."""
    read = chat({"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21, **more}).usage
    assert read is not None
    assert (read.cached_input_tokens, read.cache_write_input_tokens) == (cached, written)


def test_overlapping_modalities_are_read() -> None:
    """Audio that was cached stands in both counts, and its share is kept."""
    details = {
        "cached_tokens": 80,
        "audio_tokens": 90,
        "image_tokens": 5,
        "cached_tokens_details": {"audio_tokens": 70},
    }
    read = chat(
        {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101, "prompt_tokens_details": details}
    ).usage
    assert read is not None
    assert (read.audio_input_tokens, read.cached_audio_input_tokens, read.image_input_tokens) == (90, 70, 5)


def test_embeddings_that_report_a_total_only() -> None:
    """Of an embedding, which has no output, the total is the input; of a chat it is not."""
    usage = {"total_tokens": 10}
    assert openai.read_response({"object": "list", "model": "v", "data": [], "usage": usage}).usage == TokenUsage(10)
    assert chat(usage).usage is None


def test_compaction_is_added_and_other_models_are_charged_apart() -> None:
    """180,000 + 23,000 in; the advice of a second model is no token of this one, and makes the list price unknown."""
    zero = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    first = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, **zero}
    last = {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000, **zero}
    top = {"input_tokens": 23_000, "output_tokens": 1_000}
    read = anthropic.read_usage({**top, "iterations": [first, last]})
    assert read is not None
    assert (read.input_tokens, read.output_tokens, read.other_charges) == (203_000, 4_500, None)
    advice = {"type": "advisor_message", "model": "other", "input_tokens": 9, "output_tokens": 9, **zero}
    read = anthropic.read_usage({**top, "iterations": [last, advice]})
    assert read is not None
    assert (read.input_tokens, read.other_charges) == (23_000, 1)


def test_the_model_that_answered() -> None:
    """A fallback that stepped in is named by the iterations; streamed or not."""
    answered = {"type": "fallback_message", "model": "claude-b", "input_tokens": 5, "output_tokens": 2}
    usage = {"input_tokens": 5, "output_tokens": 2, "iterations": [answered]}
    assert anthropic.read_response({"id": "m", "model": "claude-a", "usage": usage}).model == "claude-b"
    start = {"type": "message_start", "message": {"id": "m", "model": "claude-a", "usage": {"input_tokens": 5}}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    assert anthropic.read_stream(start, [start, delta], 2).model == "claude-b"


def test_lifetime_speed_region_and_fees() -> None:
    """What of an answer changes its price."""
    usage = {
        **{
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation_input_tokens": 30,
            "speed": "fast",
            "inference_geo": "us",
        },
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "server_tool_use": {"web_search_requests": 3},
    }
    reply = anthropic.read_response({"id": "m", "model": "c", "usage": usage})
    assert reply.usage is not None
    assert (reply.speed, reply.region, reply.usage.web_searches) == ("fast", "us", 3)
    assert (reply.usage.cache_write_input_tokens, reply.usage.cache_write_long_input_tokens) == (30, 20)
    searches = [{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page", "search")]
    output = [*searches, {"type": "file_search_call"}, {"type": "code_interpreter_call"}]
    answer = {
        "object": "response",
        "status": "completed",
        "output": output,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    read = openai.read_response(answer).usage
    assert read is not None
    assert (read.web_searches, read.file_searches, read.other_charges) == (2, 1, 1)


@pytest.mark.parametrize(
    ("adapter", "answer", "outcome", "kind"),
    [
        ("openai", {"object": "response", "status": "failed", "error": {"code": "server_error"}}, "error", "server_error"),
        ("openai", {"object": "response", "status": "cancelled"}, "cancelled", None),
        ("openai", {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, None, None),
        ("openai", {"error": {"message": "no", "code": 502}}, "error", "502"),
        ("openai", {"choices": [{"finish_reason": "error", "error": {"code": "x"}}]}, "error", "x"),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error"}}, "error", "overloaded_error"),
        ("cohere", {"finish_reason": "ERROR"}, "error", "ERROR"),
    ],
)  # fmt: skip
def test_a_failure_inside_a_200(adapter: str, answer: Any, outcome: str | None, kind: str | None) -> None:
    """A failure that the body tells is one; an answer that was cut at its length is not."""
    (found,) = (one for one in adapters() if one.provider == adapter)
    reply = found.read_response(answer)
    assert (reply.outcome, reply.error_type) == (outcome, kind)


def test_an_error_without_an_envelope_inside_a_200() -> None:
    """vLLM's first engine sends an error object as the chunk itself; its SDK shows it to the program as a chunk without choices."""
    bare = {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400}
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    assert openai.is_notable(bare)
    for chunks in ([chunk, bare], [bare]):
        reply = openai.read_stream(chunks[0], chunks, len(chunks))
        assert (reply.outcome, reply.error_type) == ("error", "400")
    assert openai.read_response(bare).outcome == "error"


def test_finish_reasons_of_several_choices() -> None:
    """One a choice, in their order, whichever chunk brings them."""
    chunks = [
        {"id": "c", "model": "m", "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
        for index, reason in ((1, "stop"), (0, "length"))
    ]
    assert openai.read_stream(chunks[0], chunks, 2).finish_reasons == ("length", "stop")


def test_a_polled_response_is_read_when_it_is_done() -> None:
    """In progress: nothing yet. Done: its tokens, once, whether it is polled or its stream is taken up again."""
    usage = {"input_tokens": 50, "output_tokens": 7, "total_tokens": 57}
    response = {"object": "response", "id": "r", "status": "in_progress", "usage": None}
    assert openai.read_later(response) is None
    done = openai.read_later({**response, "status": "completed", "usage": usage})
    event = openai.read_later(
        {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}
    )
    assert done == event
    assert done is not None
    assert done[0].usage == TokenUsage(50, 7)


def test_a_polled_response_that_failed_is_an_error() -> None:
    """A background response that failed or was cancelled has no usage, and its outcome is told all the same."""
    response = {"object": "response", "id": "r", "usage": None}
    failed = openai.read_later({**response, "status": "failed", "error": {"code": "server_error", "message": "m"}})
    assert failed is not None
    assert failed[1:] == ("error", "server_error")
    cancelled = openai.read_later({**response, "status": "cancelled"})
    assert cancelled is not None
    assert cancelled[1:] == ("cancelled", None)


def test_rerankers_that_count_tokens() -> None:
    """Jina, Voyage and vLLM answer at Cohere's path with tokens in place of search units, and name their model."""
    reply = cohere.read_response({"model": "rerank-2", "results": [], "usage": {"total_tokens": 26}})
    assert (reply.model, reply.usage) == ("rerank-2", TokenUsage(input_tokens=26))
    assert cohere.read_response({"id": "i", "results": [], "usage": {"total_tokens": "x"}}).usage is None


NONSENSE = [math.nan, math.inf, -5, 10**400, "1e2", "-5", "\u00b2", "9" * 30, True, [1], {"a": 1}, COUNT_LIMIT, 1.5]
TEXTS = ["\ud800", "x" * 10_000, "\x00"]


def hostile(value: Any) -> list[dict[str, Any]]:
    """Answers with *value* wherever a count or a text stands."""
    name = value if isinstance(value, str) else "n"
    details = dict.fromkeys(
        ("cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens", "thinking_tokens"), value
    )
    openais = {
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "cost"), value),
        **{"prompt_tokens_details": details, "completion_tokens_details": details},
    }
    anthropics = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"), value
    ) | {
        "cache_creation": {"ephemeral_1h_input_tokens": value},
        "speed": value,
        "iterations": value,
        "server_tool_use": value,
    }
    coheres = {"tokens": {"input_tokens": value}, "billed_units": {"input_tokens": value, "output_tokens": value}}
    return [
        {"id": name, "model": name, "service_tier": name, "finish_reason": name, "stop_reason": name, "usage": usage,
         "choices": [{"finish_reason": name, "index": value}]}
        for usage in (openais, anthropics, coheres, value)
    ]  # fmt: skip


@pytest.mark.parametrize("value", [*NONSENSE, *TEXTS], ids=lambda value: repr(value)[:12])
def test_nonsense_passes_no_gate(value: Any) -> None:
    """Whatever a broken server answers, counts are whole numbers that fit 64 bits, texts are short and can be encoded; of every vendor."""
    for adapter in adapters():
        for answer in hostile(value):
            for reply in (adapter.read_response(answer), adapter.read_stream(answer, [answer, answer], 2)):
                for number in (reply.usage or ())[:-1]:
                    assert number is None or (type(number) is int and 0 <= number < COUNT_LIMIT)
                for said in (reply.model, reply.id, reply.service_tier, reply.speed, *reply.finish_reasons):
                    assert said is None or (len(said) <= MAX_TEXT and said.encode("utf-8") is not None)


def test_the_gate_itself() -> None:
    """Whole floats and plain digits are counts, other text is not; a header with a superscript two is no number."""
    assert [count(value) for value in (0, 5, 5.0, "12", None, *NONSENSE)] == [
        0,
        5,
        5,
        12,
        None,
        *[None] * len(NONSENSE),
    ]
    assert (text(""), text(5), text("a\ud800b"), len(text("x" * 999) or "")) == (None, None, "a?b", MAX_TEXT)
    assert [milliseconds(value) for value in ("250", "1.5", "\u00b2", "1e9", "-1", "9" * 400)] == [0.25, 0.0015] + [
        None
    ] * 4
