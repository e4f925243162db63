"""One file a destination, each an OpenTelemetry SpanExporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracewrap.lazy import names_of

if TYPE_CHECKING:
    from tracewrap.sinks.span_log import SpanLog
    from tracewrap.sinks.terminal import Terminal

__all__ = ["SpanLog", "Terminal"]
__getattr__ = names_of(__name__, {"SpanLog": "span_log", "Terminal": "terminal"})
