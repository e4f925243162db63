"""Signs that the calls are not of one speed, seen in what a fit leaves: two speeds, no quiet moment, work that is not counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracewrap.runtime.quiet.basis import Array
from tracewrap.runtime.quiet.frontier import Frontier
from tracewrap.runtime.quiet.mixture import BUMP_WIDTH, BUMPS, densities, means_for, reweighted, scale, unscale

SECOND_SPEED = 0.45
"""Least difference, a share, of what is called another speed; calls slowed by less count as contention."""
MIN_GAIN = 14.0
"""Twice the gain in log likelihood from which a second speed is believed."""
GAIN_A_CALL = 0.035
"""And so much more for each call beyond 200: the mixture of contention is itself only nearly right, which many calls show."""
MIN_WEIGHT = 0.06
VALLEY = 0.12
"""Half the width of the window in which calls are counted, as a share of the second speed's distance from the first."""
STANDS_OUT = 2.0
"""By how many standard deviations of the difference a second speed holds more calls than the valley before it."""
LARGE_WEIGHT = 0.3
"""A second speed of so many calls needs half the gain."""
SLOWER_PARTS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""By how many times its quiet seconds more a part of the call, its prompt or its output, may take in some calls."""
MIN_PART_GAIN, PART_GAIN_A_CALL = 10.0, 0.01
"""Twice the gain in log likelihood from which a slower part is believed, and so much more for each call beyond 200."""
ROUNDS = 16
"""Of the weights' fits that are compared: within 0.1 of the log likelihood's end in 95 of 100."""
HUMP_WIDTH = 0.03
MOST_AT_LEVEL, HUMP, LOW_HUMP = 0.8, 2.0, 1.0
"""A hump of calls above the quiet level: how many there are at the level, at most, as a share of those in the hump; by how many standard
deviations the hump holds more; and how many are enough where ``HUMP_SLOWED`` of the calls seem slowed by much."""
HUMP_SLOWED = 0.54
HEAVY = ((2.5, 0.2), (1.5, 0.34))
"""(times the quiet seconds, share of the calls that may take longer): where more do, it is work not counted, or no quiet day."""
MOST_NOISE = 0.18
"""Noise beyond which nothing of what was fitted is a level: contention that spares nobody looks like it."""
NOISY = 0.07
LEAST_GAIN = 0.6
"""Twice the gain in log likelihood over noise alone, a call, from which contention of most calls is believed to have spared the rest."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Two speeds among the calls: the share of the slower, and how many times the runtime of the faster it takes."""

    share: float
    ratio: float

    def __str__(self) -> str:
        return f"two speeds: {1 - self.share:.0%} at 1.0, {self.share:.0%} at {self.ratio:.1f}"


class Explained:
    """Calls as noise and contention explain them at best: what a second speed, or a slower part, is measured against."""

    def __init__(self, fit: Frontier, some: NDArray[np.bool_] | None = None) -> None:
        """*some*: which calls of the fit; None: all of them."""
        self.z = fit.residual if some is None else fit.residual[some]
        fitted = fit.fitted if some is None else fit.fitted[some]
        self.density, _, _ = densities(self.z, means_for(fitted), 0.0, fit.state.sigma)
        self.start: Array = 0.9 * fit.state.weights + 0.1 / len(fit.state.weights)
        self.weights, total = reweighted(self.density, self.start, ROUNDS)
        self.likelihood = float(np.log(total).sum())
        self.logarithmic = fit.logarithmic


def two_speeds(calls: Explained) -> Speeds | None:
    """A second speed that makes the calls much more likely than contention that falls away from the quiet level."""
    far = np.array(BUMPS) >= SECOND_SPEED
    first = len(calls.weights) - len(BUMPS)
    bumps = calls.weights[first:] * far
    share = float(bumps.sum())
    if share < MIN_WEIGHT:
        return None
    without = np.concatenate([np.ones(first, dtype=bool), ~far])
    plain_weights = calls.start[without]
    _, plain = reweighted(calls.density[:, without], plain_weights / plain_weights.sum(), ROUNDS)
    gain = 2.0 * (calls.likelihood - float(np.log(plain).sum()))
    needed = MIN_GAIN + GAIN_A_CALL * max(0, len(calls.z) - 200)
    certain = gain >= needed or (gain >= needed / 2 and share >= LARGE_WEIGHT)
    middle = BUMPS[int(np.argmax(bumps))]
    if not certain or not _stands_out(calls.z, middle):
        return None
    return Speeds(share, float(unscale(np.array(middle), calls.logarithmic)))


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


def slower_part(fit: Frontier, calls: Explained, share: Array) -> Speeds | None:
    """A part of the call that takes much longer in some calls than in others. *share*: the part's, of each call's quiet seconds.

    *calls*: all those of *fit*.
    """
    middle = scale(1.0 + np.array(SLOWER_PARTS) * share[:, None], fit.logarithmic)
    width = np.hypot(fit.state.sigma, BUMP_WIDTH * middle)
    slower = np.exp(-0.5 * ((calls.z[:, None] - middle) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    more = np.full(len(SLOWER_PARTS), 0.02)
    start = np.concatenate([calls.start * (1.0 - more.sum()), more])
    weights, total = reweighted(np.hstack([calls.density, slower]), start, ROUNDS)
    gain = 2.0 * (float(np.log(total).sum()) - calls.likelihood)
    found = weights[-len(more) :]
    if gain < MIN_PART_GAIN + PART_GAIN_A_CALL * max(0, len(calls.z) - 200) or found.sum() < MIN_WEIGHT:
        return None
    return Speeds(float(found.sum()), 1.0 + float(found @ np.array(SLOWER_PARTS) / found.sum()))


def hump(fit: Frontier) -> bool:
    """Whether most calls lie in a hump well above the quiet level, and few at it: then nobody was untouched, and the level is a guess."""
    ordered, width = np.sort(fit.residual), max(fit.state.sigma, HUMP_WIDTH)

    def near(at: Array) -> int:
        return int(np.max(np.searchsorted(ordered, at + width) - np.searchsorted(ordered, at - width)))

    level, most = near(np.linspace(-0.5, 0.5, 5) * width), near(np.linspace(0.0, np.quantile(ordered, 0.8), 60))
    above = (most - level) / np.sqrt(most + level)
    if above >= LOW_HUMP and slowed_share(fit) > HUMP_SLOWED:
        return True
    return bool(above >= HUMP and level <= MOST_AT_LEVEL * most)


def slowed_share(fit: Frontier) -> float:
    """Share of the calls that contention seems to have slowed by much, none by little."""
    return float(fit.state.weights[-len(BUMPS) :].sum())


def heavy(fit: Frontier) -> tuple[float, float] | None:
    """(share of the calls, how many times their quiet seconds they took over), where it is more than ``HEAVY`` lets pass."""
    times = unscale(fit.residual, fit.logarithmic)
    for ratio, most in HEAVY:
        share = float(np.mean(times > ratio))
        if share > most:
            return share, ratio
    return None


def gain_over_noise(fit: Frontier) -> float:
    """Twice the gain in log likelihood over calls with nothing but noise, of the same middle and spread."""
    z = fit.residual
    middle = float(np.median(z))
    spread = max(1.4826 * float(np.median(np.abs(z - middle))), 1e-4)
    t = (z - middle) / spread
    alone = np.log(0.99 * np.exp(-0.5 * t * t) / (spread * np.sqrt(2 * np.pi)) + 0.01 * 0.05)
    return 2.0 * (fit.seen.likelihood - float(np.sum(alone)))


__all__ = ["Explained", "Speeds", "gain_over_noise", "heavy", "hump", "slowed_share", "slower_part", "two_speeds"]
