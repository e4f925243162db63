"""The mixture of noise and contention under ``frontier``: densities of a call's excess, weights, and what is expected given the call.

u, what contention added, is nothing at all for a share of the calls; exponentials of fixed means, some of them shares of the call
(``SHARES``), some of them seconds in a queue (``QUEUES``, of the median call); or about one of ``BUMPS``. A stray share of the calls is
anywhere. The density of a normal plus an exponential is closed, and so are the moments of u given the call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

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
_LOG_ROOT_2PI = 0.9189385332046727
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
    typical = float(np.median(fitted))
    shares = np.broadcast_to(np.array(SHARES), (len(fitted), len(SHARES)))
    return np.hstack([shares, scale(1.0 + np.array(QUEUES) * typical / fitted[:, None])])


def first_state(mu: float, sigma: float) -> State:
    """A start: a third untouched, the rest spread evenly."""
    count = len(SHARES) + len(QUEUES)
    rest = [np.full(count, 0.6 / count), np.full(len(BUMPS), 0.045 / len(BUMPS))]
    return State(mu, sigma, np.concatenate([[0.35, 0.005], *rest]))


def densities(z: Array, means: Array, mu: float, sigma: float) -> tuple[Array, Array, Array]:
    """(density of each call under each part of the mixture, k, log Phi(k)), k: see ``_moments``."""
    t = (z - mu) / sigma
    means = np.maximum(means, LEAST_MEAN * sigma)
    rate = sigma / means
    k = t[:, None] - rate
    log_phi = log_ndtr(k)
    bumps, count = np.array(BUMPS), means.shape[1]
    out = np.empty((len(z), 2 + count + len(BUMPS)))
    out[:, MASS] = np.exp(-0.5 * t * t - _LOG_ROOT_2PI) / sigma
    out[:, STRAY] = STRAY_DENSITY
    out[:, 2 : 2 + count] = np.exp(np.minimum(0.5 * rate * rate - t[:, None] * rate + log_phi, 700.0)) / means
    width = np.hypot(sigma, BUMP_WIDTH * bumps)
    away = ((z - mu)[:, None] - bumps) / width
    out[:, 2 + count :] = np.exp(-0.5 * away * away - _LOG_ROOT_2PI) / width
    return out, k, log_phi


def _turn(density: Array, weights: Array) -> Array:
    """One round of expectation and maximization over the weights alone."""
    new: Array = weights * (density.T @ (1.0 / (density @ weights + 1e-300)))
    new[MASS] += QUIET_PRIOR
    new /= new.sum()
    if new[STRAY] > STRAY_MOST:
        new[STRAY] = STRAY_MOST
        new /= new.sum()
    return new


def reweighted(density: Array, weights: Array, rounds: int) -> tuple[Array, Array]:
    """(most likely weights, total density of each call): *rounds* of three turns, the third extrapolated (Varadhan and Roland 2008)."""
    for _ in range(rounds):
        one = _turn(density, weights)
        two = _turn(density, one)
        change, bend = one - weights, two - 2.0 * one + weights
        size = float(np.sqrt(bend @ bend))
        if size < 1e-9:
            weights = two
            break
        stride = max(1.0, float(np.sqrt(change @ change)) / size)
        ahead = np.maximum(weights + 2.0 * stride * change + stride * stride * bend, 1e-7)
        weights = _turn(density, ahead / ahead.sum())
    return weights, density @ weights + 1e-300


def posterior(z: Array, density: Array, k: Array, log_phi: Array, state: State) -> Posterior:
    """Moments of u given each call; k: mean of the normal that, cut at zero, is u given call and part, in units of sigma."""
    total = density @ state.weights + 1e-300
    part = density * state.weights / total[:, None]
    hazard = np.exp(np.clip(-0.5 * k * k - _LOG_ROOT_2PI - log_phi, -700.0, 700.0))
    first = state.sigma * (k + hazard)
    second = state.sigma**2 * np.maximum(1.0 - hazard * (k + hazard), 0.0) + first * first
    bumps, count = np.array(BUMPS), k.shape[1]
    own = (BUMP_WIDTH * bumps) ** 2
    share = own / (own + state.sigma**2)
    middle = bumps + share * ((z - state.mu)[:, None] - bumps)
    spread = share * state.sigma**2 + middle * middle
    mean = np.sum(part[:, 2 : 2 + count] * first, axis=1) + np.sum(part[:, 2 + count :] * middle, axis=1)
    square = np.sum(part[:, 2 : 2 + count] * second, axis=1) + np.sum(part[:, 2 + count :] * spread, axis=1)
    variance = np.maximum(square - mean * mean, 0.0)
    likelihood = (
        float(np.sum(np.log(total)))
        + QUIET_PRIOR * float(np.log(state.weights[MASS] + 1e-300))
        + sigma_prior(state.sigma)
    )
    slope = ((1.0 - part[:, STRAY]) * (z - state.mu) - mean) / state.sigma**2
    return Posterior(mean, variance, slope, part, likelihood)


def sigma_prior(sigma: float) -> float:
    """Log prior of the noise: a few percent, as services show when nobody else is on them; more is possible, and must be seen."""
    return -0.5 * (max(0.0, float(np.log(sigma / USUAL_SIGMA))) / USUAL_SPREAD) ** 2


def likely_sigma(square: float, count: float) -> float:
    """The noise of *count* calls whose squares add up to *square*, with the prior: two of Newton's steps from the root mean square."""
    log = float(np.log(max(LEAST_SIGMA, float(np.sqrt(max(square, 0.0) / max(count, 1.0))))))
    if log <= np.log(USUAL_SIGMA):
        return float(np.exp(log))
    for _ in range(2):
        ratio = square / float(np.exp(2.0 * log))
        gain = ratio - count - (log - float(np.log(USUAL_SIGMA))) / USUAL_SPREAD**2
        log += gain / (2.0 * ratio + USUAL_SPREAD**-2)
    return max(LEAST_SIGMA, float(np.exp(log)))
