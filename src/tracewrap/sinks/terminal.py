"""Terminal: one line a call, raw beside denoised beside idealized."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracewrap import semconv
from tracewrap.words import blamed, clean, count, seconds, share, usd


class Terminal(SpanExporter):
    """Prints each LLM call to *out* (standard error by default, so that a program's own output stays clean)."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Print one line a call; other spans are passed over."""
        self.show((span.name, span.attributes) for span in spans if span.attributes)
        return SpanExportResult.SUCCESS

    def show(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Print one line a call, given as name and attributes; what is no call is passed over."""
        lines = [line(name, attributes) for name, attributes in calls if _is_call(attributes)]
        if lines:
            print("\n".join(lines), file=self._out or sys.stderr, flush=True)

    def shutdown(self) -> None:
        """Nothing is buffered here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is buffered here."""
        return True


def _is_call(attributes: Mapping[str, Any]) -> bool:
    return semconv.OPERATION in attributes and semconv.RUNTIME_RAW in attributes


def line(name: str, attributes: Mapping[str, Any]) -> str:
    """One call as one line; what is absent is left out."""
    parts = [clean(name)]
    for key, unit in ((semconv.INPUT_TOKENS, "in"), (semconv.OUTPUT_TOKENS, "out")):
        if key in attributes:
            parts.append(f"{count(attributes[key])} {unit}")
    for key, word in (
        (semconv.RUNTIME_RAW, "raw"),
        (semconv.RUNTIME_DENOISED, "denoised"),
        (semconv.RUNTIME_IDEALIZED, "idealized"),
    ):
        if key in attributes:
            parts.append(f"{word} {seconds(attributes[key])}")
    if semconv.CONTENTION_SHARE in attributes:
        parts.append(f"contention {share(attributes[semconv.CONTENTION_SHARE])}")
    who = blamed(attributes.get(semconv.SPLIT_VERDICT), attributes.get(semconv.SPLIT_KIND))
    if who is not None:
        parts.append(f"slow by {who}")
    if semconv.COST_LIST in attributes:
        parts.append(f"list {usd(attributes[semconv.COST_LIST])}")
    if semconv.COST_IDEALIZED in attributes:
        parts.append(f"idealized {usd(attributes[semconv.COST_IDEALIZED])}")
    if semconv.ERROR_TYPE in attributes:
        parts.append(f"error {clean(str(attributes[semconv.ERROR_TYPE]))}")
    status = attributes.get(semconv.JOIN_STATUS)
    if status not in (None, "ok"):
        parts.append(f"({clean(str(status))})")
    return "   ".join(parts)
