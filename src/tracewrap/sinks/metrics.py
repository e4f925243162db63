"""Calls as OpenTelemetry metrics: duration, tokens, and beside them denoised and idealized runtime, contention and cost.

Names of the GenAI conventions of 2026 (``latest``), those of semantic conventions 1.41, which many dashboards still read (``v1.41``),
or ``both``. Every recorded call is in them, whatever the program's sampling keeps.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from tracewrap import semconv, systems
from tracewrap.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

logger = logging.getLogger("tracewrap")

Naming = Literal["latest", "v1.41", "both"]
NAMINGS: tuple[Naming, ...] = ("latest", "v1.41", "both")

SECONDS = tuple(0.01 * 2**i for i in range(14))
TOKENS = tuple(4**i for i in range(14))
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
_DIMENSIONS = (
    semconv.OPERATION,
    semconv.PROVIDER,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_MODEL,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
)
_COUNTERS = (
    ("input_tokens", semconv.INPUT_TOKENS),
    ("output_tokens", semconv.OUTPUT_TOKENS),
    ("cache_read.input_tokens", semconv.CACHE_READ),
    ("cache_write.input_tokens", semconv.CACHE_WRITE),
    ("reasoning.output_tokens", semconv.REASONING),
)
_OURS = (
    ("tracewrap.client.runtime.denoised", semconv.RUNTIME_DENOISED, "s"),
    ("tracewrap.client.runtime.idealized", semconv.RUNTIME_IDEALIZED, "s"),
    ("tracewrap.client.contention", semconv.CONTENTION_SECONDS, "s"),
    ("tracewrap.client.cost.list", semconv.COST_LIST, "{USD}"),
    ("tracewrap.client.cost.idealized", semconv.COST_IDEALIZED, "{USD}"),
)

NET_CONTENTION = "tracewrap.client.contention.net"
PARTS = "tracewrap.client.split"
VERDICTS = "tracewrap.client.verdicts"
_PARTS = (
    ("retries", semconv.RETRY),
    ("pool", semconv.CLIENT_POOL),
    ("sdk", semconv.CLIENT_SDK),
    ("lag", semconv.SPLIT_LAG),
    ("network", semconv.NETWORK),
    ("admission", semconv.SPLIT_ADMISSION),
    ("model", semconv.SPLIT_MODEL),
    ("contention", semconv.SPLIT_CONTENTION),
    ("unexplained", semconv.SPLIT_UNEXPLAINED),
)
"""Parts of raw runtime and the attributes that hold their seconds."""
DESCRIPTIONS = {
    "tracewrap.client.runtime.denoised": "Runtime that the same call takes through the same interface on a quiet day.",
    "tracewrap.client.runtime.idealized": "Runtime of the same model and tokens on the reference stack, with nobody else on it.",
    "tracewrap.client.contention": "Seconds beyond the quiet day, 0 where the call was faster.",
    NET_CONTENTION: "Sum of seconds beyond the quiet day, less the seconds by which other calls were faster.",
    PARTS: "Seconds of runtime by the part they were spent in; of one call the parts add up to its runtime.",
    VERDICTS: "Calls by who made them slow: us, network, provider, or nobody but the model.",
    "tracewrap.client.cost.list": "US dollars of the call's tokens by the vendor's list price.",
    "tracewrap.client.cost.idealized": "US dollars of the idealized runtime at the reference stack's price.",
    "tracewrap.client.lost": "Calls that did not reach a place they were meant for, by reason.",
    "gen_ai.client.token.usage": "Tokens of a call, input or output.",
}
_DESCRIBED_BY_END = {
    "cache_read.input_tokens": "Input tokens that the provider read from its prompt cache.",
    "cache_write.input_tokens": "Input tokens that the provider wrote to its prompt cache.",
    "reasoning.output_tokens": "Output tokens spent on reasoning.",
    "duration": "Runtime of a call, retries included, as the program saw it.",
    "time_to_first_chunk": "Time from the request to the first chunk of a streamed answer.",
    "time_per_output_chunk": "Time from a chunk of a streamed answer to the next.",
    "input_tokens": "Input tokens, cached ones included.",
    "output_tokens": "Output tokens, reasoning ones included.",
}


class Metrics(SpanExporter):
    """Records each LLM span; *provider*: where to, else the program's own, else one of ours that exports by OTLP.

    Raises ConfigurationError for a *naming* that does not exist.
    """

    def __init__(self, provider: metrics.MeterProvider | None = None, naming: str = "latest") -> None:
        if naming not in NAMINGS:
            raise ConfigurationError(f"semconv_metrics is {naming!r}; there is {', '.join(NAMINGS)}")
        self._latest, self._old = naming != "v1.41", naming != "latest"
        self._own: MeterProvider | None = None
        if provider is None:
            provider = self._own = _own_provider()
        self._meter = (provider or metrics.get_meter_provider()).get_meter(
            semconv.SCOPE, semconv.scope_version(), semconv.schema_url(naming)
        )
        self._instruments: dict[str, Any] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Record the calls among *spans*."""
        for span in spans:
            attributes = span.attributes
            if attributes and _is_call(attributes) and span.context and span.start_time and span.end_time:
                self.record(attributes, (span.end_time - span.start_time) / 1e9, span.context)
        return SpanExportResult.SUCCESS

    def record(
        self, attributes: Mapping[str, Any], duration_s: float, span: SpanContext, chunk_gaps_s: Sequence[float] = ()
    ) -> None:
        """Record a call with these *attributes*; *span* is what an exemplar of it leads to.

        *chunk_gaps_s*: seconds from each chunk of a stream to the next.
        """
        token = otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
        try:
            self._record(attributes, duration_s, chunk_gaps_s)
        finally:
            otel_context.detach(token)

    def lost(self, place: str, reason: str, count: int) -> None:
        """*count* calls did not reach *place*."""
        self._counter(
            "tracewrap.client.lost", "{call}", count, {semconv.LOST_PLACE: place, semconv.LOST_REASON: reason}
        )

    def shutdown(self, timeout_s: float = 5.0) -> None:
        """Export what is left, if the provider is ours; waits *timeout_s* at most, whatever the receiver does."""
        if self._own is not None:
            own = self._own
            _within(timeout_s, lambda: own.shutdown(max(1.0, timeout_s * 1000)))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export now, if the provider is ours; waits so long at most, whatever the receiver does."""
        own = self._own
        return own is None or _within(timeout_millis / 1000, lambda: own.force_flush(timeout_millis))

    def _record(self, read: Mapping[str, Any], duration_s: float, chunk_gaps_s: Sequence[float]) -> None:
        known = {name: read[name] for name in _DIMENSIONS if name in read}
        failed = {semconv.ERROR_TYPE: read[semconv.ERROR_TYPE]} if semconv.ERROR_TYPE in read else {}
        operation = known[semconv.OPERATION]
        family = {"embeddings": "embeddings"}.get(operation, "inference")
        first = read.get(semconv.TIME_TO_FIRST_CHUNK)
        # What a batch answered, or a poll brought, has tokens and a price and took no time of this program's.
        for prefix in () if read.get(semconv.BATCH) else self._families(family):
            if duration_s > 0.0:  # a test's clock that stood still measured nothing
                self._histogram(f"{prefix}.duration", "s", SECONDS, duration_s, known | failed)
            if first is not None:
                self._histogram(f"{prefix}.time_to_first_chunk", "s", SECONDS, first, known)
            for gap_s in chunk_gaps_s:
                self._histogram(f"{prefix}.time_per_output_chunk", "s", SECONDS, gap_s, known)
        if not failed:
            self._tokens(read, known, family)
        for name, source, unit in _OURS:
            value = read.get(source)
            if value is None:
                continue
            labels = known
            if source in (semconv.RUNTIME_IDEALIZED, semconv.COST_IDEALIZED) and semconv.REFERENCE_STACK in read:
                labels = known | {semconv.REFERENCE_STACK: read[semconv.REFERENCE_STACK]}
            if unit == "s":
                # Contention below 0 (faster than on a quiet day) is 0 here: a histogram of durations has no room for it.
                self._histogram(name, unit, SECONDS, max(0.0, value), labels)
            else:
                self._counter(name, unit, value, labels)
        if (contention := read.get(semconv.CONTENTION_SECONDS)) is not None:
            self._sum(NET_CONTENTION, "s", contention, known)
        self._split(read, known)

    def _split(self, read: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        """Seconds by part, of calls that have a quiet day to compare with, and calls by who made them slow."""
        if semconv.SPLIT_MODEL in read:
            for part, source in _PARTS:
                if read.get(source):
                    self._sum(PARTS, "s", read[source], {**known, semconv.SPLIT_PART: part})
        if semconv.SPLIT_VERDICT in read:
            who = {name: read[name] for name in (semconv.SPLIT_VERDICT, semconv.SPLIT_KIND) if name in read}
            self._counter(VERDICTS, "{call}", 1, {**known, **who})

    def _families(self, family: str) -> list[str]:
        latest = [f"gen_ai.client.{family}"] if self._latest else []
        return [*latest, *(["gen_ai.client.operation"] if self._old else [])]

    def _tokens(self, read: Mapping[str, Any], known: dict[str, Any], family: str) -> None:
        counts = {name: read[name] for _, name in _COUNTERS if name in read}
        if self._latest:
            for short, source in _COUNTERS if family == "inference" else _COUNTERS[:1]:
                if source not in counts:
                    continue
                if family == "inference":
                    for modality, value in _modalities(source, counts[source], read):
                        labels = known | {"gen_ai.token.modality": modality}
                        self._counter(f"gen_ai.client.inference.usage.{short}", "{token}", value, labels)
                if source in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS):
                    name = f"gen_ai.client.{family}.operation.{short}"
                    self._histogram(name, "{token}", TOKENS, counts[source], known)
        if self._old:
            for kind, source in (("input", semconv.INPUT_TOKENS), ("output", semconv.OUTPUT_TOKENS)):
                if source in counts:
                    labels = known | {"gen_ai.token.type": kind}
                    self._histogram("gen_ai.client.token.usage", "{token}", TOKENS, counts[source], labels)

    def _histogram(
        self, name: str, unit: str, bounds: Sequence[float], value: float, labels: Mapping[str, Any]
    ) -> None:
        found = self._instruments.get(name)
        if found is None:
            found = self._instruments[name] = self._meter.create_histogram(
                name, unit, _described(name), explicit_bucket_boundaries_advisory=list(bounds)
            )
        found.record(value, labels)

    def _sum(self, name: str, unit: str, value: float, labels: Mapping[str, Any]) -> None:
        """Add to a sum that may fall."""
        found = self._instruments.get(name)
        if found is None:
            found = self._instruments[name] = self._meter.create_up_down_counter(name, unit, _described(name))
        found.add(value, labels)

    def _counter(self, name: str, unit: str, value: float, labels: Mapping[str, Any]) -> None:
        found = self._instruments.get(name)
        if found is None:
            found = self._instruments[name] = self._meter.create_counter(name, unit, _described(name))
        found.add(value, labels)


def _within(timeout_s: float, work: Callable[[], object]) -> bool:
    """Do *work* on a thread of its own and wait for it *timeout_s* at most: OpenTelemetry's exporter keeps to its own timeout, not to ours.

    Returns whether it was done by then, without an error and without saying that it failed.
    """
    done: list[bool] = []

    def run() -> None:
        try:
            done.append(work() is not False)
        except Exception:
            logger.debug("metrics were not exported", exc_info=True)

    thread = systems.OwnThread("metrics", run)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending: no new threads
        run()
    else:
        thread.join(timeout_s)
    return done == [True]


def _described(name: str) -> str:
    """What a metric is, in a sentence: Prometheus shows it as its help text."""
    return DESCRIPTIONS.get(name) or next(text for end, text in _DESCRIBED_BY_END.items() if name.endswith(end))


def _is_call(attributes: Mapping[str, Any]) -> bool:
    return attributes.get(semconv.OPERATION) not in (None, *semconv.OTHER_OPERATIONS)


def _modalities(source: str, total: int, read: Mapping[str, Any]) -> list[tuple[str, int]]:
    """*total* tokens by modality; ``unknown`` where the provider does not split them."""
    split = {
        semconv.INPUT_TOKENS: (("audio", semconv.AUDIO_INPUT), ("image", semconv.IMAGE_INPUT)),
        semconv.OUTPUT_TOKENS: (("audio", semconv.AUDIO_OUTPUT),),
    }.get(source, ())
    parts = [(modality, read[name]) for modality, name in split if name in read]
    if not parts:
        return [("unknown", total)]
    rest = max(0, total - sum(value for _, value in parts))
    return [("text", rest), *((modality, value) for modality, value in parts if value)]


def _own_provider() -> MeterProvider | None:
    """A provider that exports by OTLP, where the environment says where to and the program has set none; else None."""
    theirs = metrics.get_meter_provider()
    if hasattr(theirs, "force_flush") or not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    wanted = {name.strip() for name in os.environ.get("OTEL_METRICS_EXPORTER", "").split(",")} - {""}
    exporter = _exporter() if not wanted or wanted & {"otlp", "otlp_proto_http", "otlp_proto_grpc"} else None
    if exporter is None:
        return None
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    with systems.signals_elsewhere():
        return MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)


def _exporter() -> Any:
    """OpenTelemetry's exporter of metrics for the protocol that the environment names; None where its package is missing."""
    names = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((os.environ[name] for name in names if os.environ.get(name)), "http/protobuf")
    kind = {"grpc": "grpc", "http/protobuf": "http"}.get(protocol)
    try:
        return importlib.import_module(f"opentelemetry.exporter.otlp.proto.{kind}.metric_exporter").OTLPMetricExporter()
    except ImportError:
        logger.warning("metrics are not exported: there is no exporter for the protocol %r of OTLP", protocol)
        return None
