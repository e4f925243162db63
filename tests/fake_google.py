"""Google's answers as JSON, whole and in chunks: pure functions of what was asked and what to answer, as in ``fake_wire``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fake_wire import WORD, Asked, words_in


def usage(asked: Asked, candidates: int | None = None) -> dict[str, Any]:
    """``usageMetadata``; of a chunk: with so many *candidates* tokens so far."""
    visible = asked.visible_tokens if candidates is None else candidates
    counts: dict[str, Any] = {
        "promptTokenCount": asked.input_tokens,
        "candidatesTokenCount": visible,
        "totalTokenCount": asked.input_tokens + visible + asked.answer.reasoning_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": asked.input_tokens}],
    }
    if asked.answer.cached_tokens:
        counts["cachedContentTokenCount"] = asked.answer.cached_tokens
    if asked.answer.reasoning_tokens:
        counts["thoughtsTokenCount"] = asked.answer.reasoning_tokens
    return counts


def _chunk(asked: Asked, text: str, reason: str | None, counts: dict[str, Any]) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {
        "candidates": [candidate],
        "usageMetadata": counts,
        "modelVersion": f"{asked.model}-0001",
        "responseId": "resp-1",
    }


def generate(asked: Asked) -> dict[str, Any]:
    """An answer of generateContent."""
    return _chunk(asked, asked.text, "STOP", usage(asked))


def generate_events(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """(tokens generated so far, chunk) of streamGenerateContent."""
    for number in range(1, asked.visible_tokens + 1):
        reason = "STOP" if number == asked.visible_tokens else None
        yield asked.answer.reasoning_tokens + number, _chunk(asked, WORD, reason, usage(asked, number))


def embeddings(asked: Asked) -> dict[str, Any]:
    """An answer of batchEmbedContents."""
    count = len(asked.body.get("requests", [0]))
    counted = {"promptTokenCount": asked.input_tokens}
    return {"embeddings": [{"values": [0.5, 0.25]}] * count, "usageMetadata": counted}


def predictions(asked: Asked) -> dict[str, Any]:
    """An answer of Vertex's ``:predict`` for an embedding model."""
    instances = asked.body.get("instances", [])
    return {
        "predictions": [
            {"embeddings": {"values": [0.5], "statistics": {"token_count": words_in(one["content"])}}}
            for one in instances
        ]
    }


def error(status: int) -> dict[str, Any]:
    """Google's error body."""
    name = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}.get(status, "INTERNAL")
    return {"error": {"code": status, "message": "asked to fail", "status": name}}
