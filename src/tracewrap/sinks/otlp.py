"""Sending spans: OTLP over HTTP, over gRPC where its exporter is installed, or by any SpanExporter; each says what became of them.

OTLP is sent as people see it (``presenting``). The HTTP sender is ours because the SDK's exporter answers with yes or no only: which of
the spans were refused (partial success), whether it is worth trying again, and when, is in the response.
"""

from __future__ import annotations

import gzip
import importlib
import ssl
import time
import zlib
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple, Protocol
from urllib import request
from urllib.error import HTTPError

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracewrap.estimate.presenting import Presenting, shown
from tracewrap.sinks.otlp_target import Target, target

_RETRYABLE = (429, 502, 503, 504)
"""HTTP statuses after which OTLP says to try again."""
_MAX_ANSWER = 64 * 1024


class Delivery(NamedTuple):
    """What became of a batch: ``lost`` of it for ``reason``; or all of it is worth trying again, after ``retry_s`` where that is known."""

    lost: int = 0
    reason: str = ""
    again: bool = False
    retry_s: float | None = None


class Sender(Protocol):
    """Sends batches of spans, on one thread at a time."""

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Send *spans*; may block for the receiver's timeout, and may raise."""

    def close(self) -> None:
        """Nothing more will be sent."""


class HttpSender:
    """OTLP over HTTP in protobuf. One request a batch, through the proxies of the environment."""

    def __init__(self, to: Target) -> None:
        # Imported now, on the thread that configures: nothing of ours imports while the program forks.
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        importlib.import_module("encodings.idna")
        assert to.url is not None
        self._url, self._timeout_s, self._compression = to.url, to.timeout_s, to.compression
        self._headers = {"Content-Type": "application/x-protobuf", "User-Agent": "tracewrap", **to.headers}
        if to.compression != "none":
            self._headers["Content-Encoding"] = to.compression
        self._encode: Callable[[Sequence[ReadableSpan]], Any] = encode_spans
        self._answer = trace_service_pb2.ExportTraceServiceResponse
        handlers: list[request.BaseHandler] = []
        if to.url.startswith("https:"):
            handlers.append(request.HTTPSHandler(context=_tls(to)))
        self._open = request.build_opener(*handlers).open

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Send *spans* in one request."""
        body = self._encode([shown(span) for span in spans]).SerializePartialToString()
        if self._compression == "gzip":
            body = gzip.compress(body)
        elif self._compression == "deflate":
            body = zlib.compress(body)
        asked = request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._open(asked, timeout=self._timeout_s) as response:
                answer = response.read(_MAX_ANSWER)
        except HTTPError as error:
            with error:
                after = _retry_after_s(error.headers.get("Retry-After"))
            return Delivery(len(spans), f"http_{error.code}", error.code in _RETRYABLE, after)
        except TimeoutError:
            return Delivery(len(spans), "timeout", again=True)
        except HTTPException:  # a port that speaks something else: gRPC's, as a rule
            return Delivery(len(spans), "not_http", again=True)
        except (OSError, ValueError) as error:
            slow = isinstance(getattr(error, "reason", None), TimeoutError)
            return Delivery(len(spans), "timeout" if slow else "unreachable", again=True)
        return self._accepted(answer)

    def _accepted(self, answer: bytes) -> Delivery:
        try:
            rejected = self._answer.FromString(answer).partial_success.rejected_spans
        except Exception:  # noqa: BLE001 - receivers that answer in JSON, or with a page: they took the spans
            return Delivery()
        return Delivery(rejected, "partial_success") if rejected > 0 else Delivery()

    def close(self) -> None:
        """Nothing is held open."""


def _tls(to: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=to.files.get("CERTIFICATE"))
    if "CLIENT_CERTIFICATE" in to.files:
        context.load_cert_chain(to.files["CLIENT_CERTIFICATE"], to.files.get("CLIENT_KEY"))
    return context


def _retry_after_s(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait; None without one."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


class ExporterSender:
    """Any SpanExporter of OpenTelemetry's. *make* is called in each process that sends, where the exporter must not be shared by forks.

    A failure is final for an exporter that was passed in, and worth trying again (``again``) for OTLP over gRPC.
    """

    def __init__(self, make: Callable[[], SpanExporter], again: bool = False) -> None:
        self._make, self._again = make, again
        self._exporter: SpanExporter | None = None

    def send(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """Export *spans*."""
        if self._exporter is None:
            self._exporter = self._make()
        if self._exporter.export(spans) is SpanExportResult.SUCCESS:
            return Delivery()
        return Delivery(len(spans), "refused", self._again)

    def close(self) -> None:
        """Shut the exporter down."""
        if self._exporter is not None:
            self._exporter.shutdown()


def sender(to: Target) -> Sender:
    """A sender to *to*, whose ``url`` is not None."""
    if to.protocol == "grpc":
        return ExporterSender(lambda: Presenting(_grpc_exporter(to.url)), again=True)
    return HttpSender(to)


def exporter() -> SpanExporter:
    """The SDK's OTLP exporter that the environment asks for, for pipelines of OpenTelemetry's own; raises ImportError naming a package."""
    to = target("")
    assert to is not None
    if to.protocol == "grpc" and to.url is not None:
        return Presenting(_grpc_exporter(None))
    if to.url is None:
        raise ImportError("; ".join(to.notes))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Presenting(OTLPSpanExporter())


def _grpc_exporter(url: str | None) -> SpanExporter:
    """OpenTelemetry's own, which reads headers, compression, timeout and certificates from the environment itself."""
    module = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    made: SpanExporter = module.OTLPSpanExporter(endpoint=url)
    return made
