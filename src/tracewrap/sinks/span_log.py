"""SpanLog: OTLP-JSON lines in a folder, one file a process: the OpenTelemetry Collector's file format.

Each export appends one whole line with one write, so that any process can be killed at any moment and every line written stays
readable; a torn last line is the reader's to skip. A forked child starts a file of its own.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracewrap.errors import check_local

logger = logging.getLogger("tracewrap")


class SpanLog(SpanExporter):
    """Appends spans to ``FOLDER/spans-<start>-<pid>-<random>.jsonl``. The folder and the file are made when the first span arrives.

    Raises ConfigurationError when *folder* is a URL.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        check_local(folder)
        self.folder = Path(folder)
        self.path: Path | None = None
        self.dropped = 0
        """Spans that could not be written (disk full, folder gone)."""
        self._pid = 0
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append *spans* as one line."""
        if not spans:
            return SpanExportResult.SUCCESS
        line = (json.dumps(encode(spans), separators=(",", ":"), ensure_ascii=False) + "\n").encode("utf-8")
        try:
            with self._lock:
                self._append(line)
        except OSError as error:
            self.dropped += len(spans)
            if self.dropped == len(spans):
                logger.warning("span log %s cannot be written (%s); spans are dropped", self.folder, error.strerror)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _append(self, line: bytes) -> None:
        if self.path is None or self._pid != os.getpid():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._pid = os.getpid()
            start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            self.path = self.folder / f"spans-{start}-{self._pid}-{secrets.token_hex(3)}.jsonl"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, size)
                raise OSError(28, "no space left for a whole line")
        finally:
            os.close(handle)

    def shutdown(self) -> None:
        """Nothing is buffered here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is buffered here."""
        return True


def encode(spans: Iterable[ReadableSpan]) -> dict[str, Any]:
    """OTLP's TracesData as JSON values: hex ids, 64-bit integers as text, enumerations as numbers, absent means default."""
    resources: dict[int, tuple[ReadableSpan, dict[int, tuple[ReadableSpan, list[dict[str, Any]]]]]] = {}
    for span in spans:
        _, scopes = resources.setdefault(id(span.resource), (span, {}))
        _, encoded = scopes.setdefault(id(span.instrumentation_scope), (span, []))
        encoded.append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(first.resource.attributes)},
                "scopeSpans": [{"scope": _scope(span), "spans": encoded} for span, encoded in scopes.values()],
            }
            for first, scopes in resources.values()
        ]
    }


def _scope(span: ReadableSpan) -> dict[str, Any]:
    scope = span.instrumentation_scope
    if scope is None:
        return {}
    return {"name": scope.name, **({"version": scope.version} if scope.version else {})}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    assert context is not None
    out: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes or {}),
    }
    if span.parent is not None:
        out["parentSpanId"] = f"{span.parent.span_id:016x}"
    status = {"code": span.status.status_code.value}
    if span.status.status_code.value:
        out["status"] = {**status, **({"message": span.status.description} if span.status.description else {})}
    if span.events:
        out["events"] = [
            {
                "timeUnixNano": str(event.timestamp),
                "name": event.name,
                "attributes": _attributes(event.attributes or {}),
            }
            for event in span.events
        ]
    if span.links:
        out["links"] = [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                "attributes": _attributes(link.attributes or {}),
            }
            for link in span.links
        ]
    return out


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
