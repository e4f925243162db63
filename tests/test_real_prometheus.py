"""A real Prometheus: totals equal what was recorded, names are those of the examples, a spike leads to its trace."""

from __future__ import annotations

import time
import urllib.parse
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, TraceFlags

from real_servers import RealPrometheus, prometheus_with_receiver
from test_observability_examples import emitted, recorded_attributes
from tracewrap import semconv
from tracewrap.sinks.metrics import Metrics

pytestmark = pytest.mark.real
CALLS = 40


def query(server: RealPrometheus, expression: str) -> dict[str, float]:
    """Label values of the first label that differs -> value; here always one series."""
    found = server.get(f"query?query={urllib.parse.quote(expression)}")["result"]
    return {str(sorted(one["metric"].items())): float(one["value"][1]) for one in found}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Prometheus that took forty calls and as many failures, each of a sampled trace."""
    prometheus_with_receiver()
    with RealPrometheus(tmp_path_factory.mktemp("prometheus")) as server:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=server.otlp), export_interval_millis=600_000)
        meters = MeterProvider([reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        sink = Metrics(meters)
        for number in range(CALLS):
            for attributes in recorded_attributes():
                sink.record(attributes, 2.0, SpanContext(number + 1, 7, False, TraceFlags(TraceFlags.SAMPLED)))
        meters.shutdown()
        time.sleep(1.0)
        yield server


def test_totals(filled: RealPrometheus) -> None:
    """Calls, failures, tokens, seconds, dollars: as recorded; the service is the job."""
    expected = {
        'sum(gen_ai_client_inference_duration_seconds_count{job="shop"})': 2 * CALLS,
        'sum(gen_ai_client_inference_duration_seconds_count{error_type="RateLimitError"})': CALLS,
        "sum(gen_ai_client_inference_usage_input_tokens_total)": 100 * CALLS,
        "sum(gen_ai_client_inference_usage_cache_read_input_tokens_total)": 40 * CALLS,
        'sum(tracewrap_client_runtime_idealized_seconds_sum{tracewrap_reference_stack="stack"})': 0.5 * CALLS,
        "sum(tracewrap_client_cost_list_total)": 0.002 * CALLS,
        "sum(tracewrap_client_contention_net_seconds)": 0.5 * CALLS,
    }
    found = {expression: sum(query(filled, expression).values()) for expression in expected}
    assert found == pytest.approx(expected, rel=1e-12)


def test_names_are_those_the_examples_are_held_to(filled: RealPrometheus) -> None:
    """What the test of the examples takes for Prometheus's names is what the real one has."""
    named = {one for one in filled.get("label/__name__/values") if one.startswith(("gen_ai_", "tracewrap_"))}
    series, labels = emitted()
    assert named == series
    assert labels <= set(filled.get("labels"))


def test_a_spike_leads_to_its_trace(filled: RealPrometheus) -> None:
    """Exemplars of the duration histogram carry trace ids of the calls."""
    start, end = time.time() - 3600, time.time() + 3600
    text = urllib.parse.urlencode(
        {"query": "gen_ai_client_inference_duration_seconds_bucket", "start": start, "end": end}
    )
    found = [point for series in filled.get(f"query_exemplars?{text}") for point in series["exemplars"]]
    assert found
    assert {int(point["labels"]["trace_id"], 16) for point in found} <= set(range(1, CALLS + 1))
    assert semconv.SCOPE not in found[0]["labels"]
