"""Two selections at equal token counts: is the difference real?"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_days import call, write_log
from tracewrap.cli import main
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.report.questions.compare import Comparison, Measure, compare
from tracewrap.report.questions.equal_tokens import Sums, fit_shape, share_difference
from tracewrap.report.questions.equal_tokens import compare as compare_sums
from tracewrap.report.questions.selection import Selection
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack


def day(day: int, factor: float, seed: int, n: int = 300, longer: float = 1.0, **changes: Any) -> list[Call]:
    """*n* calls over a day: T = factor (0.2 + 0.001 p + 0.01 o), and a contention of an hour that all its calls share."""
    rng = random.Random(seed)
    busy = [rng.expovariate(1 / 0.2) for _ in range(24)]
    out = []
    for i in range(n):
        hour = 24 * i / n
        p, o = int(longer * rng.lognormvariate(5.5, 1.0)) + 1, int(longer * rng.lognormvariate(4.0, 0.8)) + 1
        quiet = factor * (0.2 + 0.001 * p + 0.01 * o)
        raw = quiet * (1 + busy[int(hour)] + rng.expovariate(1 / 0.1))
        number = 100_000 * day + i + 1 + 10_000_000 * seed
        out.append(call(number, 24 * day + hour, usage=TokenUsage(p, o), raw_runtime_s=raw, **changes))
    return out


def measure(found: Comparison, name: str) -> Measure:
    """The row called *name*."""
    return next(row for row in found["measures"] if row["measure"] == name)


def of_days(folder: Path, calls: list[Call], **options: Any) -> Comparison:
    """The first day beside the second."""
    log = str(write_log(folder / "log.jsonl", calls))
    sides = [Selection.parse(f"day=2026-11-{d}", [log]) for d in (20, 21)]
    return compare(sides[0], sides[1], **({"catalog": Catalog()} | options))


def test_longer_calls_are_not_slower_calls(tmp_path: Path) -> None:
    """Twice the tokens on the second day, the same service: means differ, calls of equal token counts do not."""
    calls = day(0, 1.0, seed=1) + day(1, 1.0, seed=2, longer=2.0)
    means = [np.mean([c.raw_runtime_s for c in calls[i : i + 300]]) for i in (0, 300)]
    assert means[1] / means[0] > 1.4
    row = measure(of_days(tmp_path, calls), "raw_runtime_s")
    assert row["verdict"] == "no difference seen"
    assert 0.8 < (row["change"] or 0) < 1.25


def test_a_real_difference_is_found(tmp_path: Path) -> None:
    """Half again as slow: found in the mean and in the typical call, with the truth inside the interval."""
    found = of_days(tmp_path, day(0, 1.0, seed=3) + day(1, 1.5, seed=4))
    for name in ("raw_runtime_s", "raw_runtime_typical_s"):
        row = measure(found, name)
        assert row["verdict"] == "higher"
        assert row["low"] is not None
        assert row["high"] is not None
        assert row["low"] < 1.5 < row["high"]
        assert (row["a"] or 0) * (row["change"] or 0) == pytest.approx(row["b"])


def test_intervals_cover_at_their_rate() -> None:
    """Equal sides whose calls share their hour's contention: about one in ten intervals misses 1; iid intervals would miss most."""

    def side(seed: int) -> Sums:
        rng = np.random.default_rng(seed)
        block = np.repeat(np.arange(24), 40)
        cell = rng.integers(0, 4, len(block))
        value = 1 + rng.exponential(0.3, 24)[block] + rng.exponential(0.05, len(block))
        keys = sorted(set(zip(cell.tolist(), block.tolist(), strict=True)))
        picked = [(cell == c) & (block == b) for c, b in keys]
        return Sums(
            [c for c, _ in keys],
            [b for _, b in keys],
            [float(m.sum()) for m in picked],
            [float(value[m].sum()) for m in picked],
        )

    held = 0
    for seed in range(100):
        found = compare_sums(side(2 * seed), side(2 * seed + 1), dict.fromkeys(range(4), 1.0))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 83 <= held <= 97


def test_what_no_other_side_has_is_left_out(tmp_path: Path) -> None:
    """Disjoint token counts: nothing is compared, and the note says so."""
    small = [call(i + 1, i / 10, usage=TokenUsage(10, 5), raw_runtime_s=1.0) for i in range(50)]
    large = [call(i + 100, 24 + i / 10, usage=TokenUsage(9000, 5), raw_runtime_s=9.0) for i in range(50)]
    found = of_days(tmp_path, small + large)
    row = measure(found, "raw_runtime_s")
    assert (row["a"], row["change"], row["verdict"]) == (None, None, "cannot tell")
    assert found["a"]["matched_share"] == 0.0
    assert "no comparable call has a counterpart" in found["notes"][0]


def test_profiles_are_compared_at_the_same_token_counts(tmp_path: Path) -> None:
    """Idealized on two stacks: exact ratio, intervals added in squares; one profile on both sides cancels."""

    def stack(name: str, factor: float) -> ReferenceStack:
        profile = RuntimeProfile(
            id=name, model="m-a", prompt_knots=((0.0, 0.1 * factor),), d0=0.01 * factor, interval=Interval(base=0.03)
        )
        return ReferenceStack(
            id=name, gpu="g", precision="bf16", price=Price(3.6, "t", "2026-11-01"), profiles={"m-a": profile}
        )

    log = str(write_log(tmp_path / "log.jsonl", day(0, 1.0, seed=5, n=60)))
    catalog = Catalog(stacks=(stack("slow", 2.0), stack("fast", 1.0)))
    sides = [Selection.parse(f"reference={name}", [log]) for name in ("slow", "fast")]
    row = measure(compare(sides[0], sides[1], catalog=catalog), "idealized_runtime_s")
    assert row["change"] == pytest.approx(0.5)
    assert row["high"] == pytest.approx(0.5 * np.exp(0.03 * 2**0.5))
    assert row["verdict"] == "lower"
    same = measure(compare(sides[0], sides[0], catalog=catalog), "idealized_cost_usd")
    assert (same["low"], same["change"], same["high"]) == (1.0, 1.0, 1.0)


def test_providers_and_errors(tmp_path: Path) -> None:
    """A filter by provider; shares differ by points, not ratios."""
    calls = day(0, 1.0, seed=6, n=100) + day(0, 1.0, seed=7, n=100, provider="groq")
    failed = [call(9_000_000 + i, 0.2 * i, provider="groq", outcome="error", raw_runtime_s=0.1) for i in range(100)]
    log = str(write_log(tmp_path / "log.jsonl", calls + failed))
    sides = [Selection.parse(f"provider={name}", [log], day="2026-11-20") for name in ("openai", "groq")]
    found = compare(sides[0], sides[1], catalog=Catalog())
    row = measure(found, "error_share")
    assert (found["a"]["calls"], found["b"]["calls"]) == (100, 200)
    assert (row["kind"], row["a"], row["b"], row["change"], row["verdict"]) == ("difference", 0.0, 0.5, 0.5, "higher")
    assert not any(row["measure"].startswith(("denoised", "idealized")) for row in found["measures"])


def test_few_blocks_of_time_give_no_interval() -> None:
    """Five blocks are too few to know how blocks vary."""
    few = Sums([0] * 5, list(range(5)), [1.0] * 5, [1.0] * 5)
    found = compare_sums(few, few, {0: 1.0})
    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(1.0), None, None)
    assert share_difference([(1, 2)] * 5, [(1, 2)] * 5).low is None


def test_the_shape_is_found_and_never_negative() -> None:
    """c + a p + b o through exact cell means; where the best fit would be negative the term is left out."""
    grid = [(p, o) for p in (10.0, 100.0, 1000.0) for o in (1.0, 10.0, 100.0)]
    p, o = zip(*grid, strict=True)
    assert fit_shape(p, o, [0.1 + 0.002 * x + 0.03 * y for x, y in grid], [1.0] * 9) == pytest.approx(
        (0.1, 0.002, 0.03)
    )
    assert min(fit_shape(p, o, [5.0 - 0.004 * x for x, _ in grid], [1.0] * 9)) >= 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [("yesterday", "selects nothing; write NAME=VALUE"), ("=x", "selects nothing"), ("model=m-z", "selects no call")],
)
def test_bad_selections_are_named(tmp_path: Path, text: str, said: str) -> None:
    """One line with the selection."""
    log = str(write_log(tmp_path / "log.jsonl", day(0, 1.0, seed=8, n=10)))
    with pytest.raises(ConfigurationError, match=said):
        compare(Selection.parse(text, [log]), Selection.parse("model=m-a", [log]), catalog=Catalog())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two sources, or two selections of one; text for people, JSON for programs."""
    first = str(write_log(tmp_path / "one.jsonl", day(0, 1.0, seed=9)))
    second = str(write_log(tmp_path / "two.jsonl", day(0, 2.0, seed=10)))
    assert main(["compare", first, second]) == 0
    text = capsys.readouterr().out
    assert "raw, typical call" in text
    assert "higher" in text
    assert main(["compare", "day=2026-11-20", "day=2026-11-20", "--source", first, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tracewrap.compare/1"
    assert found["measures"][0]["change"] == pytest.approx(1.0)
    assert main(["compare", "day=2026-11-20", str(tmp_path / "none")]) == 2


def test_another_mix_of_models_is_not_a_change(tmp_path: Path) -> None:
    """Nine of ten calls went to the slow model the day after: each model is what it was, and so is the verdict."""
    calls = []
    for d, slow in ((0, 60), (1, 540)):
        calls += day(d, 1.0, seed=20 + d, n=600 - slow, request_model="m-fast", response_model="m-fast")
        calls += day(d, 5.0, seed=30 + d, n=slow, request_model="m-slow", response_model="m-slow")
    found = of_days(tmp_path, calls)
    assert measure(found, "raw_runtime_s")["verdict"] == "no difference seen"
    assert found["notes"] == []


def test_two_models_are_compared_across(tmp_path: Path) -> None:
    """Sources that share no model: compared all the same, and the notes say that models were mixed."""
    logs = [
        str(write_log(tmp_path / f"{name}.jsonl", day(0, factor, seed=40, request_model=name, response_model=name)))
        for name, factor in (("m-one", 1.0), ("m-two", 3.0))
    ]
    found = compare(*(Selection((log,), text=log) for log in logs), catalog=Catalog())
    assert measure(found, "raw_runtime_typical_s")["change"] == pytest.approx(3.0)
    assert any("compared across them" in note for note in found["notes"])
    assert any("tokenizers" in note for note in found["notes"])


def test_cells_count_by_their_overlap() -> None:
    """Weights n_A n_B / (n_A + n_B): 9, 9 and 50; B is twice A in the last cell only, so (9 + 9 + 100) / 68 in all.

    By all calls it would be 600 / 400, by cells alike 4 / 3: what only one side has hardly counts.
    """
    a = Sums([0, 1, 2], [0, 0, 0], [90.0, 10.0, 100.0], [90.0, 10.0, 100.0])
    b = Sums([0, 1, 2], [0, 0, 0], [10.0, 90.0, 100.0], [10.0, 90.0, 200.0])
    found = compare_sums(a, b, {0: 1.0, 1: 1.0, 2: 1.0})
    assert found is not None
    assert found.value == pytest.approx(118 / 68)


def test_profiles_are_weighed_by_the_same_overlap(tmp_path: Path) -> None:
    """90 short calls on one day and 10 on the next weigh 9, 100 long ones on each 50: the mean of 1.02 s and 3 s by these."""
    calls = []
    for d, short in enumerate((90, 10)):
        for i in range(short + 100):
            usage = TokenUsage(10, 1) if i < short else TokenUsage(1000, 1)
            calls.append(call(1000 * d + i + 1, 24 * d + i / 10, usage=usage, raw_runtime_s=9.0))
    key = call(1).deployment.key
    quiet = RuntimeProfile(id="q", model="gpt-x", prompt_knots=((0.0, 1.0), (1000.0, 3.0)))
    source = (str(write_log(tmp_path / "log" / "a.jsonl", calls).parent),)
    sides = [Selection(source, day=day, text=day) for day in ("2026-11-20", "2026-11-21")]
    found = compare(sides[0], sides[1], catalog=Catalog(denoised={key: quiet}))
    row = measure(found, "denoised_runtime_s")
    assert row["a"] == pytest.approx((9 * 1.02 + 50 * 3.0) / 59)
