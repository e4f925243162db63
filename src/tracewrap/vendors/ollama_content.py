"""What is asked and answered in Ollama's wire format, for those who want message content recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors.adapter import get
from tracewrap.vendors.messages import Content, Growing, Message, message, part, several, texts, tool_call, tool_result


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*: chat or generate."""
    messages = [_message(one) for one in several(body.get("messages"))]
    asked = part("text", body.get("prompt")) + _images(body)
    if asked:
        messages.append(message("user", asked))
    return Content(messages, part("text", body.get("system")), several(body.get("tools")))


def _message(one: Any) -> Message:
    if get(one, "role") == "tool":
        return message("tool", [tool_result(get(one, "tool_call_id") or get(one, "tool_name"), get(one, "content"))])
    calls = [get(call, "function") for call in several(get(one, "tool_calls"))]
    parts = part("reasoning", get(one, "thinking")) + texts(get(one, "content")) + _images(one)
    return message(get(one, "role"), parts + [tool_call(None, get(c, "name"), get(c, "arguments")) for c in calls])


def _images(one: Any) -> list[dict[str, Any]]:
    return [{"type": "image"} for _ in several(get(one, "images"))]


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole answer, or all lines of a stream."""
    growing, calls = Growing(), 0
    for line in things:
        said = get(line, "message")
        growing.add("text", get(line, "response") if said is None else get(said, "content"))
        growing.add("reasoning", get(line, "thinking") if said is None else get(said, "thinking"))
        for call in several(get(said, "tool_calls")):
            calls += 1
            function = get(call, "function")
            growing.add_call(calls, None, get(function, "name"), get(function, "arguments"))
        growing.reason = get(line, "done_reason") or growing.reason
    found = growing.said()
    return [] if found is None else [found]
