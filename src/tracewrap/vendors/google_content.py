"""What is asked and answered in Google's wire format, for those who want message content recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracewrap.vendors.adapter import get
from tracewrap.vendors.messages import (
    Content,
    Growing,
    Message,
    Part,
    message,
    part,
    several,
    tool_call,
    tool_result,
)

_ROLES = {"model": "assistant", "function": "tool"}


def read_asked(body: Mapping[str, Any]) -> Content:
    """The request's *body*."""
    messages = [
        message(_role(one), _parts(get(one, "parts")) if isinstance(one, Mapping) else part("text", one))
        for one in _one_or_several(body.get("contents"))
    ]
    return Content(messages, _parts(get(body.get("systemInstruction"), "parts")), several(body.get("tools")))


def _role(one: Any) -> str:
    said = get(one, "role") or "user"
    return _ROLES.get(str(said), str(said))


def _one_or_several(value: Any) -> list[Any]:
    return several(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _parts(parts: Any) -> list[Part]:
    return [one for given in _one_or_several(parts) for one in _part(given)]


def _part(given: Any) -> list[Part]:
    call, result = get(given, "functionCall"), get(given, "functionResponse")
    if call is not None:
        return [tool_call(get(call, "id"), get(call, "name"), get(call, "args"))]
    if result is not None:
        return [tool_result(get(result, "id") or get(result, "name"), get(result, "response"))]
    text = get(given, "text")
    if isinstance(text, str):
        return part("reasoning" if get(given, "thought") else "text", text)
    return [{"type": str(kind)} for kind in given if kind != "thoughtSignature"][:1] if isinstance(given, dict) else []


def read_said(things: Sequence[Any]) -> list[Message]:
    """A whole answer, or all chunks of a stream, also as one list."""
    chunks = [chunk for one in things for chunk in _one_or_several(one)]
    growing: dict[Any, Growing] = {}
    calls = 0
    for chunk in chunks:
        for candidate in several(get(chunk, "candidates")):
            one = growing.setdefault(get(candidate, "index") or 0, Growing())
            one.reason = get(candidate, "finishReason") or one.reason
            for piece in _parts(get(get(candidate, "content"), "parts")):
                if piece["type"] in ("text", "reasoning"):
                    one.add(piece["type"], piece["content"])
                elif piece["type"] == "tool_call":
                    calls += 1
                    one.add_call(calls, piece["id"], piece["name"], piece["arguments"])
                else:
                    one.add_other(piece)
    return [said for one in growing.values() if (said := one.said()) is not None]
