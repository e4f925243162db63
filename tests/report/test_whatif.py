"""What if: three calls on hardware with round numbers, and the shipped stacks.

Calls of m-a: (100, 11) twice and (300, 1): 500 input, 23 output tokens, 523 in all. List price 10 and 30 $ per million: 0.00569 $.
Stack "s": 2 GPUs at 3.6 $/h each, so 0.002 $ a second and 7.2 $ an hour; 500 W each. T = 0.5 + 0.05 (o - 1): 1.0, 1.0 and 0.5 s.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap.cli import main
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.report.questions.whatif import STACKS, WhatIf, whatif
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def log_of(folder: Path, model: str) -> str:
    """The three calls, to *model*, and a failed one."""
    usages = [TokenUsage(100, 11), TokenUsage(100, 11), TokenUsage(300, 1)]
    named = {"request_model": model, "response_model": model}
    calls = [call(i + 1, i, usage=usage, raw_runtime_s=2.0, **named) for i, usage in enumerate(usages)]
    calls.append(call(9, 5, outcome="error", raw_runtime_s=0.1, **named))
    return str(write_log(folder / "log.jsonl", calls))


def built(folder: Path, usd_per_gpu_hour: float = 3.6, batch: float = 8.0) -> WhatIf:
    """The three calls on "s"."""
    profile = RuntimeProfile(
        id="p", model="m-a", prompt_knots=((0.0, 0.5),), d0=0.05, n_gpus=2, interval=Interval(base=0.1)
    )
    stack = ReferenceStack(
        id="s",
        gpu="g",
        precision="bf16",
        price=Price(usd_per_gpu_hour, "test", "2026-11-01"),
        watts=500.0,
        profiles={"m-a": profile},
    )
    prices = folder / "prices.toml"
    prices.write_text('[[prices]]\nmodel = "m-a"\ninput_usd_per_million = 10\noutput_usd_per_million = 30\n')
    log = log_of(folder, "m-a")
    return whatif(log, catalog=Catalog(stacks=(stack,)), prices=str(prices), day="2026-11-20", batch=batch)


def test_batch_1_by_hand(tmp_path: Path) -> None:
    """Cost, energy, capacity and break-even of one call after another."""
    found = built(tmp_path)
    (row,) = found["rows"]
    assert (found["calls"], found["comparable_calls"], row["calls"]) == (4, 3, 3)
    assert (row["n_gpus"], row["input_tokens"], row["output_tokens"]) == (2, 500, 23)
    # 2.5 s; x 0.002 $; x 2 x 500 W.
    assert row["idealized_runtime_s"] == pytest.approx(2.5)
    assert (row["batch_1"]["cost_usd"], row["idealized_energy_j"]) == (pytest.approx(0.005), pytest.approx(2500.0))
    assert row["list_cost_usd"] == pytest.approx(0.00569)
    # A month has 730 hours. 523 tokens in 2.5 s: 209.2 a second, 549 777 600 a month. 523 a day: 523 / 24 x 730.
    assert row["batch_1"]["capacity_tokens_month"] == pytest.approx(549_777_600)
    assert row["tokens_month"] == pytest.approx(523 / 24 * 730)
    # 7.2 $/h x 730 h = 5256 $ a month, at 0.00569 / 523 $ a token: 483 million tokens, which one replica can take.
    assert row["batch_1"]["break_even_tokens_month"] == pytest.approx(5256 / (0.00569 / 523))
    assert (row["batch_1"]["replicas"], row["batch_1"]["usd_month"]) == (1, pytest.approx(5256))
    assert row["list_usd_month"] == pytest.approx(0.00569 / 24 * 730)


def test_break_even_beyond_capacity_is_never(tmp_path: Path) -> None:
    """At twice the rent break-even is 966 million tokens a month; a replica takes 550 million: it never pays."""
    (row,) = built(tmp_path, usd_per_gpu_hour=7.2)["rows"]
    assert row["batch_1"]["break_even_tokens_month"] is None
    assert row["batch_1"]["cost_usd"] == pytest.approx(0.01)


def test_without_an_architecture_nothing_is_amortised(tmp_path: Path) -> None:
    """How a batch of an unknown model slows down is unknown, so there is no amortised cost, and the reason is there."""
    (row,) = built(tmp_path)["rows"]
    assert (row["amortized"], row["slowdown"]) == (None, None)
    assert "m-a" in str(row["amortized_reason"])


def test_amortised_on_shipped_stacks(tmp_path: Path) -> None:
    """Amortised cost is batch-1 cost x slowdown / (batch x utilisation); batch 1, always busy, is batch 1."""
    log = log_of(tmp_path, LLAMA)
    found = whatif(log, batch=16, utilisation=0.25)
    assert {row["stack"] for row in found["rows"]} == set(STACKS)
    priced = 0
    for row in found["rows"]:
        amortized, slowdown = row["amortized"], row["slowdown"]
        assert amortized is not None
        assert slowdown is not None
        assert 1.0 <= slowdown < 16
        assert row["provenance"].startswith("analytic")
        if row["batch_1"]["cost_usd"] is not None:
            priced += 1
            assert amortized["cost_usd"] == pytest.approx(row["batch_1"]["cost_usd"] * slowdown / (16 * 0.25))
    assert priced >= 4
    for row in whatif(log, batch=1, utilisation=1)["rows"]:
        assert row["amortized"] == row["batch_1"]


def test_beside_every_dash_stands_what_would_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No list price, so no break-even; no rental price, so no cost."""
    assert main(["whatif", log_of(tmp_path, LLAMA), "--reference", "l40s:vllm", "h100-sxm:vllm"]) == 0
    text = capsys.readouterr().out
    assert "unpriced, so without a break-even: --prices FILE" in text
    assert "  l40s:vllm: no rental price is known" in text


def test_what_has_no_profile_is_named(tmp_path: Path) -> None:
    """A closed model is on no stack; with a stand-in it is, and its figures are assumed."""
    log = log_of(tmp_path, "gpt-5-mini")
    found = whatif(log, references=["h100-sxm:vllm"])
    assert found["rows"] == []
    assert found["missing"] == [{"model": "gpt-5-mini", "stack": "h100-sxm:vllm", "calls": 3}]
    (row,) = whatif(log, references=["h100-sxm:vllm"], stand_ins={"gpt-5-mini": LLAMA})["rows"]
    assert row["provenance"] == "assumed"


@pytest.mark.parametrize(
    ("batch", "utilisation", "said"), [(0.5, 0.5, "batch is 0.5"), (8, 0, "utilisation is 0"), (8, 1.5, "1.5")]
)
def test_impossible_use_is_refused(tmp_path: Path, batch: float, utilisation: float, said: str) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match=said):
        whatif(str(tmp_path / "nothing"), batch=batch, utilisation=utilisation)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text keeps batch 1 and amortised apart; JSON is what the function gives; a batch too large says so."""
    log = log_of(tmp_path, LLAMA)
    assert main(["whatif", log, "--reference", "l4:vllm", "h100-sxm:vllm"]) == 0
    text = capsys.readouterr().out
    assert text.index("batch 1: one call after another") < text.index("amortised: batch 8, busy 50% of the time")
    assert main(["whatif", log, "--reference", "l4:vllm", "--batch", "4000", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["amortized"] is None
    assert "do not fit" in row["amortized_reason"]
    assert main(["whatif", log, "--reference", "abacus:vllm"]) == 2
    assert "abacus" in capsys.readouterr().err


def test_the_cost_at_what_vendors_ask_beside_the_chosen_price(tmp_path: Path) -> None:
    """The same hours at the cheapest and the dearest price of the card; sources and dates with them."""
    (row,) = whatif(log_of(tmp_path, LLAMA), references=["h100-sxm:vllm"])["rows"]
    asked = row["vendor_prices"]
    assert [each["usd_per_gpu_hour"] for each in asked] == sorted(each["usd_per_gpu_hour"] for each in asked)
    assert all(each["source"] and each["date"] >= "2025" for each in asked)
    for use in (row["batch_1"], row["amortized"]):
        assert use is not None
        assert use["cost_usd"] is not None
        rate = use["cost_usd"] / (row["usd_per_gpu_hour"] or 0)
        assert use["cost_low_usd"] == pytest.approx(rate * asked[0]["usd_per_gpu_hour"])
        assert use["cost_high_usd"] == pytest.approx(rate * asked[-1]["usd_per_gpu_hour"])


def test_energy_of_a_batch_is_shared_and_drawn_at_more_watts(tmp_path: Path) -> None:
    """Less than batch 1's for each call, more than its share of it: the cards draw more and each call takes longer."""
    (row,) = whatif(log_of(tmp_path, LLAMA), references=["h100-sxm:vllm"], batch=8)["rows"]
    one, shared, slowdown = row["batch_1"]["energy_j"], row["amortized"], row["slowdown"]
    assert one is not None
    assert shared is not None
    assert slowdown is not None
    assert one / 8 * slowdown < (shared["energy_j"] or 0) < one
    assert row["power_share"] == pytest.approx(0.55 + 3 * 0.045)


def test_what_moves_the_cost_most_comes_first(tmp_path: Path) -> None:
    """Half and twice the busy share double and halve it; the list is by width and names its ranges."""
    (row,) = whatif(log_of(tmp_path, LLAMA), references=["h100-sxm:vllm"], utilisation=0.4)["rows"]
    found = {swing["input"]: swing for swing in row["sensitivity"]}
    assert set(found) == {"runtime", "price", "busy share", "batch"}
    cost = (row["amortized"] or row["batch_1"])["cost_usd"] or 0
    assert found["busy share"]["range"] == "20% to 80%"
    assert found["busy share"]["low_usd"] == pytest.approx(cost / 2)
    assert found["busy share"]["high_usd"] == pytest.approx(cost * 2)
    assert found["batch"]["low_usd"] < cost < found["batch"]["high_usd"]
    widths = [swing["high_usd"] - swing["low_usd"] for swing in row["sensitivity"]]
    assert widths == sorted(widths, reverse=True)


def test_how_several_gpus_scale_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model on two cards says what they give of twice one; on one card there is nothing to say."""
    log = log_of(tmp_path, "meta-llama/Llama-3.3-70B-Instruct")
    assert main(["whatif", log, "--reference", "h100-sxm:vllm", "b200:vllm"]) == 0
    text = capsys.readouterr().out
    assert "h100-sxm:vllm: 2 GPUs give " in text
    assert "vendors ask $2.69 (RunPod, 2026-09) to $12.29 (Azure, 2026-11)" in text
    assert "moves most with" in text
    assert "b200:vllm: 1 GPUs" not in text


def test_a_stack_of_ones_own_has_no_vendors(tmp_path: Path) -> None:
    """A card that is not known has no range of prices, no power limit and no formula; what is left still moves the cost."""
    (row,) = built(tmp_path)["rows"]
    assert (row["vendor_prices"], row["power_share"], row["parallel_efficiency"]) == ([], None, None)
    assert (row["batch_1"]["cost_low_usd"], row["batch_1"]["energy_j"]) == (None, pytest.approx(2500.0))
    assert [swing["input"] for swing in row["sensitivity"]] == ["runtime"]


def test_training_is_told_only_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """523 tokens of a million served bear 523 / 10^6 of 10,044,800 $ and of 1124.2 MWh: 5253.4 $ and 588 kWh."""
    log = log_of(tmp_path, LLAMA)
    assert whatif(log, references=["h100-sxm:vllm"])["training"] is None
    found = whatif(log, references=["h100-sxm:vllm"], training=1e6)["training"]
    assert found is not None
    (row,) = found["models"]
    assert (found["served_tokens"], found["unknown"]) == (1e6, [])
    assert (row["calls"], row["tokens"], row["trained"]) == (3, 523, LLAMA)
    assert row["cost_usd"] == pytest.approx(10_044_800 * 523e-6)
    assert row["energy_j"] == pytest.approx(1124.2 * 3.6e9 * 523e-6)
    assert main(["whatif", log, "--reference", "h100-sxm:vllm"]) == 0
    assert "training" not in capsys.readouterr().out
    assert main(["whatif", log, "--reference", "h100-sxm:vllm", "--training", "1e6"]) == 0
    text = capsys.readouterr().out
    assert f"training: {LLAMA}: $5,253.43, 587.96 kWh for 523 of 1.00M served tokens" in text
    assert "(published: meta-llama/llama-models, llama3_1/MODEL_CARD.md, 2024-07)" in text
    assert main(["whatif", log, "--training", "many"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_training_of_a_stand_in_is_assumed_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    """A closed model has no published training; one that stands in for it has, and that it is the same is assumed."""
    log = log_of(tmp_path, "gpt-5-mini")
    stack = ["h100-sxm:vllm"]
    alone = whatif(log, references=stack, training=1e12)["training"]
    assert alone is not None
    assert (alone["models"], alone["unknown"]) == ([], ["gpt-5-mini"])
    stood = whatif(log, references=stack, training=1e12, stand_ins={"gpt-5-mini": LLAMA})["training"]
    assert stood is not None
    (row,) = stood["models"]
    assert (row["model"], row["trained"], row["provenance"]) == ("gpt-5-mini", LLAMA, "assumed")
    assert row["assumed"] == f"that gpt-5-mini is {LLAMA}"
