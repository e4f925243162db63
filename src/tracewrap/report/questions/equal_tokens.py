"""Two sides at equal token counts: is the difference real? Pure numbers, no SQL.

Calls are put into cells of token counts (p, o). Inside a cell, and only there, side B is compared with side A, after dividing
both by one smooth runtime T0(p, o) fitted to the two sides together, so that a cell's width does not matter. Cells count by
overlap, n_A n_B / (n_A + n_B): what only one side has does not count at all.

The 90% interval is a bootstrap over blocks of time: calls of one block share their contention and vary together, so a thousand calls
of one bad hour are one observation, not a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from tracewrap.runtime.quantiles import Z90

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 1000
MIN_BLOCKS = 6
"""Blocks of time that each side needs for an interval."""

Shape = tuple[float, float, float]
"""c + a p + b o, in seconds or dollars."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """B over A at equal token counts; ``low`` and ``high`` (90%) are None when a side has too few blocks of time."""

    a: float
    """Mean of side A over the cells that both have, weighted alike on both sides."""
    b: float
    value: float
    low: float | None
    high: float | None
    n_a: int
    """Calls of A that have a counterpart."""
    n_b: int


def fit_shape(p: Sequence[float], o: Sequence[float], mean: Sequence[float], n: Sequence[float]) -> Shape:
    """Non-negative c + a p + b o through cell means, least squares in relative error."""
    y = np.asarray(mean, float)
    keep = y > 0
    if not keep.any():
        return (1.0, 0.0, 0.0)
    columns = np.stack([np.ones(keep.sum()), np.asarray(p, float)[keep], np.asarray(o, float)[keep]], axis=1)
    weight = np.sqrt(np.asarray(n, float)[keep])
    design, target = columns * (weight / y[keep])[:, None], weight
    best, chosen = np.inf, np.array([float(np.median(y[keep])), 0.0, 0.0])
    for size in (1, 2, 3):
        for used in combinations(range(3), size):
            found = np.linalg.lstsq(design[:, used], target, rcond=None)[0]
            error = float(np.sum((design[:, used] @ found - target) ** 2))
            if (found >= 0).all() and found.any() and error < best * (1 - 1e-12):
                best, chosen = error, np.zeros(3)
                chosen[list(used)] = found
    return (float(chosen[0]), float(chosen[1]), float(chosen[2]))


@dataclass(frozen=True, slots=True)
class Sums:
    """One side: rows of (cell, block of time) with the number of calls and the sum of what is compared, divided by T0."""

    cell: Sequence[int]
    block: Sequence[int]
    n: Sequence[float]
    total: Sequence[float]

    def table(self, cells: Mapping[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(calls, sums), each blocks x cells, for the *cells* (cell to column) that are compared."""
        blocks = {block: i for i, block in enumerate(dict.fromkeys(self.block))}
        n, total = (np.zeros((len(blocks), len(cells))) for _ in range(2))
        for cell, block, count, value in zip(self.cell, self.block, self.n, self.total, strict=True):
            if cell in cells:
                n[blocks[block], cells[cell]] += count
                total[blocks[block], cells[cell]] += value
        used = n.sum(axis=1) > 0
        return n[used], total[used]


def compare(a: Sums, b: Sums, size: Mapping[int, float], *, log: bool = False, seed: int = 0) -> Ratio | None:
    """B over A at equal token counts; None when no cell holds calls of both.

    *size*: T0 by cell, what its calls weigh. *log*: sums are of logarithms, and the ratio is of geometric means (the typical
    call) instead of means (the sum of all calls).
    """
    shared = sorted(set(a.cell) & set(b.cell))
    columns = {cell: i for i, cell in enumerate(shared)}
    if not shared:
        return None
    (n_a, s_a), (n_b, s_b) = a.table(columns), b.table(columns)
    count_a, count_b = n_a.sum(axis=0), n_b.sum(axis=0)
    weight = count_a * count_b / (count_a + count_b)
    scale = np.array([size[cell] for cell in shared])
    total = float(weight.sum())

    def level(n: Any, s: Any) -> Any:
        """Log of the weighted mean; a cell that a resample left empty takes its side's mean instead."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = s / n
            usual = s.sum(axis=-1, keepdims=True) / n.sum(axis=-1, keepdims=True)
        mean = np.where(n > 0, mean, usual)
        if log:
            return mean @ weight / total
        return np.log(np.maximum(mean @ (weight * scale), 1e-300))

    if not log and min(s_a.sum(), s_b.sum()) <= 0:
        return None
    at_a, at_b = float(level(count_a, s_a.sum(axis=0))), float(level(count_b, s_b.sum(axis=0)))
    usual_size = float(np.exp(np.log(np.maximum(scale, 1e-300)) @ weight / total))
    mean_a = float(np.exp(at_a)) * (usual_size if log else 1.0 / total)
    low = high = None
    if min(len(n_a), len(n_b)) >= MIN_BLOCKS:
        rng = np.random.default_rng(seed)
        variance = sum(_variance(level(*_resampled(rng, n, s)), len(n)) for n, s in ((n_a, s_a), (n_b, s_b)))
        half = _t(min(len(n_a), len(n_b)) - 1) * variance**0.5
        low, high = float(np.exp(at_b - at_a - half)), float(np.exp(at_b - at_a + half))
    ratio = float(np.exp(at_b - at_a))
    return Ratio(mean_a, mean_a * ratio, ratio, low, high, int(count_a.sum()), int(count_b.sum()))


def share_difference(
    a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]], *, seed: int = 0
) -> Difference:
    """Share of B less share of A, each a sum of parts over a sum of wholes by block of time: (part, whole) a block."""
    sides = [np.asarray(side, float).reshape(-1, 2) for side in (a, b)]
    sides = [side[side[:, 1] > 0] for side in sides]
    if not all(len(side) for side in sides):
        return Difference(None, None, None, None, None)
    share_a, share_b = (float(side[:, 0].sum() / side[:, 1].sum()) for side in sides)
    low = high = None
    if min(map(len, sides)) >= MIN_BLOCKS:
        rng, variance = np.random.default_rng(seed), 0.0
        for side in sides:
            part, whole = _resampled(rng, side[:, :1], side[:, 1:])
            variance += _variance(part / np.maximum(whole, 1e-300), len(side))
        half = _t(min(map(len, sides)) - 1) * variance**0.5
        low, high = share_b - share_a - half, share_b - share_a + half
    return Difference(share_a, share_b, share_b - share_a, low, high)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two shares and B less A with its 90% interval; None where a side has no whole, or too few blocks of time."""

    a: float | None
    b: float | None
    value: float | None
    low: float | None
    high: float | None


def _resampled(rng: np.random.Generator, n: Any, s: Any) -> tuple[Any, Any]:
    """Sums of whole blocks drawn with replacement: resamples x columns."""
    blocks = len(n)
    drawn = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=RESAMPLES).astype(float)
    return drawn @ n, drawn @ s


def _variance(resamples: Any, blocks: int) -> float:
    """Variance over *resamples*; a bootstrap of B blocks understates it by (B - 1) / B."""
    return float(np.var(resamples)) * blocks / (blocks - 1)


def _t(freedom: int) -> float:
    """The 95% quantile of Student's t (Cornish-Fisher, better than 1% from three degrees of freedom up)."""
    z = Z90
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
