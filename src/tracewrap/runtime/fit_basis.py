"""The linear algebra under ``fit``: design matrices in relative error, robust non-negative least squares, the tile step.

A convex, non-decreasing prompt curve c0 + sum_k s_k * max(0, p~ - knot_k), s_k >= 0, holds the physical shape max(weight read, compute)
+ attention (floor, then linear, then quadratic) without choosing its corners by hand: non-negative least squares
leaves most s_k at zero. Decode terms d0, d1 >= 0 join it linearly, so one solve fits T(p, o).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

HUBER = 2.0
"""Residuals beyond this many robust standard deviations count linearly (a usual choice; 1.345 to 3 are)."""
TILES = (64, 128, 256)
"""Widths of GEMM tiles on today's accelerators: candidates for the tile step."""
FRACTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Cells:
    """Samples grouped by (p, o): medians and weights (number of runs)."""

    p: Array
    o: Array
    y: Array
    weight: Array


@dataclass(frozen=True)
class Curve:
    """A fitted convex prompt curve with decode terms; ``coefficients`` = [c0, s_1.., d0, d1]."""

    knots: Array
    coefficients: Array
    tile: int
    fraction: float
    rss: float
    """Weighted sum of squared relative residuals."""

    @property
    def d0(self) -> float:
        return float(self.coefficients[-2])

    @property
    def d1(self) -> float:
        return float(self.coefficients[-1])

    def prompt(self, p: Array) -> Array:
        """Prompt time at input tokens *p*, seconds."""
        x = effective(p, self.tile, self.fraction)
        return self.at(x)

    def at(self, x: Array) -> Array:
        """Prompt time at effective prompt lengths *x*, seconds."""
        return hinges(x, self.knots) @ self.coefficients[:-2]

    def decode(self, p: Array, o: Array) -> Array:
        """Decode time, seconds."""
        steps = np.maximum(o - 1.0, 0.0)
        return self.d0 * steps + self.d1 * steps * (p + o / 2)

    def runtime(self, p: Array, o: Array) -> Array:
        """T(p, o), seconds."""
        return self.prompt(p) + self.decode(p, o)


def effective(p: Array, tile: int, fraction: float) -> Array:
    """Effective prompt length p~."""
    return p if fraction == 0.0 else (1.0 - fraction) * p + fraction * tile * np.ceil(p / tile)


def hinges(x: Array, knots: Array) -> Array:
    """Columns [1, max(0, x - knot_k), ...]."""
    return np.column_stack([np.ones_like(x), *(np.maximum(0.0, x - k) for k in knots)])


def candidate_knots(p: Array) -> Array:
    """Corners the curve may have: geometric, six an octave, inside the range measured; most end up unused."""
    low, high = max(1.0, float(p.min())), max(2.0, float(p.max()))
    count = max(2, round(6 * np.log2(high / low)) + 1)
    return np.unique(np.concatenate([[low], np.geomspace(low, high, count)[:-1]]))


def solve(cells: Cells, tile: int, fraction: float, knots: Array, iterations: int = 3) -> Curve:
    """Robust relative non-negative least squares for one tile hypothesis."""
    x = effective(cells.p, tile, fraction)
    steps = np.maximum(cells.o - 1.0, 0.0)
    design = np.column_stack([hinges(x, knots), steps, steps * (cells.p + cells.o / 2)])
    scale = np.abs(design).max(axis=0)
    scale[scale == 0.0] = 1.0
    weight = np.sqrt(cells.weight)
    robust = np.ones_like(cells.y)
    for _ in range(iterations):
        rows = (weight * robust / cells.y)[:, None]
        beta, _ = nnls(design / scale * rows, weight * robust, maxiter=50 * design.shape[1])
        relative = (design / scale @ beta) / cells.y - 1.0
        spread = 1.4826 * np.median(np.abs(relative)) + 1e-9
        robust = np.sqrt(np.minimum(1.0, HUBER * spread / np.maximum(np.abs(relative), 1e-12)))
    rss = float(np.sum(cells.weight * np.minimum(np.abs(relative), HUBER * spread) * np.abs(relative)))
    return Curve(knots, beta / scale, tile, fraction, rss)


def best_curve(cells: Cells, knots: Array) -> Curve:
    """The curve without tile step, unless a step pays for its two parameters by the Bayesian information criterion."""
    plain = solve(cells, 1, 0.0, knots)
    distinct = len(np.unique(cells.p))
    if distinct < 6:
        return plain
    n = float(np.sum(cells.weight > 0))
    best, best_score = plain, n * np.log(max(plain.rss, 1e-12) / n)
    for tile in TILES:
        for fraction in FRACTIONS:
            curve = solve(cells, tile, fraction, knots)
            score = n * np.log(max(curve.rss, 1e-12) / n) + 2 * np.log(n)
            if score < best_score:
                best, best_score = curve, score
    return best


def smooth_residuals(x: Array, log_ratio: Array, variance: Array, at: Array, amplitude: float, length: float) -> Array:
    """Posterior mean at *at* of a Gaussian process over log2(tokens) with exponential kernel, given noisy *log_ratio* at *x*."""
    a, b = np.log2(np.maximum(x, 1.0)), np.log2(np.maximum(at, 1.0))
    kernel = amplitude**2 * np.exp(-np.abs(a[:, None] - a[None, :]) / length)
    cross = amplitude**2 * np.exp(-np.abs(b[:, None] - a[None, :]) / length)
    mean: Array = cross @ np.linalg.solve(kernel + np.diag(variance + 1e-12), log_ratio)
    return mean
