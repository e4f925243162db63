"""design(n): which (p, o) to measure next, in order, so that predictions over a region come out best.

Greedy I-optimality: each point is the one that most lowers the mean posterior variance of log T over the region (log-uniform in p and
o), given the points before it. The prior says what is known of any accelerator before measuring it, in shares of T:

* prompt time is smooth over log(1 + p / knee), flat where reading the weights dominates: a Gaussian process, deviation
  ``CURVE_SD``, correlation length two octaves;
* it has a step of one GEMM tile (64 to 256 tokens; 128 stands for them) of unknown size: a pair of prompts just below and just
  above one tile edge tells it;
* time per output token, and its growth with context, are each known within a factor.

A profile passed as *prior* replaces the nominal shares of prompt and decode time. No number here was fitted; the correlation
length and the noise were looked at on the A100 logs of ``benchmarks/accuracy.py``, and the noise is the one that ``fit`` assumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.profile import RuntimeProfile

Array = NDArray[np.float64]

CURVE_SD = 1.0
CURVE_OCTAVES = 2.0
TILE = 128
TILE_SD = 0.5
LEVEL_SD = 1.0
CONTEXT_SD = 0.5
NOISE_SD = 0.005
"""Relative deviation of one measurement, as the fit assumes at least."""
NOMINAL_KNEE = 128.0
"""Prompt tokens up to which reading the weights dominates: about peak FLOP/s over bandwidth of today's GPUs, in 16-bit tokens."""
NOMINAL_CONTEXT = 32768.0
"""Context at which reading keys and values costs as much as reading the weights, nominally."""


@dataclass(frozen=True, slots=True)
class Point:
    """A (p, o) to measure."""

    input_tokens: int
    output_tokens: int


def design(
    n: int,
    *,
    max_input_tokens: int = 2048,
    max_output_tokens: int = 64,
    known: Iterable[Point] = (),
    prior: RuntimeProfile | None = None,
    candidates: Sequence[Point] | None = None,
    budget_s: float | None = None,
) -> list[Point]:
    """The next *n* points, in order of usefulness, for the region 1..max_input_tokens x 1..max_output_tokens.

    *known*: points measured already. *candidates*: points that can be measured, in place of the module's own grid.
    *budget_s*: stop before the expected seconds of the chosen points, by *prior*, exceed it (needs *prior*).
    Raises ConfigurationError for impossible values.
    """
    _check(n, max_input_tokens, max_output_tokens, budget_s, prior)
    grid = list(candidates) if candidates is not None else _grid(max_input_tokens, max_output_tokens)
    region = _region(max_input_tokens, max_output_tokens)
    shares = _Shares(prior, max_input_tokens)
    chosen: list[Point] = []
    cross, kernel = _covariance(region, grid, shares), _covariance(grid, grid, shares)
    # Posterior covariances are updated point by point (rank one), so n points cost n passes over the grid.
    for point in known:
        column_region = _covariance(region, [point], shares)[:, 0]
        column_grid = _covariance(grid, [point], shares)[:, 0]
        variance = float(_covariance([point], [point], shares)[0, 0]) + NOISE_SD**2
        cross -= np.outer(column_region, column_grid) / variance
        kernel -= np.outer(column_grid, column_grid) / variance
    spent = 0.0
    free = np.ones(len(grid), dtype=bool)
    for _ in range(min(n, len(grid))):
        gain = np.mean(cross**2, axis=0) / (np.maximum(np.diag(kernel), 0.0) + NOISE_SD**2)
        gain[~free] = -1.0
        best = int(np.argmax(np.round(gain / max(gain.max(), 1e-300), 9)))
        if budget_s is not None and prior is not None:
            spent += prior.runtime(grid[best].input_tokens, grid[best].output_tokens)
            if spent > budget_s:
                break
        chosen.append(grid[best])
        free[best] = False
        variance = float(kernel[best, best]) + NOISE_SD**2
        cross, kernel = (
            cross - np.outer(cross[:, best], kernel[best]) / variance,
            kernel - np.outer(kernel[:, best], kernel[best]) / variance,
        )
    return chosen


def _check(n: int, max_p: int, max_o: int, budget_s: float | None, prior: RuntimeProfile | None) -> None:
    for name, value in (("n", n), ("max_input_tokens", max_p), ("max_output_tokens", max_o)):
        if value < 1:
            raise ConfigurationError(f"{name} is {value}, must be at least 1")
    if budget_s is not None and prior is None:
        raise ConfigurationError("a budget in seconds needs a prior profile that says what a point takes")


def _grid(max_p: int, max_o: int) -> list[Point]:
    """Candidates: 1, tile edges and half tiles on a geometric ladder, the largest prompt; one output token or many."""
    sizes = {1, max_p}
    edge = TILE
    while edge <= max_p:
        sizes |= {size for size in (edge // 2, edge, edge + TILE // 2, edge + edge // 2) if size <= max_p}
        edge *= 2
    many = sorted({1, max_o})
    return [Point(p, o) for p in sorted(sizes) for o in many]


def _region(max_p: int, max_o: int) -> list[Point]:
    """Where predictions should be good: log-uniform over the region, on and off the tile edges."""
    sizes = {round(max(1.0, x)) for x in np.geomspace(1, max_p, 33)}
    outputs = {round(max(1.0, x)) for x in np.geomspace(1, max_o, 5)}
    return [Point(p, o) for p in sorted(sizes) for o in sorted(outputs)]


class _Shares:
    """Prompt and decode time as shares of T at a point, and the tile and context features."""

    def __init__(self, prior: RuntimeProfile | None, max_p: int) -> None:
        self._prior = prior
        self._max_p = max_p

    def of(self, points: Sequence[Point]) -> tuple[Array, Array, Array, Array, Array]:
        """(octaves above the knee, prompt share, decode share, tile feature, context feature) of each point."""
        p = np.array([q.input_tokens for q in points], dtype=np.float64)
        o = np.array([q.output_tokens for q in points], dtype=np.float64)
        if self._prior is None:
            prompt = np.maximum(1.0, p / NOMINAL_KNEE)
            decode = np.maximum(o - 1.0, 0.0) * (1.0 + p / NOMINAL_CONTEXT)
        else:
            prompt = np.array([self._prior.overhead_s + self._prior.prompt_time(x) for x in p])
            decode = np.array([self._prior.decode_time(x, y) for x, y in zip(p, o, strict=True)])
        total = prompt + decode
        padding = (TILE * np.ceil(p / TILE) - p) / np.maximum(p, float(TILE))
        context = (p + o / 2) / max(1.0, min(float(self._max_p), NOMINAL_CONTEXT))
        return np.log2(1.0 + p / NOMINAL_KNEE), prompt / total, decode / total, padding, context


def _covariance(rows: Sequence[Point], columns: Sequence[Point], shares: _Shares) -> Array:
    """Prior covariance of log T between points."""
    x, prompt, decode, tile, context = shares.of(rows)
    x2, prompt2, decode2, tile2, context2 = shares.of(columns)
    distance = np.abs(x[:, None] - x2[None, :]) / CURVE_OCTAVES
    root3 = math.sqrt(3.0)
    curve = CURVE_SD**2 * (1 + root3 * distance) * np.exp(-root3 * distance)  # Matern 3/2
    of_prompt = curve + TILE_SD**2 * np.outer(tile, tile2)
    of_decode = LEVEL_SD**2 + CONTEXT_SD**2 * np.outer(context, context2)
    result: Array = np.outer(prompt, prompt2) * of_prompt + np.outer(decode, decode2) * of_decode
    return result
