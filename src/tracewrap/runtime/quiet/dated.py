"""Denoised profiles with their dates: one for each stretch of days in which the API kept its level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.denoise import DenoiseResult, denoise
from tracewrap.runtime.quiet.drift import (
    DAY_S,
    MIN_CALLS,
    QUANTILE,
    Change,
    DayLevel,
    day_level,
    find_changes,
    segments,
)
from tracewrap.runtime.quiet.usable import Observation


@dataclass(frozen=True, slots=True)
class Level:
    """One stretch of days (whole days since 1970, UTC, both included; None: without dates) and what was learned from it.

    ``change``: the change it began with; None for the first.
    """

    since_day: int | None
    until_day: int | None
    result: DenoiseResult
    change: Change | None = None


def daily_levels(observations: Iterable[Observation], profile: RuntimeProfile) -> list[DayLevel]:
    """The level of each day with at least ``drift.MIN_CALLS`` calls, relative to *profile*; calls without a start time are left out."""
    days: dict[int, list[float]] = {}
    for seen in observations:
        if seen.start_time_s is not None:
            expected = profile.runtime(
                seen.input_tokens, seen.output_tokens, seen.cached_input_tokens or 0, seen.images
            )
            days.setdefault(int(seen.start_time_s // DAY_S), []).append(math.log(seen.runtime_s / expected))
    return [_level(day, logs) for day, logs in sorted(days.items()) if len(logs) >= MIN_CALLS]


def _level(day: int, logs: Sequence[float]) -> DayLevel:
    low, middle, high = (float(x) for x in np.quantile(logs, [QUANTILE / 2, QUANTILE, 2 * QUANTILE]))
    return day_level(day, low, middle, high, len(logs), 1.5 * QUANTILE)


def denoise_levels(observations: Iterable[Observation], *, id: str, model: str) -> list[Level]:
    """The denoised profile of each stretch between drifts, oldest first; the last is the one in force.

    One stretch where nothing drifted, or where days are too few to tell. Arguments as ``denoise``.
    """
    kept = list(observations)
    whole = denoise(kept, id=id, model=model)
    days = [] if whole.profile is None else daily_levels(kept, whole.profile)
    changes = find_changes(days)
    if not changes:
        return [Level(*_dates(kept), whole)]
    out = []
    for (first, _), change in zip(segments(days, changes), [None, *changes], strict=True):
        last = min((c.since_day for c in changes if c.since_day > first), default=10**9) - 1
        inside = [
            seen for seen in kept if seen.start_time_s is not None and first <= seen.start_time_s // DAY_S <= last
        ]
        if change is None:  # days before the first with enough calls belong to the first stretch
            inside = [seen for seen in kept if seen.start_time_s is not None and seen.start_time_s // DAY_S <= last]
        out.append(Level(*_dates(inside), denoise(inside, id=id, model=model), change))
    return out


def _dates(observations: Sequence[Observation]) -> tuple[int | None, int | None]:
    days = [int(seen.start_time_s // DAY_S) for seen in observations if seen.start_time_s is not None]
    return (min(days), max(days)) if days else (None, None)
