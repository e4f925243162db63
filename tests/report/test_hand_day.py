"""A day of thirteen spans whose every reported figure is computed by hand here.

Profiles (times in seconds, p input tokens, o output tokens)
    denoised of m-a:  T = 0.1 + 0.001 p + 0.01 (o - 1), interval none            (knots (0, 0), (1000, 1); overhead 0.1)
    stack "big":      T = 0.05 + 0.0001 p + 0.005 (o - 1), 2 GPUs at 3.6 $/h, 500 W each; interval exp(+-0.1)
                      so one second there costs 2 x 3.6 / 3600 = 0.002 $ and 1000 J
Prices (user file): m-a 10 $ per million input tokens, 1 $ cached, 30 $ output; m-b has no price and no profile.

 #  hour what                          p    o  raw  last  denoised                 idealized on big
 1   0   complete                    100   11  0.5  0.5   0.1+0.1+0.10 = 0.30      0.05+0.01+0.050 = 0.11
 2   0   complete                    200   21  0.5  0.5   0.1+0.2+0.20 = 0.50      0.05+0.02+0.100 = 0.17
 3   0   complete, tenant t2         300    1  0.9  0.9   0.1+0.3      = 0.40      0.05+0.03        = 0.08
 4   1   2 attempts, retry_s 2       100   11  2.6  0.6   0.30                     0.11
 5   1   400 of p cached, held 4 s    500   51  2.0  2.0   0.1+0.5+0.50 = 1.10      0.05+0.05+0.250 = 0.35
 6   1   estimated usage, tenant t2  100    1  0.4  0.4   0.20                     0.05+0.01        = 0.06
 7   2   p beyond 1000, pool 1.5    2000   11  4.2  4.2   0.1+2.0+0.10 = 2.20      0.05+0.20+0.050 = 0.30  (both extrapolated)
 8   2   error, RateLimitError         -    -  0.2  -     -                        -
 9   2   cancelled with usage        100   11  0.3  -     -                        -
10   2   partial with usage          100    5  0.7  -     -                        -
11   3   complete, no usage            -    -  1.1  -     -                        -
12   3   model m-b at anthropic       50   10  3.0  -     -                        -
13   3   embeddings by m-a            40    -  0.1  -     -                        -
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.report.questions.checks import Limit, judge
from tracewrap.report.render.formats import render
from tracewrap.report.render.table import render_table
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack

NOW_NS = DAY_NS + 30 * 3600 * 10**9


def usage(p: int, o: int | None, **changes: Any) -> TokenUsage:
    """Reported token counts."""
    return TokenUsage(input_tokens=p, output_tokens=o, **changes)


def calls() -> list[Call]:
    """The thirteen calls of the table above."""
    return [
        call(1, 0.1, usage=usage(100, 11), raw_runtime_s=0.5, tags={"tenant": "t1"}),
        call(2, 0.2, usage=usage(200, 21), raw_runtime_s=0.5, tags={"tenant": "t1"}),
        call(3, 0.3, usage=usage(300, 1), raw_runtime_s=0.9, tags={"tenant": "t2"}),
        call(4, 1.1, usage=usage(100, 11), raw_runtime_s=2.6, retry_s=2.0, attempts=2),
        call(5, 1.2, usage=usage(500, 51, cached_input_tokens=400), raw_runtime_s=2.0, consumer_s=4.0),
        call(6, 1.3, usage=usage(100, 1, source="estimated"), raw_runtime_s=0.4, tags={"tenant": "t2"}),
        call(7, 2.1, usage=usage(2000, 11), raw_runtime_s=4.2, client_pool_s=1.5),
        call(8, 2.2, raw_runtime_s=0.2, outcome="error", error_type="RateLimitError"),
        call(9, 2.3, usage=usage(100, 11), raw_runtime_s=0.3, outcome="cancelled"),
        call(10, 2.4, usage=usage(100, 5), raw_runtime_s=0.7, outcome="partial"),
        call(11, 3.1, raw_runtime_s=1.1),
        call(12, 3.2, provider="anthropic", server_address="api.anthropic.com", request_model="m-b", response_model="m-b",
             service_name="batch", usage=usage(50, 10), raw_runtime_s=3.0),
        call(13, 3.3, operation="embeddings", usage=usage(40, None), raw_runtime_s=0.1),
    ]  # fmt: skip


def catalog() -> Catalog:
    """The profiles of the table above."""
    quiet = RuntimeProfile(
        id="quiet",
        model="m-a",
        prompt_knots=((0.0, 0.0), (1000.0, 1.0)),
        d0=0.01,
        overhead_s=0.1,
        max_output_tokens=100,
        provenance="few_shot",
    )
    ideal = RuntimeProfile(
        id="ideal",
        model="m-a",
        prompt_knots=((0.0, 0.05), (1000.0, 0.15)),
        d0=0.005,
        n_gpus=2,
        interval=Interval(base=0.1),
        max_output_tokens=100,
    )
    big = ReferenceStack(
        id="big",
        gpu="H100",
        precision="bf16",
        price=Price(3.6, "test", "2026-11-01"),
        watts=500.0,
        profiles={"m-a": ideal},
    )
    return Catalog(stacks=(big,), denoised={"openai|api.openai.com:443|m-a|chat|plain": quiet})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> report.Report:
    """The report of the day."""
    folder = tmp_path_factory.mktemp("hand")
    write_log(folder / "log" / "a.jsonl", calls())
    prices = folder / "prices.toml"
    prices.write_text(
        '[[prices]]\nmodel = "m-a"\ninput_usd_per_million = 10\ncached_input_usd_per_million = 1\noutput_usd_per_million = 30\n'
    )
    return report.build(
        str(folder / "log"),
        day="2026-11-20",
        catalog=catalog(),
        references=["big"],
        prices=str(prices),
        group_by=["model", "tenant", "outcome"],
        now_ns=NOW_NS,
    )


def near(expected: float) -> Any:
    """*expected* to rounding."""
    return pytest.approx(expected, rel=1e-9)


def test_coverage(built: report.Report) -> None:
    """Coverage counts every call once, by outcome, usage, price and profile."""
    c = built["coverage"]
    assert (c["calls"], c["complete_calls"], c["partial_calls"], c["cancelled_calls"], c["failed_calls"]) == (
        13,
        10,
        1,
        1,
        1,
    )
    # Usage: of those that did not fail (all but 8), 11 has none; 6 is estimated.
    assert (c["usage_reported_calls"], c["usage_estimated_calls"], c["usage_missing_calls"]) == (10, 1, 1)
    # Priced: the eleven with usage less m-b.
    assert (c["priced_calls"], c["unpriced_calls"]) == (10, 1)
    # Generation: all but 13. Comparable: complete generation calls with both counts: 1-7 and 12. Of these 12 has no profile.
    assert (c["generation_calls"], c["comparable_calls"], c["denoised_calls"], c["idealized_calls"]) == (
        12,
        8,
        7,
        {"big": 7},
    )
    assert (c["extrapolated_calls"], c["prompt_cached_calls"], c["wrong_clock_calls"], c["dropped_spans"]) == (
        1,
        1,
        0,
        0,
    )
    assert (c["priced_share"], c["denoised_share"], c["usage_share"]) == (near(10 / 12), near(7 / 12), near(11 / 12))


def test_totals_tokens_and_outcomes(built: report.Report) -> None:
    """Tokens, attempts and retries are plain sums over all calls."""
    t = built["totals"]
    assert t["calls"] == 13
    assert t["error_share"] == near(1 / 13)
    # 100+200+300+100+500+100+2000 + 100 (9) + 100 (10) + 50 (12) + 40 (13)
    assert t["input_tokens"] == 3590
    # 11+21+1+11+51+1+11 + 11 (9) + 5 (10) + 10 (12)
    assert t["output_tokens"] == 133
    assert (t["cached_input_tokens"], t["usage_calls"], t["attempts"], t["retried_calls"], t["retry_s"]) == (
        400,
        11,
        14,
        1,
        2.0,
    )


def test_totals_runtimes(built: report.Report) -> None:
    """Raw, denoised and idealized: sums, exact quantiles, interval, provenance."""
    t = built["totals"]
    # Complete calls' raw runtimes, sorted: 0.1 0.4 0.5 0.5 0.9 1.1 2.0 2.6 3.0 4.2 (n = 10), sum 15.3.
    # Quantile q lies at index 9q: p50 at 4.5: (0.9+1.1)/2 = 1.0; p90 at 8.1: 3.0 + 0.1*1.2 = 3.12; p99 at 8.91: 3.0 + 0.91*1.2 = 4.092.
    assert t["raw"] == {
        "n": 10,
        "sum_s": near(15.3),
        "p50_s": near(1.0),
        "p90_s": near(3.12),
        "p95_s": near(3.66),
        "p99_s": near(4.092),
    }
    # Denoised, sorted: 0.2 0.3 0.3 0.4 0.5 1.1 2.2, sum 5.0. p50 at 3: 0.4; p90 at 5.4: 1.1+0.4*1.1 = 1.54;
    # p99 at 5.94: 1.1+0.94*1.1 = 2.134.
    d = t["denoised"]
    assert (d["n"], d["sum_s"], d["p50_s"], d["p90_s"], d["p99_s"]) == (
        7,
        near(5.0),
        near(0.4),
        near(1.54),
        near(2.134),
    )
    assert (d["sum_low_s"], d["sum_high_s"], d["provenance"], d["extrapolated_calls"]) == (
        near(5.0),
        near(5.0),
        {"few_shot": 7},
        1,
    )
    # Last attempts: 0.5+0.5+0.9+0.6+2.0+0.4+4.2 = 9.1; contention 9.1-5.0 = 4.1, share 4.1/9.1.
    c = t["contention"]
    assert (c["n"], c["last_attempt_sum_s"], c["seconds"], c["share"]) == (7, near(9.1), near(4.1), near(4.1 / 9.1))
    # Idealized: 0.11+0.17+0.08+0.11+0.35+0.06+0.30 = 1.18; sorted 0.06 0.08 0.11 0.11 0.17 0.30 0.35.
    # p50 0.11; p90 at 5.4: 0.30+0.4*0.05 = 0.32; p99 at 5.94: 0.347.
    i = t["references"][0]["idealized"]
    assert (i["n"], i["sum_s"], i["p50_s"], i["p90_s"], i["p99_s"]) == (
        7,
        near(1.18),
        near(0.11),
        near(0.32),
        near(0.347),
    )
    assert (i["sum_low_s"], i["sum_high_s"]) == (near(1.18 / math.exp(0.1)), near(1.18 * math.exp(0.1)))
    assert i["provenance"] == {"measured": 7}


def test_us_or_the_provider(built: report.Report) -> None:
    """The parts add up to raw; every comparable call has one verdict, and those of ours say what it was."""
    s = built["totals"]["split"]
    # Compared: 1-7. Raw 9.1 + the retry of 2.0 = 11.1; admission 7 x 0.1; beyond the quiet day 4.1, of
    # which 7 waited 1.5 for a connection; model 5.0 - 0.7. 5 held its stream 4 s.
    assert (s["n"], s["raw_s"], s["retries_s"], s["admission_s"]) == (7, near(11.1), near(2.0), near(0.7))
    assert (s["contention_s"], s["model_s"], s["consumer_s"]) == (near(2.6), near(4.3), near(4.0))
    assert (s["pool_s"], s["sdk_s"], s["lag_s"], s["network_s"], s["unexplained_s"]) == (near(1.5), 0.0, 0.0, 0.0, 0.0)
    # Lost share: 1 0.2/0.5 = 0.4, 2 0, 3 0.5/0.9, 4 2.3/2.6, 6 0.2/0.4, 7 2.0/4.2, 1.5 of it ours: over a third but for 2.
    # 5: held 4 of 6 s.
    # 12 has no profile.
    assert s["calls"] == {"us": 2, "network": 0, "provider": 4, "model": 1, "unknown": 1}
    assert s["us"] == {"pool": 1, "sdk": 0, "event_loop": 0, "threads": 0, "consumer": 1}
    b = {row["key"]["model"]: row for row in built["groups"][0]["rows"]}["m-b"]["split"]
    assert (b["n"], b["raw_s"], b["contention_s"], b["admission_s"]) == (0, None, None, None)


def test_limits_on_who_is_to_blame(built: report.Report) -> None:
    """Shares of raw, 11.1 s: 1.5 of waiting for a connection are ours, retries of 2.0 and contention of 2.6 the provider's."""
    names = ("client_share", "network_share", "provider_share", "unexplained_share")
    found = [result.found for result in judge(built, [Limit(name, 1.0) for name in names])]
    assert found == [near(1.5 / 11.1), 0.0, near(4.6 / 11.1), 0.0]


def test_totals_cost_energy_and_ratio(built: report.Report) -> None:
    """List cost beside idealized cost and energy, over the calls that have both; serving ratio of sums."""
    t, r = built["totals"], built["totals"]["references"][0]
    # List: plain input (3590-50-400)=3140 x 10e-6 = 0.0314; cached 400 x 1e-6 = 0.0004; output (133-10)=123 x 30e-6 = 0.00369. Sum 0.03549.
    assert (t["list_cost_usd"], t["priced_calls"], t["unpriced_calls"]) == (near(0.03549), 10, 1)
    assert r["serving_ratio"]["value"] == near(5.0 / 1.18)
    assert (r["serving_ratio"]["low"], r["serving_ratio"]["high"]) == (
        near(5.0 / 1.18 / math.exp(0.1)),
        near(5.0 / 1.18 * math.exp(0.1)),
    )
    # 1.18 s x 0.002 $/s and x 1000 W.
    assert (r["idealized_cost_usd"]["n"], r["idealized_cost_usd"]["value"]) == (7, near(0.00236))
    assert (r["idealized_energy_j"]["value"], r["idealized_energy_j"]["high"]) == (
        near(1180.0),
        near(1180.0 * math.exp(0.1)),
    )
    # List cost of those seven: input 3300-400=2900 x 10e-6 + 400 x 1e-6 + output 107 x 30e-6 = 0.029+0.0004+0.00321 = 0.03261.
    assert (r["list_cost_calls"], r["list_cost_usd"], r["list_to_idealized"]) == (
        7,
        near(0.03261),
        near(0.03261 / 0.00236),
    )


def test_emissions_need_a_grid(tmp_path: Path, built: report.Report) -> None:
    """1,180 J at 360 g a kWh are 0.118 g, of the same seven calls; without a grid there is no figure and none is named."""
    absent = built["totals"]["references"][0]["idealized_co2e_g"]
    assert (built["grid"], absent) == (None, {"n": 0, "value": None, "low": None, "high": None})
    log = write_log(tmp_path / "log" / "a.jsonl", calls()).parent
    told = report.build(str(log), catalog=catalog(), grid="360", now_ns=NOW_NS)
    found = told["totals"]["references"][0]["idealized_co2e_g"]
    assert (found["n"], found["value"], found["high"]) == (7, near(0.118), near(0.118 * math.exp(0.1)))
    parts = [row["references"][0]["idealized_co2e_g"]["value"] or 0.0 for row in told["groups"][1]["rows"]]
    assert sum(parts) == near(0.118)
    assert told["grid"] == {"name": "stated", "g_per_kwh": 360.0, "source": "as stated"}
    assert "118 mg (107 mg to 130 mg) at 360 g/kWh (stated: as stated)" in render_table(told.data, 160)
    assert "CO2e" in render_table(told.data, 160).split("by model")[1].splitlines()[2]
    assert "CO2e" not in render_table(cast(report.Report, built), 160)


def test_training_is_told_on_request(tmp_path: Path, built: report.Report) -> None:
    """Without a number of served tokens nothing is said; with one every format names the models, here none with a published training."""
    assert built["training"] is None
    assert "training" not in render_table(built, 160)
    log = write_log(tmp_path / "log" / "a.jsonl", calls()).parent
    told = report.build(str(log), catalog=catalog(), training=1e9, now_ns=NOW_NS)
    found = told["training"]
    assert (found["served_tokens"], found["models"]) == (1e9, [])
    assert found["unknown"]
    for name in ("table", "md", "html"):
        assert "no published training is known here" in render(told, name)


def test_groups(built: report.Report) -> None:
    """Groups add up to the totals; absent attributes are a group of their own; what a group lacks is None."""
    models = {row["key"]["model"]: row for row in built["groups"][0]["rows"]}
    assert {name: row["calls"] for name, row in models.items()} == {"m-a": 12, "m-b": 1}
    b = models["m-b"]
    assert (b["list_cost_usd"], b["priced_calls"], b["unpriced_calls"], b["denoised"]["n"], b["denoised"]["sum_s"]) == (
        None,
        0,
        1,
        0,
        None,
    )
    assert (b["contention"]["share"], b["references"][0]["idealized_cost_usd"]["value"], b["raw"]["p99_s"]) == (
        None,
        None,
        near(3.0),
    )
    tenants = {row["key"]["tenant"]: row for row in built["groups"][1]["rows"]}
    assert {name: row["calls"] for name, row in tenants.items()} == {"t1": 2, "t2": 2, None: 9}
    # t1: calls 1 and 2: last 1.0, denoised 0.8; list 300 x 10e-6 + 32 x 30e-6.
    assert tenants["t1"]["contention"]["share"] == near(0.2)
    assert tenants["t1"]["list_cost_usd"] == near(0.003 + 0.00096)
    outcomes = {row["key"]["outcome"]: row["calls"] for row in built["groups"][2]["rows"]}
    assert outcomes == {"complete": 10, "error": 1, "cancelled": 1, "partial": 1}


def test_hours(built: report.Report) -> None:
    """Contention share hour by hour; hours without compared calls have none; 24 hours are listed."""
    hours = built["hours"]
    assert len(hours) == 24
    assert [h["calls"] for h in hours[:5]] == [3, 3, 4, 3, 0]
    # Hour 0: last 1.9, denoised 1.2. Hour 1: last 3.0, denoised 1.6. Hour 2: last 4.2, denoised 2.2. Hour 3: nothing compared.
    shares = [h["contention_share"] for h in hours[:5]]
    assert shares == [near(0.7 / 1.9), near(1.4 / 3.0), near(2.0 / 4.2), None, None]
    assert (hours[0]["raw_p50_s"], hours[0]["denoised_p50_s"], hours[2]["failed_calls"]) == (near(0.5), near(0.4), 1)
    # Hour 3: only call 13 is priced: 40 x 10e-6.
    assert hours[3]["list_cost_usd"] == near(0.0004)
    assert hours[0]["hour"] == "2026-11-20T00:00:00+00:00"


def test_calls_worth_looking_at(built: report.Report) -> None:
    """Slowest by raw runtime, most contended by seconds beyond the quiet day, with trace ids."""
    assert [int(row["trace_id"], 16) for row in built["slowest"]][:4] == [7, 12, 4, 5]
    # Contention: 7: 2.0; 5: 0.9; 3: 0.5; 4: 0.3; 1: 0.2; 6: 0.2; 2: 0.0.
    assert [int(row["trace_id"], 16) for row in built["most_contended"]][:4] == [7, 5, 3, 4]
    first = built["most_contended"][0]
    assert (first["contention_s"], first["contention_share"], first["idealized_runtime_s"]) == (
        near(2.0),
        near(2.0 / 4.2),
        near(0.30),
    )
    assert first["list_cost_usd"] == near(2000 * 10e-6 + 11 * 30e-6)


def test_what_is_missing_is_named(built: report.Report) -> None:
    """Unpriced and unprofiled models, error types and notes name what the figures leave out."""
    assert [(m["provider"], m["model"], m["calls"]) for m in built["unpriced"]] == [("anthropic", "m-b", 1)]
    missing = {(u["model"], u["stack"]): u["calls"] for u in built["unprofiled"]}
    assert missing == {("m-b", None): 1, ("m-b", "big"): 1}
    assert built["error_types"] == [{"error_type": "RateLimitError", "calls": 1}]
    text = "\n".join(built["notes"])
    for part in (
        "1 call without token counts",
        "1 call with token counts but no price",
        "part of the prompt was cached",
        "beyond what a profile measured",
    ):
        assert part in text


def test_bounds_of_contention_follow_those_of_the_denoised_runtime(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A quiet day of 4 s within a factor e^0.1, ten calls of 10 s: contention is 60 s, least where the quiet day was slowest.

    low = 100 - 40 e^0.1, high = 100 - 40 e^-0.1, and the shares over 100 s of last attempts.
    """
    folder = tmp_path_factory.mktemp("bounds")
    write_log(folder / "a.jsonl", [call(i, i / 2, usage=usage(10, 1), raw_runtime_s=10.0) for i in range(1, 11)])
    quiet = RuntimeProfile(id="q", model="gpt-x", prompt_knots=((0.0, 4.0),), interval=Interval(base=0.1))
    key = call(1).deployment.key
    built = report.build(str(folder), day="2026-11-20", catalog=Catalog(denoised={key: quiet}), now_ns=NOW_NS)
    found = built["totals"]["contention"]
    low, high = 100 - 40 * math.exp(0.1), 100 - 40 * math.exp(-0.1)
    assert (found["seconds"], found["seconds_low"], found["seconds_high"]) == (near(60.0), near(low), near(high))
    assert (found["share"], found["share_low"], found["share_high"]) == (near(0.6), near(low / 100), near(high / 100))
