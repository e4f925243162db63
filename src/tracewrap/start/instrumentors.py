"""Entry points for ``opentelemetry-instrument``: one instrumentor a vendor, and the exporter ``tracewrap_otlp``.

    OTEL_TRACES_EXPORTER=tracewrap_otlp opentelemetry-instrument python app.py

The names (``tracewrap-openai`` ...) are ours alone, so OTEL_PYTHON_DISABLED_INSTRUMENTATIONS can switch off ours or the official ones.
Needs opentelemetry-instrumentation, which comes with that command.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined, unused-ignore]

from tracewrap.capture.state import state
from tracewrap.capture.tracing import tracer_of
from tracewrap.capture.wrap import instrument, uninstrument
from tracewrap.errors import TracewrapError
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.pipeline import catalog_loader, configured, switched_off
from tracewrap.settings import destination_set, settings
from tracewrap.sinks.otlp import exporter


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc, unused-ignore]
    """Records one vendor's SDK with the program's tracer provider, or the one that is passed as ``tracer_provider``."""

    vendor: str
    package: str = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK, from the previous major on; nothing where one of several will do, or it is looked for when it is imported."""
        return (self.package,) if self.package else ()

    def _instrument(self, **kwargs: Any) -> None:
        _configure_once()
        provider = kwargs.get("tracer_provider")
        if provider is not None:
            state.tracer = tracer_of(provider)
        if not _off():
            instrument(self.vendor)

    def _uninstrument(self, **_: Any) -> None:
        uninstrument(self.vendor)


_configured: list[bool] = []


def _configure_once() -> None:
    """Honour TRACEWRAP_* and pyproject.toml as ``configure()`` does; who calls this catches nothing, so that mistakes are a line each."""
    if _configured:
        return
    _configured.append(True)
    try:
        if not destination_set() and not switched_off():
            return
        for note in configured().notes:
            print(f"tracewrap: {note}", file=sys.stderr)
    except TracewrapError as error:
        print(f"tracewrap: calls are not recorded ({error})", file=sys.stderr)


def _off() -> bool:
    """Whether the setting ``enabled`` is false; a mistake in the settings has been told by now and switches nothing off."""
    try:
        return switched_off()
    except TracewrapError:
        return False


class OpenAIInstrumentor(_Instrumentor):
    """``tracewrap-openai``."""

    vendor, package = "openai", "openai >= 2"


class AnthropicInstrumentor(_Instrumentor):
    """``tracewrap-anthropic``."""

    vendor, package = "anthropic", "anthropic >= 0.100"


class CohereInstrumentor(_Instrumentor):
    """``tracewrap-cohere``."""

    vendor, package = "cohere", "cohere >= 5"


class GoogleGenAIInstrumentor(_Instrumentor):
    """``tracewrap-google-genai``."""

    vendor, package = "google-genai", "google-genai >= 2"


class BedrockInstrumentor(_Instrumentor):
    """``tracewrap-bedrock``: boto3 and botocore, where they call Bedrock."""

    vendor, package = "bedrock", "botocore >= 1.38"


class GroqInstrumentor(_Instrumentor):
    """``tracewrap-groq``."""

    vendor, package = "groq", "groq >= 1"


class TogetherInstrumentor(_Instrumentor):
    """``tracewrap-together``."""

    vendor, package = "together", "together >= 3"


class OllamaInstrumentor(_Instrumentor):
    """``tracewrap-ollama``: what any httpx client sends to Ollama's own interface, its SDK's clients among them."""

    vendor, package = "ollama", "ollama >= 0.4"


class HttpxInstrumentor(_Instrumentor):
    """``tracewrap-httpx``: what httpx and httpx2 clients send to known endpoints."""

    vendor = "httpx"


class RequestsInstrumentor(_Instrumentor):
    """``tracewrap-requests``: what sessions of requests send to known endpoints."""

    vendor, package = "requests", "requests >= 2"


class AiohttpInstrumentor(_Instrumentor):
    """``tracewrap-aiohttp``: what sessions of aiohttp send to known endpoints."""

    vendor, package = "aiohttp", "aiohttp >= 3"


class JoinedOTLPExporter(JoiningExporter):
    """``OTEL_TRACES_EXPORTER=tracewrap_otlp``: OTLP as OTEL_EXPORTER_OTLP_* say, gRPC too, with estimates added to every LLM span."""

    def __init__(self) -> None:
        super().__init__(exporter(), catalog_loader(settings()))
