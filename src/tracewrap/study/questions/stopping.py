"""How many queries: error against n, with a rule when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracewrap.formats.profile_drawing import Chart, Series
from tracewrap.runtime.fit.design import Point, design
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.fit.stopping import expected_error
from tracewrap.runtime.samples import Sample
from tracewrap.study.questions.answer import INPUTS, OUTPUTS, Answer, Row, grids, median, quantile

QUESTION = "How many queries are enough, and what tells when to stop?"
COUNTS = (4, 5, 6, 8, 10, 12, 16, 20, 27)
LIMITS = (0.05, 0.03, 0.02, 0.015)


METHOD = (
    "Queries in the order of the design, nine models. Error: 90th percentile over the 270 points. Expected: the 90% half-width that "
    "the fitted "
    "profile states, averaged over the region; it needs no further measurement, so it can tell when to stop."
)


def answer(data: Path | None) -> Answer:
    """Error and expected error after n designed queries; what stopping at a limit gives."""
    known, source = grids(data)
    candidates = [Point(p, o) for p in INPUTS for o in (1, OUTPUTS[-1])]
    order = [
        (q.input_tokens, q.output_tokens) for q in design(max(COUNTS), max_input_tokens=1920, candidates=candidates)
    ]
    errors: dict[tuple[str, int], float] = {}
    expected: dict[tuple[str, int], float] = {}
    rows: list[Row] = []
    for n in COUNTS:
        for model, seconds in known.items():
            samples = [Sample(p, o, seconds[p, o]) for p, o in order[:n]]
            profile = fit(samples, id=f"n/{model}", model=model).profile
            expected[model, n] = expected_error(profile, 1920, 64)
            errors[model, n] = quantile([abs(profile.runtime(p, o) / s - 1) for (p, o), s in seconds.items()], 0.9)
        row: Row = {
            "queries": n,
            "p90": median([errors[m, n] for m in known]),
            "worst": max(errors[m, n] for m in known),
        }
        rows.append(row | {"expected": median([expected[m, n] for m in known])})
    stops = [_stopped(limit, errors, expected, list(known)) for limit in LIMITS]
    told = [
        f"Stopping at an expected error of {limit:.1%}: {n:.0f} queries at the median, p90 error {error:.1%} (worst model {worst:.1%})."
        for limit, n, error, worst in stops
    ]
    return Answer(
        QUESTION,
        METHOD,
        "queries=queries|#;p90=p90 error|%2;worst=worst model|%2;expected=expected|%2",
        rows,
        told,
        "Let the profile say when it is good enough: tracewrap profile measure --until 2% measures in the order of the design and stops "
        "when the interval is that narrow.",
        source,
        [_chart(rows)],
    )


def _chart(rows: Sequence[Row]) -> Chart:
    return Chart(
        series=[
            Series(points=[(float(r["queries"]), 100 * r["p90"]) for r in rows], name="p90 error"),
            Series(points=[(float(r["queries"]), 100 * r["expected"]) for r in rows], name="expected", dashed=True),
        ],
        title="Median over nine models",
        x_label="queries, in the order of the design",
        y_label="%",
        log_y=True,
    )


def _stopped(
    limit: float, errors: dict[tuple[str, int], float], expected: dict[tuple[str, int], float], models: list[str]
) -> tuple[float, float, float, float]:
    at = {m: next((n for n in COUNTS if expected[m, n] <= limit), COUNTS[-1]) for m in models}
    found = [errors[m, n] for m, n in at.items()]
    return limit, median([float(n) for n in at.values()]), median(found), max(found)
