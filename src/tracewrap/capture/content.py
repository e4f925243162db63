"""Message content on spans and records, only where OpenTelemetry's own variable asks for it; as JSON, by its GenAI conventions.

On the caller's thread what the program may change afterwards is copied: the request's lists and dictionaries when the call begins (their
texts are shared), a whole answer when it ends. Reading a stream's chunks and writing JSON, which is most of the work, is left to whoever
delivers the record; only a span of the program's own provider needs the text before it ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tracewrap import semconv
from tracewrap.vendors.adapter import Adapter

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON_SPANS = ("SPAN_ONLY", "SPAN_AND_EVENT")
MAX_CONTENT = 1024 * 1024
"""Characters of one attribute; longer content is left out whole, as half of a JSON text is none."""


def wanted() -> bool:
    """Whether the environment asks for message content on spans."""
    return os.environ.get(VARIABLE, "").strip().upper() in _ON_SPANS


def note() -> str | None:
    """What of the variable cannot be done, in one line; None: nothing."""
    said = os.environ.get(VARIABLE, "").strip()
    if said.upper() in ("", "NO_CONTENT", "SPAN_ONLY"):
        return None
    if said.upper() in ("EVENT_ONLY", "SPAN_AND_EVENT"):
        where = "on spans alone" if said.upper() in _ON_SPANS else "nowhere; set it to SPAN_ONLY"
        return f"{VARIABLE}={said}: no events are made, so message content is recorded {where}"
    return f"{VARIABLE} is {said!r}, so no message content is recorded; there is NO_CONTENT, SPAN_ONLY"


Said = Sequence[Any] | Callable[[], Sequence[Any]]
"""A whole answer, alone in a sequence; of a stream, what gives all its chunks."""
_DEEPEST = 40


def copied(value: Any, depth: int = _DEEPEST) -> Any:
    """*value* with lists and dictionaries of its own, so that nobody changes it; what lies too deep, and objects, are shared."""
    kind = type(value)
    if depth and kind is dict:
        return {key: _copied_inner(one, depth) for key, one in value.items()}
    if depth and kind in (list, tuple):
        return [_copied_inner(one, depth) for one in value]
    return value


def _copied_inner(value: Any, depth: int) -> Any:
    return copied(value, depth - 1) if type(value) in (dict, list, tuple) else value


def content_of(adapter: Adapter, body: Mapping[str, Any], said: Said) -> Callable[[], dict[str, Any]]:
    """What gives the attributes of message content, whenever it is asked: *body* is ``copied``, a whole answer is read here."""
    if callable(said) or adapter.read_said is None:
        return partial(_attributes, adapter, body, said, None)
    messages = adapter.read_said(said) if said else []
    return partial(_attributes, adapter, body, (), copied(messages))


def _attributes(
    adapter: Adapter, body: Mapping[str, Any], said: Said, answers: list[dict[str, Any]] | None
) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if adapter.read_asked is not None:
        asked = adapter.read_asked(body)
        _put(attributes, semconv.INPUT_MESSAGES, asked.messages)
        _put(attributes, semconv.SYSTEM_INSTRUCTIONS, asked.instructions)
        _put(attributes, semconv.TOOL_DEFINITIONS, asked.tools)
    if answers is None and adapter.read_said is not None and callable(said):
        answers = adapter.read_said(said())
    _put(attributes, semconv.OUTPUT_MESSAGES, answers or [])
    return attributes


def _put(attributes: dict[str, Any], name: str, value: list[Any]) -> None:
    if value:
        text = json.dumps(value, ensure_ascii=False, default=str)
        if len(text) <= MAX_CONTENT:
            attributes[name] = text
