"""Which queries configure a profile, and what the choice costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tracewrap.errors import FitError
from tracewrap.runtime.fit.design import Point, design
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.samples import Sample
from tracewrap.study.questions.answer import INPUTS, OUTPUTS, Answer, Row, Seconds, grids, quantile

QUESTION = "Which queries should configure a profile, and what does the choice cost?"
N = 10
DRAWS = 5
Points = Sequence[tuple[int, int]]


def _designed(n: int) -> Points:
    candidates = [Point(p, o) for p in INPUTS for o in OUTPUTS]
    chosen = design(n, max_input_tokens=1920, max_output_tokens=64, candidates=candidates)
    return [(point.input_tokens, point.output_tokens) for point in chosen]


def _random(seed: int) -> Points:
    return random.Random(seed).sample([(p, o) for p in INPUTS for o in OUTPUTS], N)


CHOICES: Mapping[str, Callable[[], Sequence[Points]]] = {
    "all 270 of the paper": lambda: [[(p, o) for p in INPUTS for o in OUTPUTS]],
    "10 designed": lambda: [_designed(N)],
    "10 at random": lambda: [_random(seed) for seed in range(DRAWS)],
    "5 prompt sizes x 1 and 64 out": lambda: [[(p, o) for p in (1, 512, 1024, 1536, 1920) for o in (1, 64)]],
    "10 prompt sizes, 1 out, and (1, 64)": lambda: [
        [(p, 1) for p in (1, 128, 256, 512, 768, 1024, 1280, 1536, 1920)] + [(1, 64)]
    ],
    "10 short ones, up to 256 in": lambda: [[(p, o) for p in (1, 64, 128, 192, 256) for o in (1, 32)]],
}


def answer(data: Path | None) -> Answer:
    """Errors and GPU time of six ways to choose."""
    known, source = grids(data)
    every = {model: sum(seconds.values()) for model, seconds in known.items()}
    rows: list[Row] = []
    for name, choose in CHOICES.items():
        errors: list[float] = []
        shares: list[float] = []
        queries = 0
        for points in choose():
            queries = len(points)
            for model, seconds in known.items():
                errors += _errors(model, seconds, points)
                shares.append(sum(seconds[point] for point in points) / every[model])
        row: Row = {"choice": name, "queries": queries, "gpu_time": sum(shares) / len(shares)}
        rows.append(
            row | {"median": quantile(errors, 0.5), "p90": quantile(errors, 0.9), "p99": quantile(errors, 0.99)}
        )
    by_name = {row["choice"]: row for row in rows}
    designed, few = by_name["10 designed"], by_name["10 short ones, up to 256 in"]
    return Answer(
        QUESTION,
        "Each choice is fitted for nine models; errors are absolute relative errors over the whole grid of 27 prompt and 10 output "
        "sizes, the GPU time is a share of what measuring the grid takes. Designed: greedy I-optimal, without looking at a runtime.",
        "choice=choice;queries=queries|#;gpu_time=GPU time|%1;median=median error|%2;p90=p90|%2;p99=p99|%2",
        rows,
        [
            f"Ten designed queries take {designed['gpu_time']:.1%} of the GPU time of the grid and err by {designed['p90']:.1%} at the "
            f"90th "
            f"percentile; the whole grid errs by {by_name['all 270 of the paper']['p90']:.1%}, ten at random by "
            f"{by_name['10 at random']['p90']:.1%}.",
            f"Short queries are the cheapest and the worst: measured to 256 tokens, p90 over the grid is {few['p90']:.0%}.",
        ],
        "Let tracewrap profile design choose ten queries over the whole range of prompts that you will send, and never fit to short "
        "prompts alone.",
        source,
    )


def _errors(model: str, seconds: Seconds, points: Points) -> list[float]:
    samples = [Sample(p, o, seconds[p, o]) for p, o in points]
    try:
        profile = fit(samples, id=f"few/{model}", model=model).profile
    except FitError:
        return [1.0] * len(seconds)
    return [abs(profile.runtime(p, o) / value - 1.0) for (p, o), value in seconds.items()]
