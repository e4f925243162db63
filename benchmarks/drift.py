"""Sixty days with three true changes and twenty bursts of contention: are the changes found within two days, and nothing else?

    python benchmarks/drift.py [--seeds 20]

A service of known T(p, o), 200 calls a day with natural token counts, waits by day, 1% timing noise. Three changes of 12 to 40% up or down
at random days; twenty bursts of three to seven hours in which every call takes two to five times as long. False alarms are also counted on
as many quiet runs without changes.
"""

from __future__ import annotations

import argparse

import numpy as np

from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.dated import daily_levels
from tracewrap.runtime.quiet.drift import Change, find_changes
from tracewrap.runtime.quiet.usable import Observation

TRUTH = RuntimeProfile(id="t", model="m", prompt_knots=((1, 0.18), (150, 0.18), (8000, 1.75)), d0=0.012)
DAYS, CALLS, BURSTS = 60, 200, 20


def month(seed: int, changes: bool) -> tuple[list[Observation], list[int]]:
    """(calls, days of the true changes)."""
    dice = np.random.default_rng(seed)
    when = np.sort(dice.uniform(0, DAYS, DAYS * CALLS))
    p = np.exp(dice.normal(6, 1, len(when))).clip(1, 8000).round()
    o = np.exp(dice.normal(4.5, 0.8, len(when))).clip(1, 2000).round()
    runtime = TRUTH.runtimes(p, o) * np.exp(dice.normal(0, 0.01, len(when)))
    true_days: list[int] = []
    if changes:
        while len(true_days) < 3 or min(np.diff(sorted(true_days))) < 7:
            true_days = sorted(int(d) for d in dice.integers(7, DAYS - 3, 3))
        for day in true_days:
            factor = float(np.exp(dice.choice([-1, 1]) * dice.uniform(np.log(1.12), np.log(1.4))))
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


def run(seeds: int) -> dict[str, int]:
    """Counts over *seeds* months with changes and as many without."""
    counts = {"true": 0, "found": 0, "false": 0, "false_quiet": 0}
    for seed in range(seeds):
        calls, true_days = month(seed, True)
        hits, false = judge(find_changes(daily_levels(calls, TRUTH)), true_days)
        counts["true"] += len(true_days)
        counts["found"] += hits
        counts["false"] += false
        calls, _ = month(10_000 + seed, False)
        counts["false_quiet"] += len(find_changes(daily_levels(calls, TRUTH)))
    return counts


def main() -> int:
    """Print the counts; exit 1 when a change was missed or an alarm was false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    counts = run(parser.parse_args().seeds)
    print(
        f"{counts['found']} of {counts['true']} changes found within two days; {counts['false']} false alarms beside them"
    )
    print(f"{counts['false_quiet']} false alarms in as many months without a change")
    return 0 if counts["found"] == counts["true"] and not counts["false"] + counts["false_quiet"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
