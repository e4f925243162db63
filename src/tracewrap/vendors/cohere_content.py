"""What is asked and answered in Cohere's wire formats, for those who want message content recorded."""

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
)


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*: v2 chat; v1 chat and generate."""
    history = [
        message(str(get(one, "role")).lower(), part("text", get(one, "message")))
        for one in several(body.get("chat_history"))
    ]
    asked = part("text", body.get("message") or body.get("prompt"))
    messages = conversation(body) + history + ([message("user", asked)] if asked else [])
    return Content(messages, part("text", body.get("preamble")), several(body.get("tools")))


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole answer, or all events of a stream."""
    if len(things) == 1 and not (get(things[0], "event_type") or str(get(things[0], "type")).startswith("message-")):
        return _whole(things[0])
    growing = Growing()
    for event in things:
        kind = get(event, "type") or get(event, "event_type")
        delta = get(event, "delta")
        said = get(delta, "message")
        if kind == "content-delta":
            growing.add("text", get(get(said, "content"), "text"))
            growing.add("reasoning", get(get(said, "content"), "thinking"))
        elif kind == "text-generation":
            growing.add("text", get(event, "text"))
        elif kind in ("tool-call-start", "tool-call-delta"):
            call = get(said, "tool_calls")
            function = get(call, "function")
            growing.add_call(get(event, "index"), get(call, "id"), get(function, "name"), get(function, "arguments"))
        growing.reason = get(delta, "finish_reason") or get(event, "finish_reason") or growing.reason
    found = growing.said()
    return [] if found is None else [found]


def _whole(response: Any) -> list[Message]:
    generations = get(response, "generations")
    if generations:
        return [answer(part("text", get(one, "text")), get(one, "finish_reason")) for one in generations]
    said = get(response, "message")
    parts = texts(get(said, "content")) + [called(call) for call in several(get(said, "tool_calls"))]
    parts += part("text", get(response, "text"))
    return [answer(parts, get(response, "finish_reason"))] if parts else []
