"""The three vendors' answers as JSON, whole and in stream events: pure functions of what was asked and what to answer.

A token is a word: ``input_tokens`` counts the words of the prompt, and an answer of n tokens is n words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WORD = "tok "
DEFAULT_OUTPUT_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answers. ``output_tokens`` None: as many as the request allows, else 8; reasoning tokens are among them."""

    output_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    tool_call: bool = False
    billed_input_tokens: int = 1
    unasked_usage: bool = False
    """A chat stream's last chunk with a choice carries the usage, whether that was asked for or not, as Mistral's and Together's do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the fake understands it: wire format, endpoint, model, token counts, streaming or not."""

    wire: str
    model: str
    input_tokens: int
    output_tokens: int
    stream: bool
    body: Mapping[str, Any]
    answer: Answer

    @property
    def visible_tokens(self) -> int:
        """Output tokens that are text."""
        return max(0, self.output_tokens - self.answer.reasoning_tokens)

    @property
    def text(self) -> str:
        """The whole answer."""
        return (WORD * self.visible_tokens).strip()


def words_in(value: Any) -> int:
    """Words of all text in *value*, keys and roles left out."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, Mapping):
        return sum(words_in(inner) for key, inner in value.items() if key not in ("role", "type"))
    if isinstance(value, list):
        return sum(words_in(inner) for inner in value)
    return 0


def _reason(asked: Asked, stop: str, tool: str) -> str:
    return tool if asked.answer.tool_call else stop


# OpenAI


def _written(asked: Asked) -> dict[str, int]:
    """Tokens written to the cache, where there are any: older servers know no such count."""
    written = asked.answer.cache_write_tokens
    return {"cache_write_tokens": written} if written else {}


def openai_usage(asked: Asked) -> dict[str, Any]:
    """Usage of chat completions and completions."""
    return {
        "prompt_tokens": asked.input_tokens,
        "completion_tokens": asked.output_tokens,
        "total_tokens": asked.input_tokens + asked.output_tokens,
        "prompt_tokens_details": {"cached_tokens": asked.answer.cached_tokens, "audio_tokens": 0, **_written(asked)},
        "completion_tokens_details": {"reasoning_tokens": asked.answer.reasoning_tokens, "audio_tokens": 0},
    }


def openai_chat(asked: Asked) -> dict[str, Any]:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": asked.text, "refusal": None}
    if asked.answer.tool_call:
        call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    elif (asked.body.get("response_format") or {}).get("type") == "json_schema":
        message["content"] = '{"name": "tok"}'
    choice = {"index": 0, "message": message, "finish_reason": _reason(asked, "stop", "tool_calls"), "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{asked.model}-0001",
        "choices": [choice],
        "usage": openai_usage(asked),
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def openai_chat_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """(tokens generated so far, chunk) of a chat stream."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": f"{asked.model}-0001"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield asked.answer.reasoning_tokens + 1, chunk({"role": "assistant", "content": ""})
    for number in range(asked.visible_tokens):
        delta: dict[str, Any] = {"content": WORD}
        if asked.answer.tool_call:
            function = {"name": "look" if number == 0 else None, "arguments": "{}" if number == 0 else ""}
            delta = {"tool_calls": [{"index": 0, "id": "call_1" if number == 0 else None, "function": function}]}
            delta["tool_calls"][0]["type"] = "function"
        yield asked.answer.reasoning_tokens + number + 1, chunk(delta)
    unasked = {"usage": openai_usage(asked)} if asked.answer.unasked_usage else {}
    yield asked.output_tokens, chunk({}, _reason(asked, "stop", "tool_calls")) | unasked
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield asked.output_tokens, {**base, "choices": [], "usage": openai_usage(asked)}


def openai_completion(asked: Asked) -> dict[str, Any]:
    """A (text) completion."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": f"{asked.model}-0001",
        "choices": [{"index": 0, "text": asked.text, "finish_reason": "stop", "logprobs": None}],
        "usage": openai_usage(asked),
    }


def openai_completion_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Chunks of a text completion."""
    base = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": f"{asked.model}-0001"}
    for number in range(asked.visible_tokens):
        last = number + 1 == asked.visible_tokens
        choice = {"index": 0, "text": WORD, "finish_reason": "stop" if last else None, "logprobs": None}
        yield asked.answer.reasoning_tokens + number + 1, {**base, "choices": [choice]}
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield asked.output_tokens, {**base, "choices": [], "usage": openai_usage(asked)}


def openai_response(asked: Asked, status: str = "completed") -> dict[str, Any]:
    """A response of the responses endpoint."""
    text = '{"name": "tok"}' if "format" in (asked.body.get("text") or {}) else asked.text
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": asked.input_tokens,
        "input_tokens_details": {"cached_tokens": asked.answer.cached_tokens, **_written(asked)},
        "output_tokens": asked.output_tokens,
        "output_tokens_details": {"reasoning_tokens": asked.answer.reasoning_tokens},
        "total_tokens": asked.input_tokens + asked.output_tokens,
    }
    done = status == "completed"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "background": bool(asked.body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": f"{asked.model}-0001",
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "service_tier": "default",
        "usage": usage if done else None,
    }


def openai_response_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events of a streamed response."""
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    item["content"] = []
    part = {"type": "output_text", "text": "", "annotations": []}
    begun = openai_response(asked, "in_progress")
    number = 0

    def event(kind: str, **values: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {"type": f"response.{kind}", "sequence_number": number, **values}

    yield 0, event("created", response=begun)
    yield 0, event("in_progress", response=begun)
    yield 1, event("output_item.added", output_index=0, item=item)
    yield 1, event("content_part.added", part=part, **where)
    for token in range(asked.visible_tokens):
        delta = event("output_text.delta", delta=WORD, logprobs=[], **where)
        yield asked.answer.reasoning_tokens + token + 1, delta
    full = openai_response(asked)
    finished = full["output"][0]
    yield asked.output_tokens, event("output_text.done", text=asked.text, logprobs=[], **where)
    yield asked.output_tokens, event("content_part.done", part=finished["content"][0], **where)
    yield asked.output_tokens, event("output_item.done", output_index=0, item=finished)
    yield asked.output_tokens, event("completed", response=full)


def openai_embeddings(asked: Asked) -> dict[str, Any]:
    """Embeddings, one a text."""
    texts = asked.body.get("input")
    count = len(texts) if isinstance(texts, list) else 1
    vectors = [{"object": "embedding", "index": index, "embedding": [0.0, 1.0]} for index in range(count)]
    usage = {"prompt_tokens": asked.input_tokens, "total_tokens": asked.input_tokens}
    return {"object": "list", "data": vectors, "model": asked.model, "usage": usage}


# Anthropic


def anthropic_usage(asked: Asked, output_tokens: int) -> dict[str, Any]:
    """Usage of a message: ``input_tokens`` leaves cached tokens out."""
    answer = asked.answer
    return {
        "input_tokens": asked.input_tokens - answer.cached_tokens - answer.cache_write_tokens,
        "cache_creation_input_tokens": answer.cache_write_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": output_tokens,
        "service_tier": "standard",
        **({"output_tokens_details": {"thinking_tokens": answer.reasoning_tokens}} if answer.reasoning_tokens else {}),
    }


def anthropic_message(asked: Asked) -> dict[str, Any]:
    """A message."""
    text = '{"name": "tok"}' if _anthropic_wants_json(asked.body) else asked.text
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if asked.answer.reasoning_tokens:
        content.insert(0, {"type": "thinking", "thinking": "hm", "signature": "s"})
    if asked.answer.tool_call:
        content.append({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}})
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{asked.model}-0001",
        "content": content,
        "stop_reason": _reason(asked, "end_turn", "tool_use"),
        "stop_sequence": None,
        "usage": anthropic_usage(asked, asked.output_tokens),
    }


def _anthropic_wants_json(body: Mapping[str, Any]) -> bool:
    return "output_format" in body or "format" in (body.get("output_config") or {})


def anthropic_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events of a streamed message; the count in ``message_delta`` is cumulative."""
    opening = {**anthropic_message(asked), "content": [], "stop_reason": None, "usage": anthropic_usage(asked, 1)}
    yield 1, {"type": "message_start", "message": opening}
    yield 1, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield 1, {"type": "ping"}
    wants_json = _anthropic_wants_json(asked.body)
    for number in range(1 if wants_json else asked.visible_tokens):
        delta = {"type": "text_delta", "text": '{"name": "tok"}' if wants_json else WORD}
        tokens = asked.answer.reasoning_tokens + number + 1
        yield tokens, {"type": "content_block_delta", "index": 0, "delta": delta}
    yield asked.output_tokens, {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": _reason(asked, "end_turn", "tool_use"), "stop_sequence": None}
    usage = {"output_tokens": asked.output_tokens}
    yield asked.output_tokens, {"type": "message_delta", "delta": ending, "usage": usage}
    yield asked.output_tokens, {"type": "message_stop"}


# Cohere


def cohere_counts(asked: Asked) -> dict[str, Any]:
    """``tokens`` (processed) and ``billed_units``: other counts, floats both."""
    billed = {"input_tokens": float(asked.answer.billed_input_tokens), "output_tokens": float(asked.output_tokens - 1)}
    tokens = {"input_tokens": float(asked.input_tokens), "output_tokens": float(asked.output_tokens)}
    cached = asked.answer.cached_tokens
    return {"billed_units": billed, "tokens": tokens, **({"cached_tokens": cached} if cached else {})}


def cohere_v2_chat(asked: Asked) -> dict[str, Any]:
    """An answer of v2 chat."""
    message: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": asked.text}]}
    if asked.answer.tool_call:
        call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        message = {"role": "assistant", "tool_plan": "I look", "tool_calls": [call]}
    reason = _reason(asked, "COMPLETE", "TOOL_CALL")
    return {"id": "co-1", "finish_reason": reason, "message": message, "usage": cohere_counts(asked)}


def cohere_v2_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events of a v2 chat stream."""
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield 1, {"type": "message-start", "id": "co-1", "delta": {"message": message}}
    content: dict[str, Any] = {"type": "text", "text": ""}
    yield 1, {"type": "content-start", "index": 0, "delta": {"message": {"content": content}}}
    for number in range(asked.visible_tokens):
        delta = {"message": {"content": {"text": WORD}}}
        yield asked.answer.reasoning_tokens + number + 1, {"type": "content-delta", "index": 0, "delta": delta}
    yield asked.output_tokens, {"type": "content-end", "index": 0}
    end = {"finish_reason": _reason(asked, "COMPLETE", "TOOL_CALL"), "usage": cohere_counts(asked)}
    yield asked.output_tokens, {"type": "message-end", "id": "co-1", "delta": end}


def cohere_v1_chat(asked: Asked) -> dict[str, Any]:
    """An answer of v1 chat."""
    return {
        "response_id": "r-1",
        "generation_id": "g-1",
        "text": asked.text,
        "finish_reason": "COMPLETE",
        "chat_history": [],
        "meta": {"api_version": {"version": "1"}, **cohere_counts(asked)},
    }


def cohere_v1_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a v1 chat stream."""
    yield 1, {"event_type": "stream-start", "is_finished": False, "generation_id": "g-1"}
    for number in range(asked.visible_tokens):
        tokens = asked.answer.reasoning_tokens + number + 1
        yield tokens, {"event_type": "text-generation", "is_finished": False, "text": WORD}
    whole = cohere_v1_chat(asked)
    end = {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": whole}
    yield asked.output_tokens, end


def cohere_generate(asked: Asked) -> dict[str, Any]:
    """An answer of generate, which reports billed units only."""
    meta = {"api_version": {"version": "1"}, "billed_units": cohere_counts(asked)["billed_units"]}
    generation = {"id": "gen-1", "text": asked.text, "finish_reason": "COMPLETE"}
    return {"id": "gen-0", "generations": [generation], "prompt": asked.body.get("prompt"), "meta": meta}


def cohere_generate_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a generate stream."""
    for number in range(asked.visible_tokens):
        line = {"event_type": "text-generation", "text": WORD, "is_finished": False, "index": 0}
        yield asked.answer.reasoning_tokens + number + 1, line
    whole = {key: value for key, value in cohere_generate(asked).items() if key != "meta"}
    end = {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE", "response": whole}
    yield asked.output_tokens, end


def cohere_embed(asked: Asked) -> dict[str, Any]:
    """Embeddings; ``embedding_types`` decides the shape."""
    texts = asked.body.get("texts") or []
    vectors: list[list[float]] = [[0.0, 1.0] for _ in texts]
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(asked.input_tokens)}}
    if asked.body.get("embedding_types"):
        kind: dict[str, Any] = {"response_type": "embeddings_by_type", "embeddings": {"float": vectors}}
    else:
        kind = {"response_type": "embeddings_floats", "embeddings": vectors}
    return {"id": "e-1", "texts": texts, "meta": meta, **kind}


def cohere_rerank(asked: Asked) -> dict[str, Any]:
    """Ranks, billed in search units."""
    documents = asked.body.get("documents") or []
    results = [{"index": index, "relevance_score": 0.5} for index in range(len(documents))]
    return {
        "id": "rr-1",
        "results": results,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1.0}},
    }


def sse(event: Mapping[str, Any], named: bool) -> bytes:
    """One server-sent event; *named* ones carry an ``event:`` line (Anthropic, Cohere, OpenAI responses)."""
    line = f"event: {event['type']}\n" if named else ""
    return f"{line}data: {json.dumps(event)}\n\n".encode()
