"""Ollama's answers as JSON, whole and in lines, as in ``fake_wire``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fake_wire import WORD, Asked


def _end(asked: Asked) -> dict[str, Any]:
    times = {"total_duration": 7_000_000, "load_duration": 1, "prompt_eval_duration": 1, "eval_duration": 1}
    counts = {"prompt_eval_count": asked.input_tokens, "eval_count": asked.output_tokens}
    return {"done": True, "done_reason": "stop", **times, **counts}


def _said(asked: Asked, text: str) -> dict[str, Any]:
    about = {"model": asked.model, "created_at": "2026-01-01T00:00:00Z"}
    if "prompt" in asked.body:
        return {**about, "response": text}
    return {**about, "message": {"role": "assistant", "content": text}}


def answer(asked: Asked) -> dict[str, Any]:
    """An answer of chat or generate."""
    return _said(asked, asked.text) | _end(asked)


def lines(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """(tokens generated so far, line) of their streams."""
    for number in range(1, asked.output_tokens + 1):
        yield number, _said(asked, WORD) | {"done": False}
    yield asked.output_tokens, _said(asked, "") | _end(asked)


def embeddings(asked: Asked) -> dict[str, Any]:
    """An answer of embed."""
    return {
        "model": asked.model,
        "embeddings": [[0.5]],
        "total_duration": 7_000_000,
        "prompt_eval_count": asked.input_tokens,
    }
