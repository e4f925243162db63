"""Drift: the quiet-day runtime of a deployment moved and stayed moved.

Contention makes a day noisy, a few slow calls make its mean jump; the fastest tenth of the calls, against what their token counts
should take on a quiet day, moves only when the service itself does. So: the low quantile of log(last attempt / denoised runtime), by
deployment and day, judged by ``runtime.drift.find_changes``. One odd day is no event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tracewrap.records import DAY_NS, HOUR_NS
from tracewrap.report.figures.group import number
from tracewrap.report.schema import Drift
from tracewrap.report.tables.engines import Engine
from tracewrap.report.tables.loading import Joined
from tracewrap.report.tables.period import from_ns
from tracewrap.runtime.quiet.drift import (
    HOURS,
    MIN_CALLS,
    MIN_DAYS,
    QUANTILE,
    SUSTAINED,
    TURNS,
    Change,
    DayLevel,
    day_level,
    find_changes,
    hour_levels,
    together,
)

_DEPLOYMENT = "provider, model, deployment"

Key = tuple[str, str | None, str]


def events(joined: Joined, history: Joined | None = None) -> tuple[list[Drift], str | None]:
    """Drift that became certain in the period (with the *history* before it), and why none could be looked for (None: it was)."""
    parts = [_Part.of(part, joined) for part in (history, joined) if part is not None]
    first_ns = min(part.since_ns for part in parts)
    days = _days(parts) if joined.span.until_ns - first_ns > (MIN_DAYS + 1) * DAY_NS else {}
    enough = {key: found for key, found in days.items() if len(found) > MIN_DAYS + 1}
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


@dataclass(frozen=True, slots=True)
class _Part:
    """Joined calls, with days numbered from the first of the period and hours of the day in UTC, as SQL."""

    engine: Engine
    since_ns: int
    day: str
    hour: str

    @classmethod
    def of(cls, part: Joined, period: Joined) -> _Part:
        since_ns = part.span.since_ns
        days, hours = (since_ns - period.span.since_ns) // DAY_NS, since_ns // HOUR_NS % HOURS
        return cls(
            part.engine, since_ns, f"CAST(floor(hour / 24) AS INTEGER) + ({days})", f"(hour + {hours}) % {HOURS}"
        )

    def levels(self, slot: str, other: str, added: Mapping[str, Mapping[int, float]]) -> Iterator[tuple[Key, DayLevel]]:
        """By deployment and *slot* (day or hour of the day): the level, less what is *added* by the *other*, where that is known."""
        # The 90% quantile of the negative is the negative of the 10% quantile.
        less, beside = "ln(denoised_s / last_attempt_s)", ""
        if added:
            rows = [(key, at, value) for key, values in added.items() for at, value in values.items()]
            self.engine.table("added", {"to_deployment": "VARCHAR", "at_slot": "INTEGER", "added": "DOUBLE"}, rows)
            less += " + a.added"
            beside = f" JOIN added AS a ON l.deployment = a.to_deployment AND {other} = a.at_slot"
        query = (
            f"SELECT {_DEPLOYMENT}, {slot} AS slot, count(denoised_s) AS n, quantiles4({less}) AS levels"
            f" FROM joined AS j JOIN labels AS l ON j.dim = l.label_dim{beside}"
            f" WHERE denoised_s > 0 AND last_attempt_s > 0 GROUP BY {_DEPLOYMENT}, {slot}"
        )
        for provider, model, deployment, at, n, quantiles in self.engine.rows(query):
            _, tenth, _, twentieth = (number(value) for value in quantiles)
            if tenth is not None and twentieth is not None:
                level = day_level(int(at), -twentieth, -tenth, -tenth, int(n), QUANTILE / 2)
                yield (provider, model, deployment), level


def _days(parts: Sequence[_Part]) -> Mapping[Key, list[DayLevel]]:
    """The levels of the days of each deployment, in order, less what hours of the day add."""
    days: dict[Key, list[DayLevel]] = {}
    for _ in range(TURNS):
        moved = {deployment: {day.day: day.level for day in found} for (_, _, deployment), found in days.items()}
        hours: dict[str, dict[int, DayLevel]] = defaultdict(dict)
        for part in parts:
            for (_, _, deployment), level in part.levels(part.hour, part.day, moved):
                hours[deployment][level.day] = together(level, hours[deployment].get(level.day))
        added = {deployment: dict(enumerate(hour_levels(known))) for deployment, known in hours.items()}
        days = defaultdict(list)
        for part in parts:
            for key, level in part.levels(part.day, part.hour, added):
                if level.calls >= MIN_CALLS:
                    days[key].append(level)
    return {key: sorted(found, key=lambda day: day.day) for key, found in days.items()}


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
