"""Message content on spans and records, only where OpenTelemetry's own variable asks for it; as JSON, by its GenAI conventions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
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


def put_content(attributes: dict[str, Any], adapter: Adapter, body: Mapping[str, Any], said: Sequence[Any]) -> None:
    """Write what was asked by *body* and answered, whole or in chunks, by *said* into *attributes*."""
    if adapter.read_asked is not None:
        asked = adapter.read_asked(body)
        _put(attributes, semconv.INPUT_MESSAGES, asked.messages)
        _put(attributes, semconv.SYSTEM_INSTRUCTIONS, asked.instructions)
        _put(attributes, semconv.TOOL_DEFINITIONS, asked.tools)
    if adapter.read_said is not None and said:
        _put(attributes, semconv.OUTPUT_MESSAGES, adapter.read_said(said))


def _put(attributes: dict[str, Any], name: str, value: list[Any]) -> None:
    if value:
        text = json.dumps(value, ensure_ascii=False, default=str)
        if len(text) <= MAX_CONTENT:
            attributes[name] = text
