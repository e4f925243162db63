"""Drift: the API itself got slower or faster, told apart from contention.

The level of a day is the 10% quantile of log(runtime / T(p, o)) over its calls: contention of some hours leaves it where it
is, a new model or new hardware moves it. A change is declared when ``SUSTAINED`` days in a row lie on the same side of the
median of the days since the last change, each by more than ``MIN_CHANGE`` and by more than ``SIGMAS`` standard errors (its
own, and the scatter of the days before).
One-day spikes are therefore never declared.

A service that is slower at some hours, every day, has not moved when its callers do: each call is set against the level of its hour of
the day (``hour_levels``) before the days are compared. Days and hours explain each other, so they are told in ``TURNS``: hours, then
days without what hours add, then hours without what days add, then days again. A service that is faster every Sunday has not moved on a
Sunday either: a step that was there a week before, and went away again, is none (``_weekly``).

False alarms: two days in a row beyond four standard errors on the same side have a chance of about 2e-9 a day if days are independent and
normal; ``benchmarks/drift.py`` shows what simulated months give.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUANTILE = 0.10
"""The low quantile of a day that is its level."""
SUSTAINED = 2
MIN_CHANGE = math.log(1.05)
SIGMAS = 4.0
MIN_DAYS = 3
MIN_CALLS = 20
WINDOW = 14
DAY_S, HOUR_S = 86_400.0, 3_600.0
HOURS = 24
HOUR_CALLS = 30
"""Calls from which an hour of the day has a level of its own; with fewer, the hours beside it count too."""
TURNS = 2
WEEK, WORK_DAYS = 7, 5


@dataclass(frozen=True, slots=True)
class DayLevel:
    """One day (whole days since 1970, UTC): low quantile of log(runtime / profile), its standard error, calls."""

    day: int
    level: float
    error: float
    calls: int


@dataclass(frozen=True, slots=True)
class Change:
    """A sustained change. ``since_day``: first day of the new level; ``found_day``: when it was certain; ``ratio``: new over old."""

    since_day: int
    found_day: int
    ratio: float


def day_level(day: int, low: float, middle: float, high: float, calls: int, between: float) -> DayLevel:
    """The level of a day from quantiles of log(runtime / profile) around ``QUANTILE``.

    *middle*: the quantile itself; *low*, *high*: two around it or at it, *between* of the calls apart: the density there,
    and so the standard error.
    """
    density = between / max(high - low, 1e-6)
    return DayLevel(day, middle, math.sqrt(QUANTILE * (1 - QUANTILE) / calls) / density, calls)


def together(one: DayLevel, other: DayLevel | None) -> DayLevel:
    """Two levels of the same day or hour, from different calls, as one."""
    if other is None:
        return one
    calls = one.calls + other.calls
    mine = one.calls / calls
    error = math.hypot(mine * one.error, (1.0 - mine) * other.error)
    return DayLevel(one.day, mine * one.level + (1.0 - mine) * other.level, error, calls)


def hour_levels(known: Mapping[int, DayLevel]) -> list[float]:
    """What each hour of the day adds to the level of all, from the levels of the hours seen (as ``day_level`` makes them).

    An hour of few calls has the level of itself and its neighbours, and adds nothing where these have few as well. Where hours differ by no
    more than chance, none adds anything; between, each adds the share that is not chance.
    """

    def mean(hours: Sequence[int]) -> tuple[float, int]:
        found = [known[hour % HOURS] for hour in hours if hour % HOURS in known]
        calls = sum(one.calls for one in found)
        return (sum(one.level * one.calls for one in found) / calls if calls else 0.0), calls

    overall, everything = mean(range(HOURS))
    out = []
    for hour in range(HOURS):
        near = (mean([hour + away for away in range(-reach, reach + 1)]) for reach in (0, 1, 2))
        out.append(next((level - overall for level, calls in near if calls >= HOUR_CALLS), 0.0))
    spread = sum(one.calls * (one.level - overall) ** 2 for one in known.values()) / max(everything, 1)
    chance = sum(one.calls * one.error**2 for one in known.values()) / max(everything, 1)
    real = max(0.0, 1.0 - chance / spread) if spread > 0.0 else 0.0
    return [real * level for level in out]


def find_changes(days: Sequence[DayLevel]) -> list[Change]:
    """Sustained changes of level, oldest first."""
    changes: list[Change] = []
    start = 0
    for end in range(SUSTAINED, len(days) + 1):
        recent, before = days[end - SUSTAINED : end], days[max(start, end - SUSTAINED - WINDOW) : end - SUSTAINED]
        if len(before) < MIN_DAYS:
            continue
        moved = _moved(before, recent)
        if moved is not None and not _weekly(days, recent, moved):
            start = end - SUSTAINED
            changes.append(Change(recent[0].day, recent[-1].day, math.exp(moved)))
    return changes


def _moved(before: Sequence[DayLevel], recent: Sequence[DayLevel]) -> float | None:
    """Log ratio of *recent* over *before* when every recent day moved the same way by enough; None otherwise."""
    base = statistics.median(day.level for day in before)
    scatter = 1.4826 * statistics.median(abs(day.level - base) for day in before)
    steps = [day.level - base for day in recent]
    for day, step in zip(recent, steps, strict=True):
        if abs(step) < max(MIN_CHANGE, SIGMAS * math.hypot(day.error, scatter)) or step * steps[0] < 0:
            return None
    return statistics.fmean(steps)


def _weekly(days: Sequence[DayLevel], recent: Sequence[DayLevel], moved: float) -> bool:
    """Whether the days a week before *recent* had moved as much too, and those between had moved back."""
    first = recent[0].day - WEEK
    same = [day.level for day in days if first <= day.day <= recent[-1].day - WEEK]
    earlier = [day.level for day in days if first - WORK_DAYS <= day.day < first]
    between = [day.level for day in days if recent[-1].day - WEEK < day.day < recent[0].day]
    if len(same) < SUSTAINED or min(len(earlier), len(between)) < MIN_DAYS:
        return False
    base = statistics.median(earlier)
    steps = (statistics.fmean(same) - base, statistics.median(between) - base)
    return abs(steps[0] - moved) < abs(moved) / 2 and abs(steps[1]) < abs(moved) / 2


def segments(days: Sequence[DayLevel], changes: Sequence[Change]) -> list[tuple[int, int]]:
    """(first day, last day) of each period of one level: what a profile of that period is to be fitted on, and dated with."""
    if not days:
        return []
    starts = [days[0].day, *(change.since_day for change in changes)]
    ends = [*(max(day.day for day in days if day.day < start) for start in starts[1:]), days[-1].day]
    return list(zip(starts, ends, strict=True))
