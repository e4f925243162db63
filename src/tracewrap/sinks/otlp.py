"""OTLP over HTTP, set up by OpenTelemetry's own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _TIMEOUT ...)."""

from __future__ import annotations

import os

from opentelemetry.sdk.trace.export import SpanExporter

from tracewrap.sinks.presenting import Presenting

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def configured() -> bool:
    """Whether the environment names an OTLP endpoint."""
    return any(os.environ.get(name) for name in _ENDPOINTS)


def otlp(endpoint: str | None = None) -> SpanExporter:
    """An OTLP/HTTP exporter to *endpoint* (base URL of the receiver), else to where the environment says; joined spans are presented."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    if endpoint is None:
        return Presenting(OTLPSpanExporter())
    url = endpoint if endpoint.rstrip("/").endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"
    return Presenting(OTLPSpanExporter(endpoint=url))
