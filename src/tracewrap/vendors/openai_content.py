"""What is asked and answered in OpenAI's wire format, for those who want message content recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors.adapter import get
from tracewrap.vendors.messages import (
    Content,
    Growing,
    Message,
    answer,
    called,
    conversation,
    message,
    part,
    several,
    texts,
    tool_call,
    tool_result,
)


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*: chat, responses or completions."""
    messages = conversation(body)
    asked = body.get("input", body.get("prompt"))
    if isinstance(asked, str):
        messages.append(message("user", part("text", asked)))
    elif isinstance(asked, list | tuple):
        messages += [_item(one) for one in asked]
    return Content(messages, part("text", body.get("instructions")), several(body.get("tools")))


def _item(one: Any) -> Message:
    """An item of a responses request."""
    kind = get(one, "type")
    if kind == "function_call":
        return message("assistant", [tool_call(get(one, "call_id"), get(one, "name"), get(one, "arguments"))])
    if kind == "function_call_output":
        return message("tool", [tool_result(get(one, "call_id"), get(one, "output"))])
    return message(get(one, "role") or "user", texts(get(one, "content") if get(one, "role") else [one]))


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole answer, or all chunks of a stream."""
    whole = next((get(one, "response") for one in reversed(things) if get(get(one, "response"), "output")), None)
    if whole is not None or (things and get(things[0], "output")):
        return _response(things[0] if whole is None else whole)
    if len(things) == 1 and get(things[0], "choices"):
        return [_choice(choice) for choice in several(get(things[0], "choices"))]
    return _streamed(things)


def _choice(choice: Any) -> Message:
    said = get(choice, "message")
    parts = part("reasoning", get(said, "reasoning_content") or get(said, "reasoning"))
    parts += texts(get(said, "content")) + part("text", get(said, "refusal") or get(choice, "text"))
    parts += [called(call) for call in several(get(said, "tool_calls"))]
    return answer(parts, get(choice, "finish_reason"))


def _response(response: Any) -> list[Message]:
    parts = []
    for item in several(get(response, "output")):
        kind = get(item, "type")
        if kind == "function_call":
            parts.append(tool_call(get(item, "call_id"), get(item, "name"), get(item, "arguments")))
        elif kind == "reasoning":
            parts += [found for one in several(get(item, "summary")) for found in part("reasoning", get(one, "text"))]
        else:
            parts += texts(get(item, "content"))
    return [answer(parts, "stop" if get(response, "status") == "completed" else get(response, "status"))]


def _streamed(chunks: Sequence[Any]) -> list[Message]:
    growing: dict[Any, Growing] = {}
    for chunk in chunks:
        if get(chunk, "type") == "response.output_text.delta":
            growing.setdefault(0, Growing()).add("text", get(chunk, "delta"))
        for choice in several(get(chunk, "choices")):
            one, delta = growing.setdefault(get(choice, "index"), Growing()), get(choice, "delta")
            one.add("text", get(delta, "content") or get(delta, "refusal") or get(choice, "text"))
            one.add("reasoning", get(delta, "reasoning_content") or get(delta, "reasoning"))
            one.reason = get(choice, "finish_reason") or one.reason
            for call in several(get(delta, "tool_calls")):
                function = get(call, "function")
                one.add_call(get(call, "index"), get(call, "id"), get(function, "name"), get(function, "arguments"))
    return [said for one in growing.values() if (said := one.said()) is not None]
