"""Messages as OpenTelemetry's GenAI conventions write them: what vendors' content readers build, and the limits of what is kept.

A message is ``{"role", "parts"}``, an answer's has a ``finish_reason`` too. Parts: ``text``, ``reasoning``, ``tool_call``,
``tool_call_response``; of images, audio and files only that they were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tracewrap.vendors.adapter import get

MAX_PART = 65_536
"""Characters kept of one text."""
Part = dict[str, Any]
Message = dict[str, Any]


class Content(NamedTuple):
    """What a request holds: messages, instructions that stand apart from them, tools it offers."""

    messages: list[Message]
    instructions: list[Part]
    tools: list[Any]


def several(value: Any) -> list[Any]:
    """The items of a list; of anything else (what an SDK puts for what was left out, nonsense) none."""
    return list(value) if isinstance(value, list | tuple) else []


def part(kind: str, value: Any) -> list[Part]:
    """A part of *kind* with the text *value*; none without text."""
    return [{"type": kind, "content": value[:MAX_PART]}] if isinstance(value, str) and value else []


def tool_call(identifier: Any, name: Any, arguments: Any) -> Part:
    """The model asks for a tool."""
    return {"type": "tool_call", "id": identifier, "name": name, "arguments": _cut(arguments)}


def tool_result(identifier: Any, result: Any) -> Part:
    """What a tool answered."""
    return {"type": "tool_call_response", "id": identifier, "response": _cut(result)}


def _cut(value: Any) -> Any:
    return value[:MAX_PART] if isinstance(value, str) else value


def message(role: Any, parts: Iterable[Part]) -> Message:
    """A message of the conversation so far."""
    return {"role": str(role), "parts": list(parts)}


def answer(parts: Iterable[Part], reason: Any) -> Message:
    """A message of the model's."""
    said = message("assistant", parts)
    return said if reason is None else {**said, "finish_reason": str(reason)}


def texts(content: Any) -> list[Part]:
    """The parts of a message's content: text, or a list of blocks of any vendor."""
    if isinstance(content, str):
        return part("text", content)
    return [one for block in several(content) for one in _block(block)]


def _block(block: Any) -> list[Part]:
    if isinstance(block, str):
        return part("text", block)
    kind = str(get(block, "type"))
    if kind in ("thinking", "reasoning"):
        return part("reasoning", get(block, "thinking") or get(block, "text"))
    if kind in ("tool_use", "server_tool_use"):
        return [tool_call(get(block, "id"), get(block, "name"), get(block, "input"))]
    if kind == "tool_result":
        return [tool_result(get(block, "tool_use_id"), _plain(get(block, "content")))]
    found = part("text", get(block, "text") or get(block, "refusal"))
    return found or ([{"type": kind}] if kind != "text" else [])


def _plain(content: Any) -> Any:
    """A tool's answer as text where it is text alone."""
    parts = texts(content)
    return "".join(one.get("content", "") for one in parts) if parts else content


class Growing:
    """An answer that comes in pieces: text and reasoning joined, tool calls by their index."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"reasoning": [], "text": []}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._others: list[Part] = []
        self.reason: Any = None

    def add(self, kind: str, piece: Any) -> None:
        """Another piece of ``text`` or ``reasoning``."""
        if isinstance(piece, str):
            self._texts[kind].append(piece)

    def add_call(self, index: Any, identifier: Any = None, name: Any = None, arguments: Any = None) -> None:
        """A tool call begins, or another piece of its arguments comes."""
        known = self._calls.setdefault(index, {"id": None, "name": None, "arguments": ""})
        known["id"], known["name"] = identifier or known["id"], name or known["name"]
        if isinstance(arguments, str) and isinstance(known["arguments"], str):
            known["arguments"] += arguments
        elif arguments is not None:  # whole, as an object
            known["arguments"] = arguments

    def add_other(self, one: Part) -> None:
        """A part that is neither text nor a call: that it was there."""
        self._others.append(one)

    def said(self) -> Message | None:
        """The whole of it; None: nothing was said."""
        parts = [one for kind, pieces in self._texts.items() for one in part(kind, "".join(pieces))]
        parts += [tool_call(call["id"], call["name"], call["arguments"]) for call in self._calls.values()]
        parts += self._others
        return answer(parts, self.reason) if parts or self.reason is not None else None


def conversation(body: Mapping[str, Any], name: str = "messages") -> list[Message]:
    """The messages of *body*, in the shape that all vendors' chat requests share."""
    found = []
    for one in several(body.get(name)):
        role, content = get(one, "role"), get(one, "content")
        if role == "tool":
            parts = [tool_result(get(one, "tool_call_id"), _plain(content))]
        else:
            parts = texts(content) + [called(call) for call in several(get(one, "tool_calls"))]
        found.append(message(role, parts))
    return found


def called(call: Any) -> Part:
    """A tool call as OpenAI and Cohere write it."""
    function = get(call, "function")
    return tool_call(get(call, "id"), get(function, "name"), get(function, "arguments"))
