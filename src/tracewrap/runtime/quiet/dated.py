"""Denoised profiles with their dates: one for each stretch of days in which the API kept its level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.basis import Array
from tracewrap.runtime.quiet.denoise import DenoiseResult, denoise
from tracewrap.runtime.quiet.drift import (
    DAY_S,
    HOUR_S,
    MIN_CALLS,
    QUANTILE,
    TURNS,
    Change,
    DayLevel,
    day_level,
    find_changes,
    hour_levels,
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
    dated = [seen for seen in observations if seen.start_time_s is not None]
    if not dated:
        return []
    starts = np.array([seen.start_time_s for seen in dated])
    logs = np.log([seen.runtime_s for seen in dated]) - np.log(
        profile.runtimes(
            *np.array(
                [(x.input_tokens, x.output_tokens, x.cached_input_tokens or 0, x.images) for x in dated], dtype=float
            ).T
        )
    )
    day, hour = (starts // DAY_S).astype(int), (starts % DAY_S // HOUR_S).astype(int)
    first = int(day.min())
    known: dict[int, DayLevel] = {}
    for _ in range(TURNS):
        moved = np.array([known[at].level if at in known else 0.0 for at in range(first, int(day.max()) + 1)])
        usual = np.array(hour_levels(_levels(hour, logs - moved[day - first])))
        known = {at: one for at, one in _levels(day, logs - usual[hour]).items() if one.calls >= MIN_CALLS}
    return list(known.values())


def _levels(slots: Array, logs: Array) -> dict[int, DayLevel]:
    """The level of each of the *slots* (of days or of hours) that *logs* are in."""
    out = {}
    order = np.lexsort((logs, slots))
    found, starts = np.unique(slots[order], return_index=True)
    for slot, inside in zip(found, np.split(logs[order], starts[1:]), strict=True):
        last = len(inside) - 1
        low, middle, high = np.interp(np.array([0.5, 1.0, 2.0]) * QUANTILE * last, np.arange(last + 1), inside)
        out[int(slot)] = day_level(int(slot), float(low), float(middle), float(high), last + 1, 1.5 * QUANTILE)
    return out


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
