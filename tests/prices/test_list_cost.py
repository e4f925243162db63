"""List cost of one call, live: by hand, absent where it is unknown, on the span with its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracewrap
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.prices.book import PriceBook
from tracewrap.prices.list_cost import Pricer, load_pricer
from tracewrap.records import Call, TokenUsage
from tracewrap.semconv import COST_LIST, COST_LIST_SOURCE, call_attributes

DAY_NS = 1_795_132_800 * 10**9
"""2026-11-20."""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """10 $ a million input tokens, 1 $ cached, 30 $ output; 20 $ and 60 $ from the 21st on."""
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[prices]]\nmodel = "m"\ninput_usd_per_million = 10\noutput_usd_per_million = 30\ncached_input_usd_per_million = 1\n'
        '[[prices]]\nmodel = "m"\ninput_usd_per_million = 20\noutput_usd_per_million = 60\nfrom = 2026-11-21\n'
    )
    return str(path)


def call(usage: TokenUsage | None, start: int = DAY_NS, operation: str = "chat", model: str = "m") -> Call:
    """A call that began at *start*."""
    return Call(
        trace_id="t",
        span_id="s",
        start_time_ns=start,
        provider="p",
        operation=operation,
        response_model=model,
        usage=usage,
        raw_runtime_s=1.0,
    )


def test_by_hand(file: str) -> None:
    """1000 input tokens of which 400 cached and 100 output: 600 x 10 + 400 x 1 + 100 x 30 = 9400 dollars a million."""
    pricer = Pricer(PriceBook(file))
    (joined,) = tracewrap.join([call(TokenUsage(1000, 100, cached_input_tokens=400))], Catalog(), pricer)
    assert joined.list_cost_usd == pytest.approx(9400e-6)
    (later,) = tracewrap.join([call(TokenUsage(1000, 100), DAY_NS + 86_400 * 10**9)], Catalog(), pricer)
    assert later.list_cost_usd == pytest.approx(26_000e-6)


def test_billed_tokens_are_what_costs(file: str) -> None:
    """Where the vendor bills other counts than the model processed, those."""
    usage = TokenUsage(1000, 100, billed_input_tokens=10, billed_output_tokens=1)
    (joined,) = tracewrap.join([call(usage)], Catalog(), Pricer(PriceBook(file)))
    assert joined.list_cost_usd == pytest.approx(130e-6)


@pytest.mark.parametrize(
    ("usage", "operation", "model"),
    [
        (None, "chat", "m"),
        (TokenUsage(10, None), "chat", "m"),
        (TokenUsage(None, 10), "chat", "m"),
        (TokenUsage(10, 1), "chat", "unheard-of-model"),
    ],
)
def test_unknown_is_absent(file: str, usage: TokenUsage | None, operation: str, model: str) -> None:
    """No tokens, half of them, or no price: no cost, never 0."""
    pricer = Pricer(PriceBook(file))
    assert pricer.cost(call_attributes(call(usage, operation=operation, model=model)), DAY_NS) is None
    (joined,) = tracewrap.join([call(usage, model=model)], Catalog())
    assert joined.list_cost_usd is None


def test_embeddings_have_no_output(file: str) -> None:
    """Input tokens alone price a call that generates nothing."""
    found = Pricer(PriceBook(file)).cost(call_attributes(call(TokenUsage(100, None), operation="embeddings")), DAY_NS)
    assert found == (pytest.approx(1000e-6), f"user file {file}")


def test_on_the_span_with_its_source(file: str) -> None:
    """The exporter writes dollars and whose price it is; a span without tokens gets neither."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = JoiningExporter(memory, Catalog(), prices=lambda: load_pricer(file))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tracewrap")
    for usage in (TokenUsage(1000, 100), None):
        tracer.start_span("chat m", attributes=call_attributes(call(usage)), start_time=DAY_NS).end(DAY_NS + 10**9)
    priced, unpriced = (dict(span.attributes or {}) for span in memory.get_finished_spans())
    assert (priced[COST_LIST], priced[COST_LIST_SOURCE]) == (pytest.approx(13_000e-6), f"user file {file}")
    assert COST_LIST not in unpriced
    assert exporter.failures == 0


def test_a_mistake_in_the_file_is_told_when_configured(tmp_path: Path) -> None:
    """Not on the exporting thread, where nobody would see it."""
    path = tmp_path / "prices.toml"
    path.write_text('[[prices]]\nmodel = "m"\n')
    with pytest.raises(ConfigurationError, match=r"prices\[0\]: needs input_usd_per_million"):
        tracewrap.configure(prices=str(path))
