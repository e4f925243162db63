"""What is asked and answered in Bedrock's own wire format, or its models' makers', for those who want message content recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors import anthropic_content, cohere_content, openai_content
from tracewrap.vendors.adapter import get
from tracewrap.vendors.messages import (
    Content,
    Growing,
    Message,
    Part,
    answer,
    message,
    part,
    several,
    texts,
    tool_call,
    tool_result,
)


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*: converse, or what a model was invoked with."""
    if "anthropic_version" in body:
        return anthropic_content.read_asked(body)
    if "message" in body:
        return cohere_content.read_asked(body)
    if any(isinstance(get(one, "content"), str) for one in several(body.get("messages"))):
        return openai_content.read_asked(body)
    messages = [message(get(one, "role"), _parts(get(one, "content"))) for one in several(body.get("messages"))]
    asked = part("text", body.get("prompt") or body.get("inputText"))
    if asked:
        messages.append(message("user", asked))
    tools = several(get(body.get("toolConfig"), "tools"))
    return Content(messages, _parts(body.get("system")), tools)


def _parts(blocks: Any) -> list[Part]:
    return [one for block in several(blocks) for one in _block(block)]


def _block(block: Any) -> list[Part]:
    """A content block of converse, or a maker's, which says its type."""
    if get(block, "type") is not None or not isinstance(block, dict):
        return texts([block])
    asked, result = block.get("toolUse"), block.get("toolResult")
    if asked is not None:
        return [tool_call(get(asked, "toolUseId"), get(asked, "name"), get(asked, "input"))]
    if result is not None:
        return [tool_result(get(result, "toolUseId"), _result(get(result, "content")))]
    thought = get(get(block.get("reasoningContent"), "reasoningText"), "text")
    if thought is not None:
        return part("reasoning", thought)
    return part("text", block.get("text")) or [{"type": kind} for kind in block if kind != "text"][:1]


def _result(content: Any) -> Any:
    found = [get(one, "text") if get(one, "json") is None else get(one, "json") for one in several(content)]
    return found[0] if len(found) == 1 else found


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole answer, or all events of a stream."""
    first = things[0] if things else None
    if get(first, "type") in ("message", "message_start"):
        return anthropic_content.read_said(things)
    if get(first, "choices") is not None:
        return openai_content.read_said(things)
    if get(first, "generations") is not None or get(first, "generation_id") is not None:
        return cohere_content.read_said(things)
    said = get(get(first, "output"), "message")
    if said is not None:
        return [answer(_parts(get(said, "content")), get(first, "stopReason"))]
    growing = Growing()
    for event in things:
        _grow(growing, event)
    found = growing.said()
    return [] if found is None else [found]


def _grow(growing: Growing, event: Any) -> None:
    """One event of converse or Nova, or a piece or the whole of what Llama, Mistral or Titan say."""
    for kind in ("contentBlockStart", "contentBlockDelta", "messageStop"):
        event = get(event, kind) or event  # Nova, invoked, names its events
    index, begun, delta = get(event, "contentBlockIndex"), get(get(event, "start"), "toolUse"), get(event, "delta")
    if begun is not None:
        growing.add_call(index, get(begun, "toolUseId"), get(begun, "name"))
    growing.add("text", get(delta, "text"))
    growing.add("reasoning", get(get(delta, "reasoningContent"), "text"))
    arguments = get(get(delta, "toolUse"), "input")
    if arguments is not None:
        growing.add_call(index, arguments=arguments)
    for piece in (event, *several(get(event, "results")), *several(get(event, "outputs"))):
        growing.add("text", get(piece, "generation") or get(piece, "outputText") or get(piece, "text"))
        reason = get(piece, "stopReason") or get(piece, "stop_reason") or get(piece, "completionReason")
        growing.reason = reason or growing.reason
