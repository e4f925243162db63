"""The mixture of noise and contention under ``frontier``: densities of a call's excess, weights, and what is expected given the call.

u, what contention added, is nothing at all for a share of the calls; exponentials of fixed means, some of them shares of the call
(``SHARES``), some of them seconds in a queue (``QUEUES``, of the median call); or about one of ``BUMPS``. A stray share of the calls is
anywhere. The density of a normal plus an exponential is closed, and so are the moments of u given the call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx

from tracewrap.runtime.quiet.basis import Array

SHARES = (0.05, 0.12, 0.3, 0.7, 1.6)
"""Means of contention as a share of the call, on ``scale``."""
QUEUES = (0.12, 0.4, 1.3)
"""Means of waits in seconds, in units of the median call."""
BUMPS = (0.2, 0.28, 0.4, 0.56, 0.8, 1.15, 1.8, 2.8)
"""Second speeds, on ``scale``: a share of the calls slowed by about that much, spread by ``BUMP_WIDTH`` of it."""
BUMP_WIDTH = 0.15
QUIET_PRIOR = 1.0
"""Calls added that met no contention: without them few calls cannot tell noise from contention."""
STRAY_DENSITY = 0.05
STRAY_MOST = 0.02
LEAST_SIGMA = 0.002
USUAL_SIGMA, USUAL_SPREAD = 0.02, 1.0
"""Noise up to which the prior is flat, and how fast it falls beyond, log scale."""
LEAST_MEAN = 2.0
"""Contention that is smaller than this many deviations of the noise cannot be told from noise."""
_ROOT_2PI, _ROOT_HALF = float(np.sqrt(2.0 * np.pi)), float(np.sqrt(0.5))
MASS, STRAY = 0, 1
"""Places of no contention and of stray calls among the parts of the mixture; exponentials and bumps follow."""


@dataclass(frozen=True, slots=True)
class State:
    """Parameters of noise and contention: level and noise (log scale), weights of no contention, stray calls and each exponential."""

    mu: float
    sigma: float
    weights: Array


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a state says of each call, and the log likelihood.

    ``mean``, ``variance``: of u. ``slope``: of the log density at the call, downwards. ``parts``: probability of each part of the mixture.
    """

    mean: Array
    variance: Array
    slope: Array
    parts: Array
    likelihood: float


def scale(ratio: Array, logarithmic: bool = False) -> Array:
    """The scale on which noise is symmetric: that of ratios less one, logarithms beyond ``SPLICE``; or that of logarithms alone."""
    if logarithmic:
        return np.asarray(np.log(ratio), dtype=np.float64)
    near = np.minimum(ratio, SPLICE)
    return np.asarray(near - 1.0 + SPLICE * np.log(ratio / near), dtype=np.float64)


def unscale(z: Array, logarithmic: bool = False) -> Array:
    """The inverse of ``scale``."""
    if logarithmic:
        return np.asarray(np.exp(z), dtype=np.float64)
    edge = SPLICE - 1.0
    near = np.clip(z, -0.95, edge) + 1.0
    return np.asarray(near * np.exp(np.maximum(z - edge, 0.0) / SPLICE), dtype=np.float64)


SPLICE = 2.0


def means_for(fitted: Array) -> Array:
    """Mean of each exponential for each call, on ``scale``, given the quiet seconds *fitted*."""
    half = len(fitted) // 2
    typical = float(np.partition(fitted, half)[half])
    out = np.empty((len(fitted), len(SHARES) + len(QUEUES)))
    out[:, : len(SHARES)] = SHARES
    out[:, len(SHARES) :] = scale(1.0 + (typical / fitted)[:, None] * np.array(QUEUES))
    return out


def first_state(mu: float, sigma: float) -> State:
    """A start: a third untouched, the rest spread evenly."""
    count = len(SHARES) + len(QUEUES)
    rest = [np.full(count, 0.6 / count), np.full(len(BUMPS), 0.045 / len(BUMPS))]
    return State(mu, sigma, np.concatenate([[0.35, 0.005], *rest]))


def _tail_polynomial(degree: int = 10) -> tuple[float, ...]:
    """Coefficients, highest first, of log(erfcx(x) / t) in t = 1 / (1 + x/2), x >= 0: through the nodes of Chebyshev's polynomial."""
    t = 0.5 + 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    return tuple(float(c) for c in np.polyfit(t, np.log(erfcx(2.0 / t - 2.0) / t), degree))


_TAIL = _tail_polynomial()


def tail(k: Array) -> Array:
    """erfcx(abs(k) / sqrt 2), scaled so that it neither vanishes nor overflows; to 1e-6, in a third of the time that scipy's takes."""
    t = 1.0 / (1.0 + np.abs(k) * (0.5 * _ROOT_HALF))
    power = t * _TAIL[0]
    for coefficient in _TAIL[1:-1]:
        power += coefficient
        power *= t
    power += _TAIL[-1]
    t *= np.exp(power)
    return np.asarray(t, dtype=np.float64)


def densities(z: Array, means: Array, mu: float, sigma: float) -> tuple[Array, Array, Array]:
    """(density of each call under each part of the mixture, k, ``tail`` of k), k: see ``posterior``."""
    t = (z - mu) / sigma
    means = np.maximum(means, LEAST_MEAN * sigma)
    rate = sigma / means
    k = t[:, None] - rate
    tails = tail(k)
    bumps, count = np.array(BUMPS), means.shape[1]
    out = np.empty((len(z), 2 + count + len(BUMPS)))
    normal = np.exp(-0.5 * t * t)
    out[:, MASS] = normal / (sigma * _ROOT_2PI)
    out[:, STRAY] = STRAY_DENSITY
    below = (0.5 * normal)[:, None] * tails
    rising = np.exp(np.minimum(rate * (0.5 * rate - t[:, None]), 0.0))
    out[:, 2 : 2 + count] = np.where(k < 0.0, below, rising - below) / means
    width = np.hypot(sigma, BUMP_WIDTH * bumps)
    away = ((z - mu)[:, None] - bumps) / width
    out[:, 2 + count :] = np.exp(-0.5 * away * away) / (width * _ROOT_2PI)
    return out, k, tails


def _turn(density: Array, weights: Array) -> Array:
    """One round of expectation and maximization over the weights alone."""
    new: Array = weights * ((1.0 / (density @ weights + 1e-300)) @ density)
    new[MASS] += QUIET_PRIOR
    new /= len(density) + QUIET_PRIOR
    if new[STRAY] > STRAY_MOST:
        new[STRAY] = STRAY_MOST
        new /= new.sum()
    return new


def reweighted(density: Array, weights: Array, rounds: int) -> tuple[Array, Array]:
    """(most likely weights, total density of each call): *rounds* of three turns, the third extrapolated (Varadhan and Roland 2008)."""
    for _ in range(rounds):
        one = _turn(density, weights)
        two = _turn(density, one)
        change = one - weights
        bend = two - one - change
        size = float(bend @ bend) ** 0.5
        if size < 1e-9:
            weights = two
            break
        stride = max(1.0, float(change @ change) ** 0.5 / size)
        ahead = np.maximum(weights + 2.0 * stride * change + stride * stride * bend, 1e-7)
        weights = _turn(density, ahead / ahead.sum())
    return weights, density @ weights + 1e-300


def posterior(z: Array, density: Array, k: Array, tails: Array, state: State) -> Posterior:
    """Moments of u given each call; k: mean of the normal that, cut at zero, is u given call and part, in units of sigma."""
    total, count, sigma = density @ state.weights + 1e-300, k.shape[1], state.sigma
    part = density * state.weights
    part /= total[:, None]
    bell = np.exp(-0.5 * k * k)
    hazard = np.where(k < 0.0, 2.0 / (_ROOT_2PI * tails), bell / (_ROOT_2PI * (1.0 - 0.5 * bell * tails)))
    moved = k + hazard
    first = sigma * moved
    second = sigma**2 * np.maximum(1.0 - hazard * moved, 0.0) + first * first
    bumps = np.array(BUMPS)
    share = (BUMP_WIDTH * bumps) ** 2 / ((BUMP_WIDTH * bumps) ** 2 + sigma**2)
    middle = bumps * (1.0 - share) + share * (z - state.mu)[:, None]
    waits, slowed = part[:, 2 : 2 + count], part[:, 2 + count :]
    mean = np.einsum("ij,ij->i", waits, first) + np.einsum("ij,ij->i", slowed, middle)
    square = np.einsum("ij,ij->i", waits, second) + slowed @ (share * sigma**2)
    square += np.einsum("ij,ij,ij->i", slowed, middle, middle)
    likelihood = float(np.log(total).sum()) + QUIET_PRIOR * math.log(state.weights[MASS] + 1e-300) + sigma_prior(sigma)
    slope = ((1.0 - part[:, STRAY]) * (z - state.mu) - mean) / sigma**2
    return Posterior(mean, np.maximum(square - mean * mean, 0.0), slope, part, likelihood)


def sigma_prior(sigma: float) -> float:
    """Log prior of the noise: a few percent, as services show when nobody else is on them; more is possible, and must be seen."""
    return -0.5 * (max(0.0, math.log(sigma / USUAL_SIGMA)) / USUAL_SPREAD) ** 2


def likely_sigma(square: float, count: float) -> float:
    """The noise of *count* calls whose squares add up to *square*, with the prior: two of Newton's steps from the root mean square."""
    log, usual = math.log(max(LEAST_SIGMA, math.sqrt(max(square, 0.0) / max(count, 1.0)))), math.log(USUAL_SIGMA)
    if log <= usual:
        return math.exp(log)
    for _ in range(2):
        ratio = square / math.exp(2.0 * log)
        gain = ratio - count - (log - usual) / USUAL_SPREAD**2
        log += gain / (2.0 * ratio + USUAL_SPREAD**-2)
    return max(LEAST_SIGMA, math.exp(log))
