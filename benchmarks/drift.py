"""Sixty days with three true changes and twenty bursts of contention: are the changes found within two days, and nothing else?

    python benchmarks/drift.py [--seeds 20]

A service of known T(p, o), 200 calls a day with natural token counts, waits by day, 1% timing noise. Three changes up or down at random
days, of 12 to 40% and, in as many other months, of 10%; twenty bursts of three to seven hours in which every call takes two to five times
as long. False alarms are also counted on as many quiet months without changes, and on five months each in which the callers change on day
30 and the service does not (``CALLERS``).
"""

from __future__ import annotations

import argparse

import numpy as np

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.dated import daily_levels, denoise_levels
from tracewrap.runtime.quiet.drift import Change, find_changes
from tracewrap.runtime.quiet.usable import Observation

TRUTH = RuntimeProfile(id="t", model="m", prompt_knots=((1, 0.18), (150, 0.18), (8000, 1.75)), d0=0.012)
DAYS, CALLS, BURSTS = 60, 200, 20
CACHED_S = 2e-5
"""Seconds that a cached token takes: a tenth of one that is not."""
SIZES, TEN = (1.12, 1.4), (1.1, 1.1)
CALLERS = ("nothing", "prompts longer", "caching on", "office hours only", "30% priority", "mostly flex")
CALLERS_DAY, CALLERS_SEEDS = 30, 5
MISSED_MOST = 0.05


def month(seed: int, sizes: tuple[float, float] | None) -> tuple[list[Observation], list[int]]:
    """(calls, days of the true changes). *sizes*: least and most that one changes the runtime by, up or down; None: no changes."""
    dice = np.random.default_rng(seed)
    when = np.sort(dice.uniform(0, DAYS, DAYS * CALLS))
    p = np.exp(dice.normal(6, 1, len(when))).clip(1, 8000).round()
    o = np.exp(dice.normal(4.5, 0.8, len(when))).clip(1, 2000).round()
    runtime = TRUTH.runtimes(p, o) * np.exp(dice.normal(0, 0.01, len(when)))
    true_days: list[int] = []
    if sizes is not None:
        while len(true_days) < 3 or min(np.diff(sorted(true_days))) < 7:
            true_days = sorted(int(d) for d in dice.integers(7, DAYS - 3, 3))
        for day in true_days:
            factor = float(np.exp(dice.choice([-1, 1]) * dice.uniform(*np.log(sizes))))
            runtime = np.where(when >= day, runtime * factor, runtime)
    waits = (dice.random(len(when)) < 0.4) * dice.lognormal(np.log(0.35), 1.3, len(when))
    runtime = runtime + waits
    for start in dice.uniform(0, DAYS, BURSTS):
        inside = (when >= start) & (when < start + dice.uniform(3, 7) / 24)
        runtime = np.where(inside, runtime * dice.uniform(2, 5, len(when)), runtime)
    rows = zip(p, o, runtime, when, strict=True)
    return [Observation(int(a), int(b), float(c), start_time_s=float(t) * 86400) for a, b, c, t in rows], true_days


def judge(found: list[Change], true_days: list[int]) -> tuple[int, int]:
    """(true changes found within two days, alarms that are none)."""
    hits = [day for day in true_days if any(abs(c.since_day - day) <= 1 and c.found_day - day <= 2 for c in found)]
    false = [c for c in found if not any(abs(c.since_day - day) <= 1 for day in true_days)]
    return len(hits), len(false)


def callers(what: str, seed: int) -> int:
    """Changes found, all of them false, in a month whose callers do *what* from ``CALLERS_DAY`` on; a tier is a deployment of its own."""
    dice = np.random.default_rng([seed, CALLERS.index(what)])
    when = np.sort(dice.uniform(0, DAYS, DAYS * CALLS))
    later = when >= CALLERS_DAY
    p = np.exp(dice.normal(6, 1, len(when)) + (later * np.log(3.0) if what == "prompts longer" else 0.0))
    p, o = p.clip(1, 8000).round(), np.exp(dice.normal(4.5, 0.8, len(when))).clip(1, 2000).round()
    cached = np.where(later & (what == "caching on"), (0.8 * p // 64) * 64, 0.0)
    hour = when % 1 * 24
    if what == "office hours only":
        when = np.where(later, np.floor(when) + (9 + hour / 3) / 24, when)
        hour = when % 1 * 24
    busy = 1.0 + 0.25 * np.exp(-(((hour - 14) / 4) ** 2))
    tier = np.zeros(len(when))
    if what in ("30% priority", "mostly flex"):
        tier = (later & (dice.random(len(when)) < (0.3 if what == "30% priority" else 0.8))) * 1.0
    speed = np.where(tier > 0, 0.5 if what == "30% priority" else 2.5, 1.0)
    quiet = (TRUTH.runtimes(p - cached, o) + CACHED_S * cached) * busy * speed
    waits = (dice.random(len(when)) < 0.4) * dice.lognormal(np.log(0.35), 1.3, len(when))
    runtime = quiet * np.exp(dice.normal(0, 0.01, len(when))) + waits
    found = 0
    for each in np.unique(tier):
        rows = zip(*(x[tier == each] for x in (p, o, runtime, when, cached)), strict=True)
        seen = [
            Observation(int(a), int(b), float(c), start_time_s=float(t) * 86400, cached_input_tokens=int(d))
            for a, b, c, t, d in rows
        ]
        found += len(denoise_levels(seen, id="k", model="m")) - 1
    return found


def run(seeds: int) -> dict[str, int]:
    """Counts over *seeds* months with changes, as many with changes of a tenth, and as many without."""
    counts = {"true": 0, "found": 0, "false": 0, "true_ten": 0, "found_ten": 0, "false_ten": 0, "false_quiet": 0}
    for seed in range(seeds):
        for sizes, name, first in ((SIZES, "", 0), (TEN, "_ten", 20_000)):
            calls, true_days = month(first + seed, sizes)
            hits, false = judge(find_changes(daily_levels(calls, TRUTH)), true_days)
            counts["true" + name] += len(true_days)
            counts["found" + name] += hits
            counts["false" + name] += false
        calls, _ = month(10_000 + seed, None)
        counts["false_quiet"] += len(find_changes(daily_levels(calls, TRUTH)))
    return counts


def main() -> int:
    """Print the counts; exit 1 when changes were missed (of a tenth: more than one in twenty) or an alarm was false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    counts = run(parser.parse_args().seeds)
    for name, what in (("", "changes of 12 to 40%"), ("_ten", "changes of 10%")):
        print(
            f"{counts['found' + name]} of {counts['true' + name]} {what} found within two days; "
            f"{counts['false' + name]} false alarms beside them"
        )
    print(f"{counts['false_quiet']} false alarms in as many months without a change")
    alarms = {what: sum(callers(what, seed) for seed in range(CALLERS_SEEDS)) for what in CALLERS}
    for what, found in alarms.items():
        print(f"{found} false alarms in {CALLERS_SEEDS} months in which callers change: {what}")
    false = counts["false"] + counts["false_ten"] + counts["false_quiet"] + sum(alarms.values())
    missed_ten = counts["true_ten"] - counts["found_ten"]
    return 1 if false or counts["found"] < counts["true"] or missed_ten > MISSED_MOST * counts["true_ten"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
