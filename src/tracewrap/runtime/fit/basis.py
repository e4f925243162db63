"""The linear algebra under ``fit``: design matrices in relative error, robust non-negative least squares, the tile step, the posterior.

A convex, non-decreasing prompt curve c0 + sum_k s_k * max(0, p~ - knot_k), s_k >= 0, holds the physical shape max(weight read, compute)
+ attention (floor, then linear, then quadratic) without choosing its corners by hand: non-negative least squares
leaves most s_k at zero. Decode terms d0, d1 >= 0 join it linearly, so one solve fits T(p, o).

``Posterior`` then says how real times differ from that curve: log T = log curve + share * g(p) + noise, g a Gaussian process over
log2 p~. Its amplitude and the noise are averaged over by their evidence, with the coefficients of the curve left free (restricted
maximum likelihood), so few points that the curve runs through do not pass for points without noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import ndtr

Array = NDArray[np.float64]

HUBER = 2.0
"""Residuals beyond this many robust standard deviations count linearly (a usual choice; 1.345 to 3 are)."""
TILES = (64, 128, 256)
"""Widths of GEMM tiles on today's accelerators: candidates for the tile step."""
FRACTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
AGREEMENT = 0.0025
"""Relative agreement below which one tile hypothesis is not better than another: half of ``MIN_NOISE``."""
MIN_NOISE = 0.005
"""Relative deviation below which agreement of timings is not believed: clocks and allocation differ by that between prompt sizes."""
NOISES = np.geomspace(MIN_NOISE, 0.5, 16)
"""Noise of one measurement, averaged over unless told. Its prior is log-normal about ``MIN_NOISE`` within a factor of ``NOISE_FACTOR``."""
NOISE_FACTOR = 3.0
"""Quiet hardware repeats within a quarter percent, noisy hardware within three: a factor of three about their middle."""
SHAPES = np.array([0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
"""Deviation of real prompt times from the convex shape, averaged over; its prior is log-normal, ``SHAPE_SD`` within a factor of two."""
SHAPE_SD = 0.05
SHAPE_FACTOR = 2.0
SHAPE_LENGTH = 8.0
"""Correlation length of that deviation, in octaves of prompt length: long, so that it is carried over linearly between points."""
OWN_SHARE = 0.02
"""Share of its variance that each prompt size has for itself (another kernel chosen): kept from its neighbours.
``benchmarks/fit_constants.py`` chooses it again with each architecture left out."""
BEND_SD = 0.1
"""Prior deviation of a corner in use, as the change it makes to the log-log slope."""
STEP_SD = 0.1
"""Prior deviation of the tile fraction about the one accepted: the grid it is chosen from."""
CONTEXT = 32768.0
"""Context at which reading keys and values may cost as much as reading the weights: scale of d1 against d0."""
MAX_SIZES = 128
"""Distinct prompt sizes at which residuals are smoothed; beyond, neighbouring sizes share one."""
OUTLIER = 4.0
"""Residuals beyond this many robust deviations lose their say in bending the curve, by the fourth power."""


@dataclass(frozen=True)
class Cells:
    """Samples grouped by (p, o): medians and weights (root of the number of runs); relative spread of repeated runs, if any."""

    p: Array
    o: Array
    y: Array
    weight: Array
    spread: float = 0.0
    spread_freedom: float = 0.0


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

    @property
    def corners(self) -> Array:
        """Knots in use."""
        used: Array = self.knots[self.coefficients[1:-2] > 0]
        return used

    def prompt(self, p: Array) -> Array:
        """Prompt time at input tokens *p*, seconds."""
        x = effective(p, self.tile, self.fraction)
        return self.at(x)

    def at(self, x: Array) -> Array:
        """Prompt time at effective prompt lengths *x*, seconds."""
        return hinges(x, self.knots) @ self.coefficients[:-2]

    def slope(self, x: Array) -> Array:
        """Its derivative, seconds per token."""
        rising: Array = (x[:, None] > self.knots[None, :]) @ self.coefficients[1:-2]
        return rising

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
    best, best_score = plain, n * np.log(plain.rss / n + AGREEMENT**2)
    for tile in TILES:
        for fraction in FRACTIONS:
            curve = solve(cells, tile, fraction, knots)
            score = n * np.log(curve.rss / n + AGREEMENT**2) + 2 * np.log(n)
            if score < best_score:
                best, best_score = curve, score
    return best


@dataclass(frozen=True)
class _Setting:
    """One pair of shape deviation and noise, its posterior weight, and what follows from it."""

    weight: float
    shape: float
    noise: float
    bend: Array
    covariance: Array


class Posterior:
    """What samples leave open about log T around a fitted curve: g at the prompt sizes, then level, corners, step, d0 and d1.

    ``sizes``: the prompt sizes of g, tokens. ``noise``: relative deviation of one measurement, posterior mean on the log scale.
    """

    def __init__(self, cells: Cells, curve: Curve, told: float | None = None) -> None:
        """*told*: the noise, where it is known."""
        self.curve = curve
        self._noises = NOISES if told is None else np.array([told])
        self.sizes, group = np.unique(cells.p, return_inverse=True)
        if len(self.sizes) > MAX_SIZES:
            group = (group * MAX_SIZES) // len(self.sizes)
            self.sizes = np.bincount(group, cells.p) / np.bincount(group)
        n = len(self.sizes)
        self._octaves = _octaves(effective(self.sizes, curve.tile, curve.fraction))
        kernel = self._kernel(self._octaves) + OWN_SHARE * np.eye(n)
        self._inverse = np.linalg.inv(kernel)
        prompt = np.maximum(curve.prompt(cells.p), 1e-12)
        total = prompt + curve.decode(cells.p, cells.o)
        share = prompt / total
        self.scale_d0 = curve.d0 if curve.d0 > 0 else 1e-3 * float(prompt.min())
        steps = np.maximum(cells.o - 1.0, 0.0) * self.scale_d0 / total
        decode = np.column_stack([steps, steps * (cells.p + cells.o / 2) / CONTEXT])
        columns = np.zeros((len(cells.p), n))
        columns[np.arange(len(cells.p)), group] = share
        free = self._free(effective(cells.p, curve.tile, curve.fraction), self._padding(cells.p))
        columns = np.hstack([columns, free * share[:, None], decode])
        residual = np.log(cells.y / total)
        size = np.abs(residual)
        trusted = 1.0 / np.maximum(1.0, size / (OUTLIER * (1.4826 * np.median(size) + (told or MIN_NOISE)))) ** 4
        weight = cells.weight * trusted
        self._square = columns.T @ (columns * weight[:, None])
        self._pull = columns.T @ (weight * residual)
        self._rest = float(residual @ (weight * residual)) + cells.spread_freedom * cells.spread**2
        self._count = float(trusted.sum()) + cells.spread_freedom
        self._log_kernel = float(np.linalg.slogdet(kernel)[1])
        self._prior = np.array([1.0, *np.full(free.shape[1] - 2, 1.0), STEP_SD**-2, 1.0, 1.0])
        self.settings = self._settings()
        self.noise = float(np.exp(sum(s.weight * np.log(s.noise) for s in self.settings)))

    def _kernel(self, octaves: Array) -> Array:
        return np.asarray(np.exp(-np.abs(octaves[:, None] - self._octaves[None, :]) / SHAPE_LENGTH), dtype=np.float64)

    def _padding(self, p: Array) -> Array:
        """Tokens up to the next tile edge; of a nominal tile when no step was accepted, which it may still have."""
        tile = self.curve.tile if self.curve.fraction else TILES[1]
        padding: Array = tile * np.ceil(p / tile) - p
        return padding

    def _free(self, x: Array, padding: Array) -> Array:
        """Relative change of prompt time at effective length *x* with level, each corner in use and the tile fraction."""
        prompt, corners = np.maximum(self.curve.at(x), 1e-12), self.curve.corners
        unit = BEND_SD * np.maximum(self.curve.at(corners), 1e-12) / np.maximum(corners, 1.0)
        bends = np.maximum(0.0, x[:, None] - corners[None, :]) * unit / prompt[:, None]
        constant = float(self.curve.coefficients[0])
        level = constant / prompt if constant > 0 else np.ones_like(x)
        return np.column_stack([level, bends, self.curve.slope(x) * padding / prompt])

    def _precision(self, shape: float, noise: float, weight: float) -> Array:
        """Posterior precision; *weight*: how much of the free coefficients' prior counts."""
        n, m = len(self.sizes), len(self._prior)
        matrix: Array = self._square / noise**2
        matrix[:n, :n] += self._inverse / shape**2
        prior = self._prior.copy()
        prior[: m - 2] *= weight
        matrix[np.arange(n, n + m), np.arange(n, n + m)] += prior
        return matrix

    def _evidence(self, shape: float, noise: float) -> float:
        """Log of the restricted likelihood times the priors of shape deviation and noise."""
        n = len(self.sizes)
        root = np.linalg.cholesky(self._precision(shape, noise, 1e-4))
        explained = np.linalg.solve(root, self._pull) / noise**2
        likelihood = -n * np.log(shape) - 0.5 * self._log_kernel - float(np.log(np.diag(root)).sum())
        likelihood -= self._count * np.log(noise) + 0.5 * (self._rest / noise**2 - float(explained @ explained))
        off_shape = np.log(shape / SHAPE_SD) / np.log(SHAPE_FACTOR)
        off_noise = np.log(noise / MIN_NOISE) / np.log(NOISE_FACTOR)
        return float(likelihood - 0.5 * (off_shape**2 + off_noise**2))

    def _settings(self) -> list[_Setting]:
        pairs = [(float(shape), float(noise)) for shape in SHAPES for noise in self._noises]
        logs = np.array([self._evidence(*pair) for pair in pairs])
        weights = np.exp(logs - logs.max())
        weights[weights < 0.003 * weights.sum()] = 0.0
        weights /= weights.sum()
        n, found = len(self.sizes), []
        for (shape, noise), weight in zip(pairs, weights, strict=True):
            if weight > 0.0:
                bend = self._square[:n, :n] / noise**2 + self._inverse / shape**2
                mean: Array = np.linalg.solve(bend, self._pull[:n] / noise**2).astype(np.float64)
                covariance: Array = np.linalg.inv(self._precision(shape, noise, 1.0)).astype(np.float64)
                found.append(_Setting(float(weight), shape, noise, mean, covariance))
        return found

    def bend(self, x: Array) -> Array:
        """Posterior mean of g at effective lengths *x*, the curve's own coefficients held."""
        mean = sum((s.weight * s.bend for s in self.settings), np.zeros(len(self.sizes)))
        bent: Array = self._kernel(_octaves(x)) @ self._inverse @ mean
        return bent

    def _rows(self, x: Array, padding: Array) -> tuple[Array, Array]:
        """Log prompt time at *x* as a combination of the unknowns; and the share of g's variance they do not tell."""
        kernel = self._kernel(_octaves(x))
        known = kernel @ self._inverse
        rest = np.maximum(0.0, 1.0 + OWN_SHARE - np.sum(known * kernel, axis=1))
        zero = np.zeros((len(x), 2))
        return np.hstack([known, self._free(x, padding), zero]), rest

    def covariance(self, x: Array) -> Array:
        """Of log prompt time at effective lengths *x*, in order, then d0 (seconds) and d1 (seconds per token)."""
        rows, _ = self._rows(x, np.zeros_like(x))
        last = np.zeros((2, rows.shape[1]))
        last[0, -2], last[1, -1] = self.scale_d0, self.scale_d0 / CONTEXT
        rows = np.vstack([rows, last])
        total: Array = sum(
            (s.weight * (rows @ s.covariance @ rows.T) for s in self.settings), np.zeros((len(rows),) * 2)
        )
        return total

    def half_widths(self, p: Array) -> tuple[float, float, float]:
        """(base, prompt, decode) of a 90% interval for unseen points, log scale: posterior and noise, averaged over sizes *p*."""
        rows, rest = self._rows(effective(p, self.curve.tile, self.curve.fraction), self._padding(p))
        middle = float(np.median(p))
        per_token = self.curve.d0 + self.curve.d1 * middle
        decode = np.array([1.0, middle / CONTEXT]) * (self.scale_d0 / max(per_token, 1e-3 * self.scale_d0))
        prompts, decodes = [], []
        for s in self.settings:
            prompts.append(np.einsum("ij,jk,ik->i", rows, s.covariance, rows) + rest * s.shape**2)
            decodes.append(float(decode @ s.covariance[-2:, -2:] @ decode))
        weight = np.array([s.weight for s in self.settings])
        noise = np.array([s.noise for s in self.settings]) ** 2
        base = _half_width(noise[:, None], weight)
        of_prompt = _half_width(noise[:, None] + np.maximum(prompts, 0.0), weight)
        of_decode = _half_width((noise + np.maximum(decodes, 0.0))[:, None], weight)
        return base, float(np.sqrt(max(0.0, of_prompt**2 - base**2))), float(np.sqrt(max(0.0, of_decode**2 - base**2)))


def _octaves(x: Array) -> Array:
    octaves: Array = np.log2(np.maximum(x, 1.0))
    return octaves


def _half_width(variance: Array, weight: Array) -> float:
    """Half-width that holds 90% of a mixture of centred normals: rows weighed by *weight*, columns alike."""
    deviation = np.sqrt(variance)
    low, high = 0.0, 6.0 * float(deviation.max())
    for _ in range(40):
        middle = (low + high) / 2
        held = float(weight @ np.mean(2.0 * ndtr(middle / deviation) - 1.0, axis=1))
        low, high = (middle, high) if held < 0.9 else (low, middle)
    return high
