"""Entry points for ``opentelemetry-instrument``: one instrumentor a vendor, and the exporter ``tracewrap_otlp``.

    OTEL_TRACES_EXPORTER=tracewrap_otlp opentelemetry-instrument python app.py

The names (``tracewrap-openai`` ...) are ours alone, so OTEL_PYTHON_DISABLED_INSTRUMENTATIONS can switch off ours or the official ones.
Needs opentelemetry-instrumentation, which comes with that command.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined, unused-ignore]

from tracewrap import semconv
from tracewrap.capture.state import state
from tracewrap.capture.wrap import instrument, uninstrument
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.pipeline import catalog_loader, settings
from tracewrap.sinks.otlp import otlp


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc, unused-ignore]
    """Records one vendor's SDK with the program's tracer provider, or the one that is passed as ``tracer_provider``."""

    vendor: str
    package: str

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK, from the previous major on."""
        return (self.package,)

    def _instrument(self, **kwargs: Any) -> None:
        provider = kwargs.get("tracer_provider")
        if provider is not None:
            state.tracer = provider.get_tracer(semconv.SCOPE)
        instrument(self.vendor)

    def _uninstrument(self, **_: Any) -> None:
        uninstrument(self.vendor)


class OpenAIInstrumentor(_Instrumentor):
    """``tracewrap-openai``."""

    vendor, package = "openai", "openai >= 2"


class AnthropicInstrumentor(_Instrumentor):
    """``tracewrap-anthropic``."""

    vendor, package = "anthropic", "anthropic >= 0.100"


class CohereInstrumentor(_Instrumentor):
    """``tracewrap-cohere``."""

    vendor, package = "cohere", "cohere >= 5"


class JoinedOTLPExporter(JoiningExporter):
    """``OTEL_TRACES_EXPORTER=tracewrap_otlp``: OTLP over HTTP, set up by OTEL_EXPORTER_OTLP_*, with estimates added to every LLM span."""

    def __init__(self) -> None:
        super().__init__(otlp(), catalog_loader(settings()))
