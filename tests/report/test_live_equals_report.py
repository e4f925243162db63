"""What the live join puts on a span is what the report makes of the record: tokens, dollars, runtimes, verdict; over random calls."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report, semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.live.window import Window
from tracewrap.prices.list_cost import load_pricer
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack

genai_prices = pytest.importorskip("genai_prices")
MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.1"),
    ("openai", "gpt-4.1"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-5"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("gcp.gemini", "gemini-2.5-flash"),
    ("perplexity", "sonar"),
    ("openai", "house-7b"),
)


def random_usage(rng: random.Random) -> TokenUsage:
    """Any usage: parts that overlap or contradict the totals, fees, billed counts of their own, or nothing but totals."""
    p, o = rng.choice((0, 7, 5_000, 250_000)), rng.choice((0, 1, 900))
    parts: dict[str, int] = {}
    for field in semconv.DETAILS:
        if rng.random() < 0.12:
            most = {"input": p, "output": o, None: 3}[field.part_of]
            parts[field.name] = rng.randrange(most + 2)
    if rng.random() < 0.15:
        parts |= {"billed_input_tokens": rng.randrange(p + 1), "billed_output_tokens": rng.randrange(o + 1)}
    source: Any = rng.choice(("reported", "reported", "estimated"))
    return TokenUsage(p, o, **parts, source=source)


def random_call(rng: random.Random, number: int) -> Call:
    """Any call of any model in any terms, in any outcome."""
    provider, model = rng.choice(MODELS)
    return call(
        number,
        rng.uniform(0, 24),
        provider=provider,
        request_model=rng.choice((model, "alias")),
        response_model=rng.choice((model, model, f"{model}-2099-01-01", None)),
        usage=rng.choice((None, *[random_usage(rng)] * 5)),
        service_tier=rng.choice((*[None] * 6, "default", "flex", "batch", "priority", "PRIORITY", "scale")),
        speed=rng.choice((*[None] * 9, "fast")),
        region=rng.choice((*[None] * 9, "us", "global", "eu")),
        raw_runtime_s=rng.uniform(0.1, 9.0),
        outcome=rng.choice(("complete", "complete", "complete", "partial", "error", "cancelled")),
        client_pool_s=rng.choice((None, 0.0, 2.0)),
        tags={"n": str(number)},
    )


def made_catalog(calls: list[Call]) -> Catalog:
    """A quiet day of most deployments and a reference stack of every model."""
    models = {
        name: RuntimeProfile(id=f"r-{name}", model=name, prompt_knots=((1.0, 0.01), (1e5, 4.0)), d0=0.001)
        for _, name in MODELS
    }
    keys = sorted({one.deployment.key for one in calls})
    quiet = {
        key: RuntimeProfile(id=f"d{i}", model="m", prompt_knots=((1.0, 0.02), (1e5, 5.0)), d0=0.002, overhead_s=0.05)
        for i, key in enumerate(keys)
        if i % 4
    }
    return Catalog(stacks=(ReferenceStack(id="s", gpu="g", precision="bf16", profiles=models),), denoised=quiet)


def near(value: float | None) -> Any:
    """What equals *value* to 1e-9, or is absent as it is."""
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", [20, 21, 22])
def test_live_equals_report(tmp_path: Path, seed: int) -> None:
    """Call by call: the span's tokens, list cost, runtimes, contention and verdict are the report's row of that call alone."""
    rng = random.Random(seed)
    calls = [random_call(rng, number) for number in range(1, 101)]
    catalog = made_catalog(calls)
    join = LiveJoin(catalog, load_pricer)
    log = write_log(tmp_path / "log.jsonl", calls)
    built = report.build(str(log), catalog=catalog, group_by=["n"], now_ns=DAY_NS * 2, learn=False)
    rows = {row["key"]["n"]: row for row in built["groups"][0]["rows"]}
    priced = compared = 0
    for one in calls:
        row = rows[one.tags["n"]]
        span = join.joined(dict(semconv.call_attributes(one)), one.start_time_ns, lambda: None)
        assert span is not None
        read = span.get
        usage = one.usage or TokenUsage()
        assert (row["input_tokens"], row["output_tokens"]) == (usage.input_tokens or 0, usage.output_tokens or 0)
        assert row["list_cost_usd"] == near(read(semconv.COST_LIST)), one
        priced += read(semconv.COST_LIST) is not None
        if one.outcome != "complete":  # figures of runtime are over complete calls
            assert row["denoised"]["n"] == 0
            continue
        assert row["denoised"]["p50_s"] == near(read(semconv.RUNTIME_DENOISED))
        assert row["references"][0]["idealized"]["p50_s"] == near(read(semconv.RUNTIME_IDEALIZED))
        assert row["contention"]["seconds"] == near(read(semconv.CONTENTION_SECONDS))
        if one.usage is not None:  # a report counts verdicts over the calls that can be compared
            slow_by = read(semconv.SPLIT_VERDICT, "unknown")
            assert {who: n for who, n in row["split"]["calls"].items() if n} == {slow_by: 1}
        compared += read(semconv.RUNTIME_DENOISED) is not None
    assert priced > 20
    assert compared > 20
    assert join.failures == 0


def test_what_failed_is_counted(tmp_path: Path) -> None:
    """Refused, failed, cancelled and partial calls are counted as what they are, in the report and in top, and priced if they were paid."""
    base = random_call(random.Random(1), 1)
    usage = TokenUsage(1_000_000, 0)
    outcomes = ["complete", "error", "error", "cancelled", "partial"]
    calls = [
        dataclasses.replace(
            base,
            **{"trace_id": f"{n:032x}", "span_id": f"{n:016x}", "outcome": outcome, "provider": "openai"},
            **{"request_model": "gpt-4o", "response_model": None, "service_tier": None, "speed": None, "region": None},
            usage=usage if outcome == "error" else None,
        )
        for n, outcome in enumerate(outcomes, 1)
    ]
    log = write_log(tmp_path / "log.jsonl", calls)
    totals = report.build(str(log), catalog=Catalog(), now_ns=DAY_NS * 2, learn=False)["totals"]
    names = (
        "calls",
        "complete_calls",
        "failed_calls",
        "cancelled_calls",
        "partial_calls",
        "error_share",
        "priced_calls",
    )
    assert [totals[name] for name in names] == [5, 1, 2, 1, 1, 0.4, 2]  # type: ignore[literal-required]
    assert totals["list_cost_usd"] == pytest.approx(5.0)
    window = Window(1e6)
    for line in log.read_bytes().splitlines():
        window.add(line, DAY_NS + 86_400 * 10**9)
    total, _ = window.rows(DAY_NS + 86_400 * 10**9, "model", "calls")
    assert (total["calls"], total["error_share"]) == (5, 0.4)
