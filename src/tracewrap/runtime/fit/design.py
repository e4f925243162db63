"""design(n): which (p, o) to measure next, in order, so that predictions over a region come out best.

Greedy I-optimality: each point is the one that most lowers the mean posterior variance of log T over the region (log-uniform in p and
o), given the points before it. The prior says what is known of any accelerator before measuring it, in shares of T:

* prompt time is smooth over log(1 + p / knee), flat where reading the weights dominates: a Gaussian process, deviation
  ``CURVE_SD``, correlation length two octaves;
* it has a step of one GEMM tile (64 to 256 tokens; 128 stands for them) of unknown size: a pair of prompts just below and just
  above one tile edge tells it;
* time per output token, and its growth with context, are each known within a factor.

A profile passed as *prior* replaces the nominal shares of prompt and decode time. No number here was fitted; the correlation
length and the noise were looked at on the A100 logs of ``benchmarks/accuracy.py``. Of ten points at least ``DECODE_POINTS`` generate more
than one token: of two a single slow measurement would bend the time per output token by a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.samples import checked_noise

Array = NDArray[np.float64]

CURVE_SD = 1.0
CURVE_OCTAVES = 2.0
TILE = 128
TILE_SD = 0.5
LEVEL_SD = 1.0
CONTEXT_SD = 0.5
NOISE_SD = 0.005
"""Relative deviation of one measurement where none is told: quiet hardware's."""
DECODE_POINTS, DECODE_BY = 3, 10
"""How many of the first points generate more than one token, and among how many points they are."""
NOMINAL_KNEE = 128.0
"""Prompt tokens up to which reading the weights dominates: about peak FLOP/s over bandwidth of today's GPUs, in 16-bit tokens."""
NOMINAL_CONTEXT = 32768.0
"""Context at which reading keys and values costs as much as reading the weights, nominally."""


@dataclass(frozen=True, slots=True)
class Point:
    """A (p, o) to measure."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Dollars per million input and output tokens."""

    usd_per_million_input_tokens: float
    usd_per_million_output_tokens: float

    def usd(self, point: Point) -> float:
        """What one query at *point* costs, dollars."""
        spent = point.input_tokens * self.usd_per_million_input_tokens
        return (spent + point.output_tokens * self.usd_per_million_output_tokens) / 1e6


def design(
    n: int,
    *,
    max_input_tokens: int = 2048,
    max_output_tokens: int = 64,
    known: Iterable[Point] = (),
    prior: RuntimeProfile | None = None,
    candidates: Sequence[Point] | None = None,
    budget_s: float | None = None,
    budget_usd: float | None = None,
    prices: TokenPrices | None = None,
    noise: float | None = None,
) -> list[Point]:
    """The next *n* points, in order of usefulness, for the region 1..max_input_tokens x 1..max_output_tokens.

    *known*: points measured already. *candidates*: points that can be measured, in place of the module's own grid.
    *noise*: relative deviation of one measurement, where it is known. *budget_s*, *budget_usd*: stop before
    the chosen points, one query each, would exceed so many seconds (by *prior*) or dollars (by *prices*). Raises
    ConfigurationError for impossible values, and when a budget does not reach for the first point.
    """
    _check(n, max_input_tokens, max_output_tokens)
    square = checked_noise(noise, NOISE_SD) ** 2
    budgets = _budgets(budget_s, prior, budget_usd, prices)
    grid = list(candidates) if candidates is not None else _grid(max_input_tokens, max_output_tokens)
    region = _region(max_input_tokens, max_output_tokens)
    shares = _Shares(prior, max_input_tokens)
    before = list(known)
    cross, kernel = _given(region, grid, before, shares, square)
    decode = np.array([point.output_tokens > 1 for point in grid])
    chosen: list[Point] = []
    free = np.ones(len(grid), dtype=bool)
    for _ in range(min(n, len(grid))):
        gain = np.mean(cross**2, axis=0) / (np.maximum(np.diag(kernel), 0.0) + square)
        gain[~free] = -1.0
        if _decode_is_due([*before, *chosen]) and (free & decode).any():
            gain[~decode] = -1.0
        best = int(np.argmax(np.round(gain / max(gain.max(), 1e-300), 9)))
        if not all(budget.allows([*chosen, grid[best]]) for budget in budgets):
            break
        chosen.append(grid[best])
        free[best] = False
        row, variance = kernel[best], float(kernel[best, best]) + square
        cross, kernel = cross - np.outer(cross[:, best], row) / variance, kernel - np.outer(row, row) / variance
    return chosen


def _decode_is_due(points: Sequence[Point]) -> bool:
    """Whether the point after *points* must generate tokens, or too few do."""
    missing = DECODE_POINTS - sum(point.output_tokens > 1 for point in points)
    return missing > 0 and len(points) + missing >= DECODE_BY


def _given(
    region: Sequence[Point], grid: Sequence[Point], known: Iterable[Point], shares: _Shares, square: float
) -> tuple[Array, Array]:
    """Covariances region x grid and grid x grid after the points *known*: rank-one updates, so a point costs a pass over the grid.

    *square*: variance of one measurement, relative.
    """
    cross, kernel = _covariance(region, grid, shares), _covariance(grid, grid, shares)
    for point in known:
        column_region = _covariance(region, [point], shares)[:, 0]
        column_grid = _covariance(grid, [point], shares)[:, 0]
        variance = float(_covariance([point], [point], shares)[0, 0]) + square
        cross -= np.outer(column_region, column_grid) / variance
        kernel -= np.outer(column_grid, column_grid) / variance
    return cross, kernel


@dataclass(frozen=True)
class _Budget:
    """What may be spent, in *unit*, and what a point takes."""

    limit: float
    unit: str
    takes: Callable[[Point], float]

    def allows(self, points: Sequence[Point]) -> bool:
        """Whether *points* stay within the limit; ConfigurationError when already the first one does not."""
        needed = sum(self.takes(point) for point in points)
        if needed > self.limit and len(points) == 1:
            where = f"({points[0].input_tokens}, {points[0].output_tokens})"
            raise ConfigurationError(
                f"a budget of {self.limit:g} {self.unit} does not reach for the first point {where}, which takes "
                f"{needed:.3g}; raise it"
            )
        return needed <= self.limit


def _budgets(
    seconds: float | None, prior: RuntimeProfile | None, usd: float | None, prices: TokenPrices | None
) -> list[_Budget]:
    for name, value in (("budget_s", seconds), ("budget_usd", usd)):
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise ConfigurationError(f"{name} is {value}, must be greater than 0")
    found = []
    if seconds is not None:
        if prior is None:
            raise ConfigurationError("a budget in seconds needs a prior profile that says what a point takes")
        found.append(_Budget(seconds, "seconds", lambda q: prior.runtime(q.input_tokens, q.output_tokens)))
    if usd is not None:
        if prices is None:
            raise ConfigurationError("a budget in dollars needs prices of input and output tokens")
        for value in (prices.usd_per_million_input_tokens, prices.usd_per_million_output_tokens):
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"a price per million tokens is {value}, must be finite and not negative")
        found.append(_Budget(usd, "dollars", prices.usd))
    return found


def _check(n: int, max_p: int, max_o: int) -> None:
    for name, value in (("n", n), ("max_input_tokens", max_p), ("max_output_tokens", max_o)):
        if value < 1:
            raise ConfigurationError(f"{name} is {value}, must be at least 1")


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
