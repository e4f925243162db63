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


@pytest.mark.parametrize("calls", [200, 1000])
@pytest.mark.parametrize(
    "family", ["half_thinking", "hidden_cache", "office_hours", "paced", "peak_prompts", "replicas"]
)
def test_what_calls_do_not_tell_is_said(quiet_day: ModuleType, family: str, calls: int) -> None:
    """Work not counted, two speeds, calls or long prompts in busy hours only: not ok; of few calls with hidden caching one in three."""
    most = 34.0 if (family, calls) == ("hidden_cache", 200) else 0.0
    assert _told(quiet_day, [family], calls)[family]["ok"] <= most


@pytest.mark.parametrize("ranges", ["USUAL", "OTHER"])
@pytest.mark.parametrize("family", ["never_quiet", "hidden_thinking", "half_thinking"])
def test_contention_that_spares_nobody_is_said_of_services_of_all_kinds(
    quiet_day: ModuleType, family: str, ranges: str
) -> None:
    """Slow starts and quick tokens too: calls that are all slowed, and work that is not counted, in two of sixteen at most ok."""
    told = quiet_day.table([family], [200], range(400, 416), getattr(quiet_day, ranges), show=False)
    assert told[0].figures()["ok"] <= 12.5


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("hidden_cache", "the prompt of"),
        ("paced", "the output of"),
        ("replicas", "two speeds: "),
        ("never_quiet", "no quiet moments"),
        ("peak_prompts", "long prompts come in few hours"),
    ],
)
def test_the_reason_is_named(quiet_day: ModuleType, family: str, says: str) -> None:
    """The sentence with the profile names what the calls look like."""
    from made_traffic import made

    said = []
    for seed in range(8):
        calls = [seen for seen in quiet_day.observations(made(family, 200, seed)) if seen is not None]
        said += quiet_day.denoise(calls, id="k", model="m").messages
    assert any(sentence.startswith(says) for sentence in said)


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
