"""Fanout: several exporters behind one join."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger("tracewrap")


class Fanout(SpanExporter):
    """Exports to each of *exporters*; one that fails or raises does not keep the spans from the others."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = tuple(exporters)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Success if every exporter succeeded."""
        results = [self._export(exporter, spans) for exporter in self._exporters]
        return SpanExportResult.SUCCESS if all(results) else SpanExportResult.FAILURE

    def _export(self, exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> bool:
        try:
            return exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:
            logger.exception("exporter %s failed", type(exporter).__name__)
            return False

    def shutdown(self) -> None:
        """Shut each exporter down."""
        for exporter in self._exporters:
            exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush each exporter."""
        results = [exporter.force_flush(timeout_millis) for exporter in self._exporters]
        return all(results)
