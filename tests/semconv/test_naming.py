"""Whose names spans have when they leave the house; within it, and in the span log, the newest only; read back, all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracewrap
from fake_vendor import FakeVendor
from fake_wire import Answer
from tracewrap import semconv
from tracewrap.capture.state import state
from tracewrap.errors import ConfigurationError
from tracewrap.pipeline import shutdown
from tracewrap.sources import read_calls

anthropic = pytest.importorskip("anthropic")
NEW = {"gen_ai.provider.name", "gen_ai.usage.cache_write.input_tokens"}
OLD = {"gen_ai.system", "gen_ai.usage.cache_creation.input_tokens"}
NAMES = {"latest": NEW | {"gen_ai.usage.cache_creation.input_tokens"}, "v1.36": OLD, "both": NEW | OLD}
SCHEMAS = {"latest": semconv.SCHEMA_URL, "v1.36": "https://opentelemetry.io/schemas/1.36.0", "both": semconv.SCHEMA_URL}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What configure() sets is taken back."""
    monkeypatch.setattr(state, "naming", "latest")
    yield
    shutdown()


def ask(vendor: FakeVendor) -> None:
    """One call that writes 5 tokens to the cache."""
    vendor.answer = Answer(cache_write_tokens=5)
    with anthropic.Anthropic(api_key="k", base_url=vendor.url, max_retries=0) as client:
        tracewrap.wrap(client).messages.create(model="m", max_tokens=8, messages=[{"role": "user", "content": "a b"}])


def named(span: ReadableSpan) -> set[str]:
    """Those of the names in question that *span* has."""
    return (NEW | OLD) & set(span.attributes or {})


@pytest.mark.parametrize("naming", list(NAMES))
def test_exported_spans(naming: Any, vendor: FakeVendor, tmp_path: Path) -> None:
    """An exporter gets the chosen names and their schema; the span log has the newest alone, whatever is chosen."""
    memory = InMemorySpanExporter()
    pipeline = tracewrap.configure(memory, span_log=tmp_path / "log", semconv_spans=naming)
    ask(vendor)
    assert pipeline.flush(20)
    (span,) = memory.get_finished_spans()
    assert named(span) == NAMES[naming]
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.schema_url) == ("tracewrap", SCHEMAS[naming])
    assert span.instrumentation_scope.version == semconv.scope_version()
    (path,) = (tmp_path / "log").glob("*.jsonl")
    line = json.loads(path.read_text(encoding="utf-8"))
    (scope,) = line["resourceSpans"][0]["scopeSpans"]
    assert (scope["schemaUrl"], scope["scope"].get("version")) == (semconv.SCHEMA_URL, semconv.scope_version())
    assert (NEW | OLD) & {pair["key"] for pair in scope["spans"][0]["attributes"]} == NEW


@pytest.mark.parametrize("naming", list(NAMES))
def test_spans_of_the_programs_own_provider(naming: str, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own pipeline gets them too, with and without the joining exporter, which adds its estimates under any name."""
    plain, joining = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(plain))
    provider.add_span_processor(SimpleSpanProcessor(tracewrap.JoiningExporter(joining)))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(state, "naming", naming)
    ask(vendor)
    (span,), (joined,) = plain.get_finished_spans(), joining.get_finished_spans()
    assert named(span) == named(joined) == NAMES[naming]
    assert semconv.JOIN_STATUS in (joined.attributes or {})
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.schema_url == SCHEMAS[naming]


def test_values_change_with_names() -> None:
    """xAI was ``xai`` until 1.36; what was renamed within OpenAI's own attributes has its old name too."""
    known = {"gen_ai.provider.name": "x_ai", "openai.response.service_tier": "flex", "gen_ai.request.model": "m"}
    assert semconv.named(known, "v1.36") == {
        "gen_ai.system": "xai",
        "gen_ai.openai.response.service_tier": "flex",
        "gen_ai.request.model": "m",
    }
    assert semconv.named(known, "latest") is known


@pytest.mark.parametrize(("old", "new"), [("xai", "x_ai"), ("az.ai.openai", "azure.ai.openai"), ("openai", "openai")])
def test_old_names_are_read_as_new_ones(old: str, new: str, tmp_path: Path) -> None:
    """A span of 1.36 is the same call as one of today: provider and tier, from one span as from a file of them."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": old,
        "gen_ai.openai.response.service_tier": "flex",
        "gen_ai.usage.input_tokens": 5,
    }
    ids = {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1", "start_time_ns": 10**18}
    call = semconv.call_from_attributes(attributes, **ids, end_time_ns=10**18 + 5)
    assert call is not None
    assert (call.provider, call.service_tier) == (new, "flex")
    pairs = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
    span = {"traceId": ids["trace_id"], "spanId": ids["span_id"], "attributes": pairs, "startTimeUnixNano": str(10**18)}
    line = {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "endTimeUnixNano": str(10**18 + 5)}]}]}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")
    (read,) = read_calls(str(tmp_path))
    assert (read.provider, read.service_tier) == (new, "flex")


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the variable, the value and what there is."""
    monkeypatch.setenv("TRACEWRAP_SEMCONV_SPANS", "v1.0")
    with pytest.raises(ConfigurationError, match=r"TRACEWRAP_SEMCONV_SPANS is 'v1.0'; there is latest, v1.36, both"):
        tracewrap.configure()
