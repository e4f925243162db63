"""Caching and load: what the quiet-day model makes of both, against traffic whose truth is known."""

from __future__ import annotations

import math
import random
from pathlib import Path

from tracewrap.runtime.quiet.denoise import denoise
from tracewrap.runtime.quiet.usable import Observation
from tracewrap.study.questions.answer import Answer, Row, median, quantile

QUESTION = "What does the quiet-day model make of caching and of load?"
CALLS = 600
PROMPT_S, CACHED_S, TOKEN_S, FIXED_S = 1e-4, 1e-5, 0.012, 0.3
"""The made-up API: seconds a prompt token, a cached one, an output token, and a call."""
NOISE, EXCESS, SPREAD = 0.02, 0.3, 1.0
"""Noise of every call; of a slowed one the median excess and the deviation of its logarithm."""


def answer(data: Path | None) -> Answer:
    """Error and coverage by load and by what is said of the cache."""
    rows = [_row(slowed, 0.0, True) for slowed in (0.0, 0.3, 0.6, 0.8, 0.9, 1.0)]
    rows += [_row(0.6, cached, told) for cached in (0.5, 0.95) for told in (True, False)]
    told = [r for r in rows if r["cached"] and r["reported"] == "yes"]
    silent = [r for r in rows if r["cached"] and r["reported"] == "no"]
    loads = [r for r in rows if not r["cached"]]
    good = [r for r in loads if r["p90"] is not None and r["p90"] < 0.05]
    return Answer(
        QUESTION,
        f"{CALLS} made-up calls each, lognormal sizes, {NOISE:.0%} noise. Load: a share of the calls is slowed, by {EXCESS:.0%} at the "
        f"median and far more at the "
        "tail. Cache: a share of the calls has 90% of its prompt cached, at a tenth of the time. Error and coverage are of the learned "
        "profile "
        "against what each call would have taken on a quiet day; raw is how much longer the calls took.",
        "slowed=calls slowed|%0;cached=with a cached prefix|%0;reported=cache reported;raw=raw over quiet|+0;median=median "
        "error|%1;p90=p90|%1;"
        "covered=in the interval|%0;verdict=verdict",
        rows,
        [
            f"Load: up to {max(float(r['slowed']) for r in good):.0%} slowed calls the quiet day is found to "
            f"{max(float(r['p90']) for r in good):.1%} (p90), though the mean call takes "
            f"{max(float(r['raw']) for r in good):.0%} longer. Load is not in the quiet-day profile at all: it is contention, raw less "
            f"denoised.",
            f"Caching, where usage reports cached tokens: {max(float(r['p90'] or 0) for r in told):.1%} at p90, as a term of its own. "
            f"Where it does not, up to "
            f"{max(float(r['p90'] or 0) for r in silent):.0%}: two speeds of the same prompt, which no fit over tokens tells apart.",
            "When every call was slowed, no method can tell that from a slower API; the calls are then described, not the quiet day.",
        ],
        "Record cached tokens (every SDK that bills them reports them) and keep a few calls from quiet hours: with both, load up to "
        "nine calls in ten does no harm.",
        "made-up traffic, no measurement",
    )


def _row(slowed: float, cached: float, reported: bool) -> Row:
    dice = random.Random(int(1000 * slowed + 10 * cached) + reported)
    seen: list[Observation] = []
    truth: list[tuple[int, int, int, float]] = []
    raw = 0.0
    for i in range(CALLS):
        p, o = round(math.exp(dice.gauss(7, 0.8))), max(1, round(math.exp(dice.gauss(4.8, 0.7))))
        c = round(0.9 * p) if dice.random() < cached else 0
        quiet = FIXED_S + PROMPT_S * (p - c) + CACHED_S * c + TOKEN_S * o
        excess = EXCESS * math.exp(dice.gauss(0, SPREAD)) if dice.random() < slowed else 0.0
        took = quiet * math.exp(dice.gauss(0, NOISE)) * (1 + excess)
        raw += took / quiet - 1
        truth.append((p, o, c if reported else 0, quiet))
        start = 1.79e9 + 7 * 86400 * i / CALLS
        seen.append(Observation(p, o, took, None, (c or None) if reported else None, start))
    found = denoise(seen, id="made-up", model="made-up")
    row: Row = {
        "slowed": slowed,
        "cached": cached,
        "reported": ("yes" if reported else "no") if cached else None,
        "raw": raw / CALLS,
    }
    row |= {"median": None, "p90": None, "covered": None, "verdict": found.verdict}
    if found.profile is None:
        return row
    estimates = [(found.profile.estimate(p, o, c), quiet) for p, o, c, quiet in truth]
    errors = [abs(e.value / quiet - 1) for e, quiet in estimates]
    inside = sum(e.low <= quiet <= e.high for e, quiet in estimates) / CALLS
    return row | {"median": median(errors), "p90": quantile(errors, 0.9), "covered": inside}
