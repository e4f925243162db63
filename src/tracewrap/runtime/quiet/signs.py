"""Signs that the calls are not of one speed, seen in what a fit leaves: two speeds, no quiet moment, work that is not counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracewrap.runtime.quiet.basis import Array
from tracewrap.runtime.quiet.frontier import Frontier
from tracewrap.runtime.quiet.mixture import BUMPS, densities, means_for, reweighted, unscale

SECOND_SPEED = 0.38
"""Least difference, a share, of what is called another speed; calls slowed by less count as contention."""
MIN_GAIN = 14.0
"""Twice the gain in log likelihood from which a second speed is believed."""
GAIN_A_CALL = 0.035
"""And so much more for each call beyond 200: the mixture of contention is itself only nearly right, which many calls show."""
MIN_WEIGHT = 0.06
VALLEY = 0.12
"""Half the width of the window in which calls are counted, as a share of the second speed's distance from the first."""
STANDS_OUT = 1.5
"""By how many standard deviations of the difference a second speed holds more calls than the valley before it."""
LARGE_WEIGHT = 0.3
"""A second speed of so many calls needs half the gain."""
HEAVY = 2.5
MOST_HEAVY = 0.2
"""Share of the calls that may take over ``HEAVY`` times the quiet seconds; where more do, it is work not counted, or no quiet day."""
MOST_NOISE = 0.25
"""Noise beyond which nothing of what was fitted is a level."""
NOISY = 0.07


@dataclass(frozen=True, slots=True)
class Speeds:
    """Two speeds among the calls: the share of the slower, and how many times the runtime of the faster it takes."""

    share: float
    ratio: float

    def __str__(self) -> str:
        return f"two speeds: {1 - self.share:.0%} at 1.0, {self.share:.0%} at {self.ratio:.1f}"


def two_speeds(fit: Frontier, fitted: Array, some: NDArray[np.bool_] | None = None) -> Speeds | None:
    """A second speed that makes the calls (of *some*) much more likely than contention that falls away from the quiet level."""
    z, f = (fit.residual, fitted) if some is None else (fit.residual[some], fitted[some])
    density, _, _ = densities(z, means_for(f), 0.0, fit.state.sigma)
    far = np.array(BUMPS) >= SECOND_SPEED
    first = len(fit.state.weights) - len(BUMPS)
    weights, total = reweighted(density, _spread(fit.state.weights), 30)
    without = np.concatenate([np.ones(first, dtype=bool), ~far])
    plain_weights = np.where(without, _spread(fit.state.weights), 0.0)
    _, plain = reweighted(density[:, without], plain_weights[without] / plain_weights.sum(), 30)
    gain = 2.0 * float(np.sum(np.log(total)) - np.sum(np.log(plain)))
    bumps = weights[first:] * far
    share = float(bumps.sum())
    needed = MIN_GAIN + GAIN_A_CALL * max(0, len(z) - 200)
    certain = gain >= needed or (gain >= needed / 2 and share >= LARGE_WEIGHT)
    if not certain or share < MIN_WEIGHT:
        return None
    middle = float(np.sum(bumps * np.array(BUMPS)) / share)
    if not _stands_out(z, middle):
        return None
    return Speeds(share, float(unscale(np.array(middle), fit.logarithmic)))


def _stands_out(z: Array, middle: float) -> bool:
    """Whether more calls lie round *middle* than somewhere between it and the quiet level: contention that merely falls away has no valley.

    *z*: residuals of a fit, 0 at the quiet level. Counts are compared with their own chance.
    """
    ordered = np.sort(z)

    def near(at: Array) -> list[int]:
        width = VALLEY * middle
        return list(np.searchsorted(ordered, at + width) - np.searchsorted(ordered, at - width))

    peak = max(near(np.linspace(0.85, 1.15, 7) * middle))
    valley = min(near(np.linspace(0.25, 0.85, 13) * middle))
    return bool(peak - valley > STANDS_OUT * np.sqrt(peak + valley))


def _spread(weights: Array) -> Array:
    mixed: Array = 0.9 * weights + 0.1 / len(weights)
    return mixed


def slowed_share(fit: Frontier) -> float:
    """Share of the calls that contention seems to have slowed by much, none by little."""
    return float(fit.state.weights[-len(BUMPS) :].sum())


def heavy_share(fit: Frontier) -> float:
    """Share of the calls that took over ``HEAVY`` times their quiet seconds."""
    return float(np.mean(unscale(fit.residual, fit.logarithmic) > HEAVY))


def gain_over_noise(fit: Frontier) -> float:
    """Twice the gain in log likelihood over calls with nothing but noise, of the same middle and spread."""
    z = fit.residual
    middle = float(np.median(z))
    spread = max(1.4826 * float(np.median(np.abs(z - middle))), 1e-4)
    t = (z - middle) / spread
    alone = np.log(0.99 * np.exp(-0.5 * t * t) / (spread * np.sqrt(2 * np.pi)) + 0.01 * 0.05)
    return 2.0 * (fit.seen.likelihood - float(np.sum(alone)))


__all__ = ["Speeds", "gain_over_noise", "heavy_share", "slowed_share", "two_speeds"]
