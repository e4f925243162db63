"""Constants whose figure is documented are what they are documented to be, seen from outside."""

from __future__ import annotations

import math

import numpy as np

from tracewrap.runtime.quiet.denoise import denoise
from tracewrap.runtime.quiet.drift import DayLevel, find_changes
from tracewrap.runtime.quiet.usable import Observation


def test_twenty_calls_make_a_profile_and_nineteen_none() -> None:
    """The least number of calls, and what a profile's file says of the calls it is from."""
    dice = np.random.default_rng(0)
    seen = [
        Observation(int(p), int(o), 0.1 + 0.0002 * p + 0.01 * o + float(dice.exponential(0.1)))
        for p, o in zip(dice.integers(10, 2000, 20), dice.integers(2, 300, 20), strict=True)
    ]
    assert denoise(seen[:19], id="k", model="m").profile is None
    profile = denoise(seen, id="k", model="m").profile
    assert profile is not None
    assert profile.fit["samples"] == 20


def test_six_percent_is_a_change() -> None:
    """The least change is five percent: a certain step of six is found, of four not."""

    def steps(percent: float) -> int:
        level = math.log(1 + percent / 100)
        return len(find_changes([DayLevel(d, 0.0 if d < 10 else level, 1e-5, 10_000) for d in range(20)]))

    assert (steps(4.0), steps(6.0)) == (0, 1)
