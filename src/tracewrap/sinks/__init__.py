"""One file a destination, each an OpenTelemetry SpanExporter."""

from __future__ import annotations

from tracewrap.sinks.span_log import SpanLog
from tracewrap.sinks.terminal import Terminal

__all__ = ["SpanLog", "Terminal"]
