"""Drift: the API itself got slower or faster, told apart from contention.

The level of a day is the 10% quantile of log(runtime / T(p, o)) over its calls: contention of some hours leaves it where it
is, a new model or new hardware moves it. A change is declared when ``SUSTAINED`` days in a row lie on the same side of the
median of the days since the last change, each by more than ``MIN_CHANGE`` and by more than ``SIGMAS`` standard errors (its
own, and the scatter of the days before).
One-day spikes are therefore never declared.

False alarms: two days in a row beyond four standard errors on the same side have a chance of about 2e-9 a day if days are independent and
normal; ``benchmarks/drift.py`` shows what simulated months give.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

QUANTILE = 0.10
"""The low quantile of a day that is its level."""
SUSTAINED = 2
MIN_CHANGE = math.log(1.05)
SIGMAS = 4.0
MIN_DAYS = 3
MIN_CALLS = 20
WINDOW = 14
DAY_S = 86_400.0


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


def find_changes(days: Sequence[DayLevel]) -> list[Change]:
    """Sustained changes of level, oldest first."""
    changes: list[Change] = []
    start = 0
    for end in range(SUSTAINED, len(days) + 1):
        recent, before = days[end - SUSTAINED : end], days[max(start, end - SUSTAINED - WINDOW) : end - SUSTAINED]
        if len(before) < MIN_DAYS:
            continue
        moved = _moved(before, recent)
        if moved is not None:
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


def segments(days: Sequence[DayLevel], changes: Sequence[Change]) -> list[tuple[int, int]]:
    """(first day, last day) of each period of one level: what a profile of that period is to be fitted on, and dated with."""
    if not days:
        return []
    starts = [days[0].day, *(change.since_day for change in changes)]
    ends = [*(max(day.day for day in days if day.day < start) for start in starts[1:]), days[-1].day]
    return list(zip(starts, ends, strict=True))
