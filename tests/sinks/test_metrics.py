"""Metrics of calls: the conventions' names, units and attributes; values by hand; nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanContext

import tracewrap
from fake_vendor import FakeVendor, Fault
from tracewrap import semconv, testing
from tracewrap.capture.state import state
from tracewrap.errors import ConfigurationError
from tracewrap.records import Call, TokenUsage
from tracewrap.settings import settings
from tracewrap.sinks import metrics as metrics_sink
from tracewrap.sinks.metrics import Metrics

START = 1_795_132_800 * 10**9
ESTIMATES = {
    semconv.RUNTIME_DENOISED: 1.5,
    semconv.RUNTIME_IDEALIZED: 0.5,
    semconv.CONTENTION_SECONDS: 0.5,
    semconv.COST_LIST: 0.002,
}


def call(**changes: Any) -> Call:
    """A chat call of two seconds."""
    base: dict[str, Any] = {
        "trace_id": "t",
        "span_id": "s",
        "start_time_ns": START,
        "provider": "openai",
        "operation": "chat",
        "request_model": "m",
        "response_model": "m-1",
        "server_address": "api.openai.com",
        "server_port": 443,
        "usage": TokenUsage(100, 10, cached_input_tokens=40),
        "raw_runtime_s": 2.0,
    }
    return Call(**(base | changes))


def metrics_of(*calls: Call, naming: str = "latest", extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Metric name to metric, of *calls* of two seconds each."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Metrics(meters, naming)))
    for one in calls:
        attributes = semconv.call_attributes(one) | (extra or {})
        span = provider.get_tracer("tracewrap").start_span("x", attributes=attributes, start_time=START)
        span.end(START + 2 * 10**9)
    data = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics if data else []
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def points(metric: Any) -> list[tuple[dict[str, Any], float]]:
    """(attributes, sum) of each point."""
    return [
        (dict(p.attributes), getattr(p, "sum", None) if hasattr(p, "sum") else p.value) for p in metric.data.data_points
    ]


BASE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "m",
    "gen_ai.response.model": "m-1",
    "server.address": "api.openai.com",
    "server.port": 443,
}


def test_latest_names() -> None:
    """Duration and token histograms, counters by modality, and our own beside them; two calls add up."""
    found = metrics_of(call(), call(), extra=ESTIMATES)
    assert set(found) == {
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "tracewrap.client.runtime.denoised",
        "tracewrap.client.runtime.idealized",
        "tracewrap.client.contention",
        "tracewrap.client.contention.net",
        "tracewrap.client.cost.list",
    }
    assert all(metric.description for metric in found.values())
    duration = found["gen_ai.client.inference.duration"]
    assert (duration.unit, points(duration)) == ("s", [(BASE, 4.0)])
    (point,) = duration.data.data_points
    assert point.explicit_bounds[:4] == (0.01, 0.02, 0.04, 0.08)
    tokens = found["gen_ai.client.inference.usage.input_tokens"]
    assert (tokens.unit, points(tokens)) == ("{token}", [(BASE | {"gen_ai.token.modality": "unknown"}, 200)])
    assert points(found["gen_ai.client.inference.operation.output_tokens"]) == [(BASE, 20)]
    assert points(found["tracewrap.client.runtime.denoised"]) == [(BASE, 3.0)]
    assert points(found["tracewrap.client.cost.list"]) == [(BASE, pytest.approx(0.004))]


def test_names_of_v1_41() -> None:
    """One token histogram with a type, as dashboards of that time expect."""
    found = metrics_of(call(stream=True, time_to_first_chunk_s=0.25), naming="v1.41")
    assert set(found) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
    }
    by_type = {labels["gen_ai.token.type"]: total for labels, total in points(found["gen_ai.client.token.usage"])}
    assert by_type == {"input": 100, "output": 10}
    assert points(found["gen_ai.client.operation.time_to_first_chunk"]) == [(BASE, 0.25)]
    both = metrics_of(call(), naming="both")
    assert {"gen_ai.client.operation.duration", "gen_ai.client.inference.duration"} <= set(both)


def test_modalities_where_the_provider_splits_them() -> None:
    """100 input tokens of which 30 audio: 70 text, 30 audio."""
    found = metrics_of(call(usage=TokenUsage(100, 10, audio_input_tokens=30)))
    split = points(found["gen_ai.client.inference.usage.input_tokens"])
    assert sorted((labels["gen_ai.token.modality"], total) for labels, total in split) == [("audio", 30), ("text", 70)]


def test_failed_calls_have_a_duration_and_no_tokens() -> None:
    """The error is a label of the duration; token histograms do not hold failed calls."""
    found = metrics_of(call(outcome="error", error_type="RateLimitError"))
    assert set(found) == {"gen_ai.client.inference.duration"}
    ((labels, total),) = points(found["gen_ai.client.inference.duration"])
    assert (labels["error.type"], total) == ("RateLimitError", 2.0)


def test_embeddings_have_names_of_their_own() -> None:
    """Duration and input tokens of embeddings are not mixed with inference."""
    found = metrics_of(call(operation="embeddings", usage=TokenUsage(100, None)))
    assert set(found) == {"gen_ai.client.embeddings.duration", "gen_ai.client.embeddings.operation.input_tokens"}


def test_faster_than_a_quiet_day_is_no_negative_duration() -> None:
    """A histogram of seconds holds 0 for contention below 0."""
    found = metrics_of(call(), extra={semconv.CONTENTION_SECONDS: -0.3})
    assert points(found["tracewrap.client.contention"]) == [(BASE, 0.0)]


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off unless asked for; an unknown naming is refused by name."""
    assert settings().metrics is False
    monkeypatch.setenv("TRACEWRAP_METRICS", "true")
    assert settings().metrics is True
    with pytest.raises(ConfigurationError, match=r"semconv_metrics=\.\.\.\) is 'v1'; there is latest, v1\.41, both"):
        tracewrap.configure(metrics=True, semconv_metrics="v1")


def test_contention_has_a_signed_sum() -> None:
    """Calls faster than on a quiet day take from it; the histogram of durations holds them as 0."""
    slow = metrics_of(call(), extra={semconv.CONTENTION_SECONDS: 0.5})
    fast = metrics_of(call(), call(), extra={semconv.CONTENTION_SECONDS: -0.25})
    assert points(slow["tracewrap.client.contention.net"]) == [(BASE, 0.5)]
    assert points(fast["tracewrap.client.contention.net"]) == [(BASE, -0.5)]
    assert points(fast["tracewrap.client.contention"]) == [(BASE, 0.0)]


def test_the_reference_stack_is_a_label_of_what_is_idealized() -> None:
    """Two stacks, or a changed one, are two series; what the provider took has no such label."""
    extra = ESTIMATES | {semconv.COST_IDEALIZED: 0.001, semconv.REFERENCE_STACK: "h100"}
    found = metrics_of(call(), extra=extra)
    for name in ("tracewrap.client.runtime.idealized", "tracewrap.client.cost.idealized"):
        assert points(found[name])[0][0] == BASE | {"tracewrap.reference.stack": "h100"}
    assert points(found["tracewrap.client.runtime.denoised"])[0][0] == BASE


def test_seconds_by_part_and_calls_by_who_made_them_slow() -> None:
    """Each known part of a call beside its quiet day, the parts that are 0 left out; the verdict with what of ours it was."""
    parts = {semconv.CLIENT_POOL: 0.4, semconv.CLIENT_SDK: 0.0, semconv.NETWORK: 0.1, semconv.SPLIT_MODEL: 1.4}
    verdict = {semconv.SPLIT_VERDICT: "us", semconv.SPLIT_KIND: "pool"}
    found = metrics_of(call(), call(), extra={**parts, semconv.SPLIT_CONTENTION: 0.1, **verdict})
    seconds = {labels[semconv.SPLIT_PART]: value for labels, value in points(found["tracewrap.client.split"])}
    assert seconds == pytest.approx({"pool": 0.8, "network": 0.2, "model": 2.8, "contention": 0.2})
    assert points(found["tracewrap.client.verdicts"]) == [(BASE | verdict, 2)]
    assert "tracewrap.client.split" not in metrics_of(call(), extra={semconv.CLIENT_POOL: 0.4})


@pytest.mark.parametrize(
    ("variables", "own"),
    [
        ({}, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_the_environment_decides_whether_and_how_metrics_are_exported(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], own: bool
) -> None:
    """OTEL_METRICS_EXPORTER switches them off; a protocol that there is no exporter for is not spoken to in another."""
    for name, value in ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} | variables).items():
        monkeypatch.setenv(name, value)
    made = metrics_sink._own_provider()
    if made is not None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        made.shutdown(timeout_millis=1)
    assert (made is not None) is own


def test_time_per_output_chunk() -> None:
    """One value for each chunk after the first, under the chosen names; where nobody looked, no metric."""
    reader = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader], shutdown_on_exit=False), "both")
    context = SpanContext(1, 2, False)
    sink.record(semconv.call_attributes(call(stream=True)), 2.0, context, [0.25, 0.5, 0.25])
    sink.record(semconv.call_attributes(call()), 2.0, context)
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics}
    for name in ("gen_ai.client.inference", "gen_ai.client.operation"):
        (point,) = found[f"{name}.time_per_output_chunk"].data.data_points
        assert (point.count, point.sum, point.attributes) == (3, 1.0, BASE)
    scope = data.resource_metrics[0].scope_metrics[0].scope
    assert (scope.version, data.resource_metrics[0].scope_metrics[0].schema_url) == (
        semconv.scope_version(),
        semconv.SCHEMA_URL,
    )


@pytest.mark.parametrize("raw", [False, True])
def test_chunks_are_timed_where_metrics_are_on(raw: bool, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stream, SDK's or raw, one gap less than chunks, which add up to the time from the first to the last; else none is kept."""
    openai = pytest.importorskip("openai")
    found = []
    for wanted in (True, False):
        monkeypatch.setattr(state, "chunk_gaps", wanted)
        with (
            testing.recording() as recorded,
            openai.OpenAI(api_key="k", base_url=vendor.openai_url, max_retries=0) as client,
        ):
            vendor.fail_next(Fault(chunk_delay_s=0.01))
            create = tracewrap.wrap(client).responses
            create = create.with_raw_response if raw else create
            asked = create.create(model="m", input="a b", stream=True)
            chunks = len(list(asked.parse() if raw else asked))
            (record,) = recorded.records
        found.append(record.chunk_gaps_s)
        if wanted:
            assert len(record.chunk_gaps_s) == chunks - 1
            between = record.attributes[semconv.RUNTIME_RAW] - record.attributes[semconv.TIME_TO_FIRST_CHUNK]
            assert 0.01 * (chunks - 1) <= sum(record.chunk_gaps_s) <= between + 0.05
    assert found[1] == ()
