"""Drift: the quiet-day runtime of a deployment moved and stayed moved.

Contention makes a day noisy, a few slow calls make its mean jump; the fastest tenth of the calls, against what their token counts
should take on a quiet day, moves only when the service itself does. So: the low quantile of log(last attempt / denoised runtime), by
deployment and day, judged by ``runtime.drift.find_changes``. One odd day is no event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tracewrap.records import DAY_NS
from tracewrap.report.figures.group import number
from tracewrap.report.schema import Drift
from tracewrap.report.tables.loading import Joined
from tracewrap.report.tables.period import from_ns
from tracewrap.runtime.quiet.drift import (
    MIN_CALLS,
    MIN_DAYS,
    QUANTILE,
    SUSTAINED,
    Change,
    DayLevel,
    day_level,
    find_changes,
)

# The 90% quantile of the negative is the negative of the 10% quantile.
_KEYS = "provider, model, deployment, CAST(floor(hour / 24) AS INTEGER)"
_QUERY = (
    f"SELECT {_KEYS} AS day, count(denoised_s) AS n, quantiles4(ln(denoised_s / last_attempt_s)) AS levels"
    f" FROM joined AS j JOIN labels AS l ON j.dim = l.label_dim WHERE denoised_s > 0 AND last_attempt_s > 0 GROUP BY {_KEYS}"
)

Key = tuple[str, str | None, str]


def events(joined: Joined, history: Joined | None = None) -> tuple[list[Drift], str | None]:
    """Drift that became certain in the period (with the *history* before it), and why none could be looked for (None: it was)."""
    days: dict[Key, list[DayLevel]] = defaultdict(list)
    for part in (history, joined):
        for key, found in _days(part, joined).items() if part is not None else ():
            days[key] += found
    enough = {key: sorted(found, key=lambda day: day.day) for key, found in days.items() if len(found) > MIN_DAYS + 1}
    if not enough:
        need = MIN_DAYS + SUSTAINED
        return (
            [],
            f"drift needs {need} days with {MIN_CALLS} compared calls of one deployment each; look back with --drift-days",
        )
    out = [
        _event(joined, key, found, change)
        for key, found in enough.items()
        for change in find_changes(found)
        if change.found_day >= 0
    ]
    return sorted(out, key=lambda event: -event["ratio"]), None


def _days(part: Joined, joined: Joined) -> Mapping[Key, list[DayLevel]]:
    """Levels of *part* by deployment; days are numbered from the first of *joined*."""
    offset = (part.span.since_ns - joined.span.since_ns) // DAY_NS
    out: dict[Key, list[DayLevel]] = defaultdict(list)
    for provider, model, deployment, index, n, quantiles in part.engine.rows(_QUERY):
        _, tenth, _, twentieth = (number(value) for value in quantiles)
        if n >= MIN_CALLS and tenth is not None and twentieth is not None:
            day = day_level(int(index) + offset, -twentieth, -tenth, -tenth, int(n), QUANTILE / 2)
            out[provider, model, deployment].append(day)
    return out


def _event(joined: Joined, key: Key, days: list[DayLevel], change: Change) -> Drift:
    provider, model, deployment = key
    before = [day for day in days if day.day < change.since_day]
    since = from_ns(joined.span.since_ns + change.since_day * DAY_NS, joined.span.tz).date().isoformat()
    words = f"{100 * abs(change.ratio - 1):.0f}% {'slower' if change.ratio > 1 else 'faster'}"
    return {
        "provider": provider,
        "model": model,
        "deployment": deployment,
        "since_day": since,
        "ratio": change.ratio,
        "baseline_days": len(before),
        "calls": sum(day.calls for day in days if day.day >= change.since_day),
        "text": f"{deployment}: quiet-day runtime {words} since {since} than in the {len(before)} days before",
    }
