"""The quiet day of made-up traffic: each kind of noise and contention, learned and told by itself and beside other estimators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("scipy")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def quiet_day() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import quiet_day as module

        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


def _told(quiet_day: ModuleType, families: list[str], calls: int, **how: object) -> dict[str, dict[str, float]]:
    found = quiet_day.table(families, [calls], range(3), show=False, **how)
    return {told.family: told.figures() for told in found}


@pytest.mark.parametrize("ranges", ["USUAL", "OTHER"])
def test_what_calls_tell_is_learned(quiet_day: ModuleType, ranges: str) -> None:
    """Natural traffic, conversations read from a cache and noise both ways: ok, within 3% and 8%, nearer than the minimum of five."""
    families = ["base", "agent_turns", "symmetric_3", "counted_thinking", "retries"]
    told = _told(quiet_day, families, 200, ranges=getattr(quiet_day, ranges))
    for family, got in told.items():
        assert got["ok"] == 100.0, family
        assert got["error_median"] <= 3.0, family
        assert got["error_p90"] <= 8.0, family
        assert got["error_median"] < got["minimum_median"], family
        assert got["covers"] >= 80.0, family


def test_symmetric_noise_is_no_contention(quiet_day: ModuleType) -> None:
    """15% noise and nobody else: the level is the middle, where a 10% quantile lies over 15% low; more calls, a narrower interval."""
    few, many = (_told(quiet_day, ["symmetric_15"], calls)["symmetric_15"] for calls in (200, 1000))
    assert few["error_median"] <= 3.0
    assert many["error_median"] <= 1.5
    assert many["quantile_median"] > 15.0
    assert many["half_width"] < few["half_width"]


@pytest.mark.parametrize("family", ["hidden_thinking", "fast_replicas", "half_thinking", "paced"])
def test_what_calls_do_not_tell_is_said(quiet_day: ModuleType, family: str) -> None:
    """Thinking that is not counted and replicas of two speeds are never called ok."""
    assert _told(quiet_day, [family], 1000)[family]["ok"] == 0.0


def test_limits_are_those_of_the_help_text(quiet_day: ModuleType) -> None:
    """A row that is ok, near and narrow misses nothing; each figure beyond its limit is named."""
    good = quiet_day.Told("base", 1000, [0.01] * 10, [0.1], [0.1], [True] * 9 + [False], [0.02])
    good.verdicts.update({"ok": 4, "few_hours": 1})
    assert good.missed() == []
    good.errors[-2:] = [0.05, 0.06]
    good.half_widths = [0.05]
    good.verdicts["few_hours"] += 1
    good.covered = [True, False]
    assert good.missed() == ["verdict", "error", "covers", "half-width"]
    unknown = quiet_day.Told("replicas", 1000, [0.3], [0.3], [0.3], [False], [0.02])
    unknown.verdicts.update({"not_identifiable": 8})
    assert unknown.missed() == []
    unknown.verdicts.update({"ok": 4})
    assert unknown.missed() == ["said ok"]
