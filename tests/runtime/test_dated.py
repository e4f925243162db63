"""Denoised profiles with their dates: one for each stretch between drifts."""

from __future__ import annotations

import numpy as np
import pytest

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.dated import daily_levels, denoise_levels
from tracewrap.runtime.quiet.usable import Observation

TRUTH = RuntimeProfile(id="t", model="m", prompt_knots=((0, 0.1), (2000, 0.5)), d0=0.01)


def seen(factors: list[float], a_day: int = 60, dated: bool = True) -> list[Observation]:
    """Days of a service that takes *factors* times the truth, with waits."""
    dice = np.random.default_rng(2)
    out = []
    for day, factor in enumerate(factors):
        for i in range(a_day):
            p, o = int(dice.integers(10, 2000)), int(dice.integers(1, 300))
            seconds = factor * TRUTH.runtime(p, o) * (1 + 0.01 * dice.random()) + dice.exponential(0.5) * dice.integers(
                2
            )
            out.append(Observation(p, o, float(seconds), start_time_s=day * 86_400.0 + i if dated else None))
    return out


def test_a_steady_service_has_one_level() -> None:
    """All calls, one profile, the dates of the first and the last."""
    (level,) = denoise_levels(seen([1.0] * 8), id="d", model="m")
    assert (level.since_day, level.until_day, level.change) == (0, 7, None)
    assert level.result.profile is not None
    assert level.result.profile.fit["samples"] == 8 * 60


def test_each_level_is_learned_from_its_own_days() -> None:
    """Slower, then faster than at first: three profiles, each near its own truth, no day in two of them."""
    levels = denoise_levels(seen([1.0] * 6 + [1.6] * 6 + [0.8] * 4), id="d", model="m")
    assert [(x.since_day, x.until_day) for x in levels] == [(0, 5), (6, 11), (12, 15)]
    assert [round(x.change.ratio, 1) for x in levels if x.change] == [1.6, 0.5]
    for level, factor in zip(levels, (1.0, 1.6, 0.8), strict=True):
        assert level.result.profile is not None
        assert level.result.profile.runtime(500, 100) == pytest.approx(factor * TRUTH.runtime(500, 100), rel=0.05)


def test_without_dates_or_calls_there_is_one_level() -> None:
    """Undated observations cannot drift; too few say so."""
    (undated,) = denoise_levels(seen([1.0] * 4, dated=False), id="d", model="m")
    assert (undated.since_day, undated.until_day, undated.result.verdict) == (None, None, "ok")
    (few,) = denoise_levels(seen([1.0], a_day=3), id="d", model="m")
    assert few.result.verdict == "too_few"


def test_a_day_needs_twenty_calls() -> None:
    """Days with fewer have no level."""
    assert len(daily_levels(seen([1.0] * 3, a_day=19), TRUTH)) == 0
    assert [day.calls for day in daily_levels(seen([1.0] * 3, a_day=20), TRUTH)] == [20, 20, 20]
