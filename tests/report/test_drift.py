"""Drift: a lasting move of the quiet-day runtime is an event; noise, contention and one odd day are not."""

from __future__ import annotations

import random
from pathlib import Path

from made_days import DAY_NS, call, write_log
from tracewrap import report
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile

QUIET = RuntimeProfile(id="q", model="m-a", prompt_knots=((0.0, 1.0),))
CATALOG = Catalog(denoised={"openai|api.openai.com:443|m-a|chat|plain": QUIET})


def days(factors: list[float], contention: float = 0.5) -> list[Call]:
    """Forty calls a day; each day's quiet runtime is 1 s times its factor, plus contention."""
    rng = random.Random(1)
    usage = TokenUsage(input_tokens=10, output_tokens=1)
    return [
        call(
            100 * day + i + 1,
            24 * day + i / 2,
            usage=usage,
            raw_runtime_s=factor * (1 + rng.expovariate(1 / contention)),
        )
        for day, factor in enumerate(factors)
        for i in range(40)
    ]


def build(folder: Path, factors: list[float], **options: object) -> report.Report:
    """The report over all the days, or as *options* say."""
    return report.build(
        str(write_log(folder / "log.jsonl", days(factors))), catalog=CATALOG, now_ns=2 * DAY_NS, **options
    )  # type: ignore[arg-type]


def test_a_lasting_move_is_an_event(tmp_path: Path) -> None:
    """Two days at half again the runtime: one event, with the day it began, its size and its baseline."""
    built = build(tmp_path, [1, 1, 1, 1, 1, 1.5, 1.5])
    (event,) = built["drift"]
    assert (event["model"], event["since_day"], event["calls"]) == ("m-a", "2026-11-25", 80)
    assert 1.4 < event["ratio"] < 1.6
    assert "slower" in event["text"]
    assert built["drift_note"] is None


def test_getting_faster_is_an_event_too(tmp_path: Path) -> None:
    """A deployment that got faster for good is named with a ratio below one."""
    (event,) = build(tmp_path, [1, 1, 1, 1, 0.6, 0.6, 0.6])["drift"]
    assert event["ratio"] < 0.7
    assert "faster" in event["text"]


def test_one_odd_day_and_noise_are_none(tmp_path: Path) -> None:
    """A spike of one day, or steady days under heavy contention, give no event."""
    assert build(tmp_path, [1, 1, 1, 1, 1, 1.6, 1])["drift"] == []
    assert build(tmp_path, [1] * 9)["drift"] == []


def test_a_days_report_looks_back(tmp_path: Path) -> None:
    """One day alone cannot show drift and says so; with --drift-days the days before it are the baseline."""
    factors = [1, 1, 1, 1, 1, 1.5, 1.5]
    alone = build(tmp_path, factors, day="2026-11-26")
    assert alone["drift"] == []
    assert "--drift-days" in (alone["drift_note"] or "")
    assert alone["totals"]["calls"] == 40
    looked = build(tmp_path, factors, day="2026-11-26", drift_days=6)
    assert [event["since_day"] for event in looked["drift"]] == ["2026-11-25"]
    assert looked["totals"]["calls"] == 40
