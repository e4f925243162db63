"""Drift: sustained changes are found within two days, bursts and single days are not."""

from __future__ import annotations

import math

import pytest

from tracewrap.runtime.quiet.drift import HOURS, Change, DayLevel, find_changes, hour_levels, segments


def _days(levels: list[float]) -> list[DayLevel]:
    return [DayLevel(day, level, 0.01, 200) for day, level in enumerate(levels)]


def test_sustained_change_is_found_on_its_second_day() -> None:
    """Ten days at 0, then 20% slower: declared on day 11, dated day 10, ratio 1.2."""
    days = _days([0.0] * 10 + [math.log(1.2)] * 5)
    (change,) = find_changes(days)
    assert (change.since_day, change.found_day) == (10, 11)
    assert change.ratio == pytest.approx(1.2)
    assert segments(days, [change]) == [(0, 9), (10, 14)]


def test_one_day_spikes_are_quiet() -> None:
    """Days that stand alone, up or down, are no change."""
    levels = [0.0] * 30
    for day in (5, 12, 20):
        levels[day] = 1.0
    levels[25] = -0.5
    assert find_changes(_days(levels)) == []


def test_up_then_down_is_no_change() -> None:
    """Two days that differ in opposite directions are noise."""
    assert find_changes(_days([0.0] * 8 + [0.3, -0.3] + [0.0] * 5)) == []


def test_small_steps_are_not_worth_an_alarm() -> None:
    """Four percent, however certain, is below the least change."""
    days = [DayLevel(d, 0.0 if d < 10 else 0.04, 1e-5, 10_000) for d in range(20)]
    assert find_changes(days) == []


def test_two_changes_and_back() -> None:
    """Slower, then faster than at first: two changes, each against the level before it."""
    found = find_changes(_days([0.0] * 10 + [0.3] * 10 + [-0.1] * 10))
    assert [(c.since_day, round(math.log(c.ratio), 2)) for c in found] == [(10, 0.3), (20, -0.4)]


def test_weekends_move_nothing_from_the_second_on() -> None:
    """A service 30% faster on Saturdays and Sundays: the first weekend is news, and its end once three days are known of it. The others
    are not; a third step is.
    """
    weeks = [([0.0] * 5 + [-0.3] * 2) * 4, [0.3] * 5]
    found = find_changes(_days([level for part in weeks for level in part]))
    assert [(c.since_day, round(math.log(c.ratio), 1)) for c in found] == [(5, -0.3), (8, 0.3), (28, 0.3)]


def test_what_an_hour_of_the_day_adds() -> None:
    """Half the hours 20% slower, 100 calls in each and errors of 1%: half of it above the level of all, half below, less what is chance."""
    slow = math.log(1.2)
    levels = hour_levels({hour: DayLevel(hour, slow if hour >= 12 else 0.0, 0.01, 100) for hour in range(HOURS)})
    real = 1 - 0.01**2 / (slow / 2) ** 2  # 0.988
    assert levels == pytest.approx([-real * slow / 2] * 12 + [real * slow / 2] * 12)


def test_hours_that_differ_by_chance_add_nothing() -> None:
    """Levels that scatter by less than their errors say; and an hour with few calls and none beside it."""
    assert hour_levels({hour: DayLevel(hour, 0.01 * (-1) ** hour, 0.02, 100) for hour in range(HOURS)}) == [0.0] * HOURS
    known = {hour: DayLevel(hour, 0.2 * (hour > 8), 0.001, 100 if hour != 20 else 5) for hour in (1, 9, 20)}
    assert hour_levels(known)[20] == 0.0


def test_too_few_days_say_nothing() -> None:
    """Two days of history are not a baseline."""
    assert find_changes(_days([0.0, 0.0, 1.0, 1.0])) == []
    assert segments([], []) == []
    assert segments(_days([0.0]), []) == [(0, 0)]
    assert Change(1, 2, 1.1).ratio == 1.1
