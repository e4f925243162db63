"""The reservoir: bounded, and a busy hour or a flood of one kind of call cannot push out what is rare."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tracewrap.learn.reservoir import MAX_CALLS, Reservoir
from tracewrap.runtime.quiet.usable import Row


def _filled(rows: list[Row], seed: int = 0) -> Reservoir:
    reservoir, dice = Reservoir("m"), random.Random(seed)
    for row in rows:
        reservoir.add(row, dice)
    return reservoir


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_hours_share_the_places(rate: float) -> None:
    """Three hours at one rate, then a fourth: each holds about a quarter of the places, however many calls the last has had."""
    rows = [Row(i / rate, 100, 10, 1.0) for i in range(int(4 * 3600 * rate))]
    hours = Counter(int(row.start_time_s // 3600) for row in _filled(rows).rows())
    assert sum(hours.values()) == MAX_CALLS
    assert all(0.15 * MAX_CALLS <= hours[hour] <= 0.35 * MAX_CALLS for hour in range(4)), hours


def test_a_flood_of_short_calls_leaves_the_long_ones() -> None:
    """Forty long prompts, then five thousand short ones within the same hour: most of the long ones stay."""
    long = [Row(float(i), 8000, 500, 9.0) for i in range(40)]
    short = [Row(100.0 + i / 2, 100, 10, 0.2) for i in range(5000)]
    held = list(_filled([*long, *short]).rows())
    assert len(held) == MAX_CALLS
    assert sum(1 for row in held if row.input_tokens == 8000) >= 20


def test_within_an_hour_the_newer_replace_the_older() -> None:
    """Ten thousand calls of one kind in one hour: what is held reaches to the end of it."""
    held = list(_filled([Row(i / 10, 100, 10, 0.2) for i in range(10_000)]).rows())
    assert max(row.start_time_s for row in held) > 990.0
    assert sum(1 for row in held if row.start_time_s < MAX_CALLS / 10) < MAX_CALLS / 10


def test_rows_come_back_as_they_went_in() -> None:
    """Every number of a call, an absent first chunk included."""
    rows = [Row(1.79e9 + 0.25, 123_456, 789, 12.5, None, 64), Row(5.0, 0, 1, 0.001, 0.0005, 0)]
    assert list(_filled(rows).rows()) == rows
