"""Drift: the quiet-day runtime of a deployment moved and stayed moved.

Contention makes a day noisy, a few slow calls make its mean jump; the fastest tenth of the calls, against what their token counts
should take on a quiet day, moves only when the service itself does. So: the low decile of last attempt / denoised runtime, by
deployment and day; an event when at least two of the last three days lie beyond the median of the days before by a fifth and by 50 ms at
the deployment's median call. One odd day is no event.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracewrap.report.figures import number
from tracewrap.report.model import Drift
from tracewrap.report.period import HOUR_NS, from_ns

if TYPE_CHECKING:
    from tracewrap.report.nightly import Joined

RECENT_DAYS = 3
MIN_BASELINE_DAYS = 3
MIN_CALLS = 20
"""Compared calls that a day needs to count."""
FACTOR = 1.2
MIN_SHIFT_S = 0.05

# The 90% quantile of the negative is the negative of the 10% quantile.
_KEYS = "provider, model, deployment, CAST(floor(hour / 24) AS INTEGER)"
_QUERY = (
    f"SELECT {_KEYS} AS day, count(d) AS n, quantiles4(0 - last / d) AS q, quantiles4(d) AS quiet"
    f" FROM joined AS j JOIN labels AS l ON j.dim = l.label_dim WHERE d > 0 GROUP BY {_KEYS}"
)


@dataclass(frozen=True, slots=True)
class _Day:
    label: str
    calls: int
    low_decile: float
    quiet_s: float


def events(joined: Joined, history: Joined | None = None) -> tuple[list[Drift], str | None]:
    """Drift events of the period (with the *history* before it), and why none could be looked for (None: they were)."""
    days: dict[tuple[str, str | None, str], list[_Day]] = defaultdict(list)
    for part in (history, joined):
        for key, found in _days(part).items() if part is not None else ():
            days[key] += found
    enough = {key: found for key, found in days.items() if len(found) >= MIN_BASELINE_DAYS + 1}
    if not enough:
        need = MIN_BASELINE_DAYS + 1
        return (
            [],
            f"drift needs {need} days with {MIN_CALLS} compared calls of one deployment each; look back with --drift-days",
        )
    found_events = (_event(key, sorted(found, key=lambda day: day.label)) for key, found in enough.items())
    return sorted((event for event in found_events if event is not None), key=lambda event: -event["ratio"]), None


def _days(joined: Joined) -> Mapping[tuple[str, str | None, str], list[_Day]]:
    out: dict[tuple[str, str | None, str], list[_Day]] = defaultdict(list)
    for provider, model, deployment, index, n, ratios, quiet in joined.engine.rows(_QUERY):
        low, typical = number(ratios[1]), number(quiet[0])
        if n >= MIN_CALLS and low is not None and typical is not None:
            label = from_ns(joined.span.since_ns + int(index) * 24 * HOUR_NS, joined.span.tz).date().isoformat()
            out[provider, model, deployment].append(_Day(label, int(n), -low, typical))
    return out


def _event(key: tuple[str, str | None, str], days: Sequence[_Day]) -> Drift | None:
    recent = days[-min(RECENT_DAYS, len(days) - MIN_BASELINE_DAYS) :]
    baseline = statistics.median(day.low_decile for day in days[: -len(recent)])
    moved = [day for day in recent if _beyond(day, baseline)]
    slower = [day for day in moved if day.low_decile > baseline]
    same_way = slower if 2 * len(slower) >= len(moved) else [day for day in moved if day.low_decile < baseline]
    if len(same_way) < min(2, RECENT_DAYS):
        return None
    ratio = statistics.median(day.low_decile for day in same_way) / baseline
    provider, model, deployment = key
    change = f"{100 * abs(ratio - 1):.0f}% {'slower' if ratio > 1 else 'faster'}"
    return {
        "provider": provider,
        "model": model,
        "deployment": deployment,
        "since_day": same_way[0].label,
        "ratio": ratio,
        "baseline_days": len(days) - len(recent),
        "calls": sum(day.calls for day in same_way),
        "text": f"{deployment}: quiet-day runtime {change} since {same_way[0].label} than in the {len(days) - len(recent)} days before",
    }


def _beyond(day: _Day, baseline: float) -> bool:
    factor = max(day.low_decile, baseline) / max(min(day.low_decile, baseline), 1e-12)
    return factor >= FACTOR and abs(day.low_decile - baseline) * day.quiet_s >= MIN_SHIFT_S
