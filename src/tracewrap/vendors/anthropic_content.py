"""What is asked and answered in Anthropic's wire format, for those who want message content recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors.adapter import get
from tracewrap.vendors.messages import Content, Growing, Message, answer, conversation, several, texts


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*."""
    return Content(conversation(body), texts(body.get("system")), several(body.get("tools")))


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole message, or all events of a stream."""
    if len(things) == 1 and get(things[0], "type") != "message_start":
        content = get(things[0], "content")
        return [answer(texts(content), get(things[0], "stop_reason"))] if content is not None else []
    growing = Growing()
    for event in things:
        kind, index, delta = get(event, "type"), get(event, "index"), get(event, "delta")
        block = get(event, "content_block")
        if kind == "content_block_start" and get(block, "type") in ("tool_use", "server_tool_use"):
            growing.add_call(index, get(block, "id"), get(block, "name"))
        elif kind == "content_block_delta":
            growing.add("text", get(delta, "text"))
            growing.add("reasoning", get(delta, "thinking"))
            if get(delta, "partial_json"):
                growing.add_call(index, arguments=get(delta, "partial_json"))
        elif kind == "message_delta":
            growing.reason = get(delta, "stop_reason") or growing.reason
    said = growing.said()
    return [] if said is None else [said]
