"""fit(samples) -> FitResult: T(p, o) from measured points, in relative error, with calibrated intervals.

Three layers. A convex prompt curve with decode terms (``fit_basis``) gives the physical shape even from a few points; its residuals
over p, smoothed by a Gaussian process whose noise is estimated from the data, bend it through many points; leaving out each prompt
size in turn tells how wide the interval has to be. With a *prior* profile (analytic, or of a like stack) the prompt and decode
parts of that profile are scaled instead, on the log scale, with the stated prior deviation.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracewrap.errors import FitError, UnstableSamplesWarning
from tracewrap.records import Provenance
from tracewrap.runtime.fit_basis import (
    Array,
    Cells,
    Curve,
    best_curve,
    candidate_knots,
    effective,
    smooth_residuals,
    solve,
)
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.samples import Sample

__all__ = ["FitResult", "Sample", "fit"]

MAX_CELLS = 1500
"""Distinct (p, o) kept exactly; beyond, points near each other on the log scale are merged."""
MAX_SIZES = 128
"""Distinct prompt sizes at which residuals are smoothed; beyond, neighbouring sizes share one."""
OUTLIER = 4.0
"""Residuals beyond this many robust deviations lose their say in bending the curve, by the fourth power."""
FEW_SIZES = 12
"""Prompt sizes from which gaps are narrow against the tile steps between them."""
FOLDS = 25
"""Groups of neighbouring prompt sizes left out in turn to see how wide the interval has to be."""
Z90 = 1.645
SHAPE_SD = 0.05
"""Deviation of a real prompt curve from the convex physical shape, log scale: prior of the smoother (facts: 2 to 7%)."""
SHAPE_LENGTH = 8.0
"""Correlation length of that deviation, in octaves of prompt length: long, so that it is carried over linearly between points."""
MIN_NOISE = 0.005
"""Relative deviation below which agreement of timings is not believed: clocks and allocation differ by that between prompt sizes."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A fitted profile with how well it fits. ``residuals``: relative, one a distinct (p, o); ``warnings``: what to beware of."""

    profile: RuntimeProfile
    residuals: tuple[tuple[int, int, float], ...]
    noise: float
    """Relative standard deviation of one measured point."""
    warnings: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...] | None = None

    def summary(self) -> str:
        """The profile, its fit quality and warnings as a few lines of text."""
        p = self.profile
        errors = np.abs([r for _, _, r in self.residuals])
        lines = [
            f"{p.id}: {p.fit.get('samples')} samples at {len(self.residuals)} points, {p.provenance}",
            f"  prompt knots {len(p.prompt_knots)} ({p.prompt_knots[0][0]:g} to {p.prompt_knots[-1][0]:g} tokens), "
            f"tile {p.tile if p.tile_fraction else 'none'}",
            f"  seconds per output token {p.d0:.4g} + {p.d1:.3g} per token of context, overhead {p.overhead_s:.4g} s",
            f"  relative residual {np.median(errors):.2%} median, {np.quantile(errors, 0.9):.2%} p90; noise {self.noise:.2%}",
        ]
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def fit(
    samples: Iterable[Sample],
    *,
    id: str,
    model: str,
    prior: RuntimeProfile | None = None,
    prior_sd: float = 0.1,
    provenance: Provenance | None = None,
    stack: Mapping[str, Any] | None = None,
    n_gpus: int | None = None,
    measured: Mapping[str, Any] | None = None,
) -> FitResult:
    """Fit T(p, o) to *samples*.

    *prior*: a profile whose shape is trusted to *prior_sd* (log scale). Raises FitError, naming the points to add, when the samples do
    not determine a profile and there is no prior.
    """
    given = list(samples)
    cells = _cells(given)
    if prior is None:
        curve, notes = _curve(cells)
        knots, log_noise = _bent_knots(cells, curve)
        interval = _interval(cells, curve, log_noise)
        values: dict[str, Any] = {"d0": curve.d0, "d1": curve.d1, "tile": curve.tile, "tile_fraction": curve.fraction}
        default: Provenance = "measured" if len(cells.y) >= 8 else "few_shot"
    else:
        from tracewrap.runtime.fit_prior import scaled_prior

        knots, values, interval, log_noise = scaled_prior(cells, prior, prior_sd)
        notes, default = [], "few_shot"
    profile = RuntimeProfile(
        id=id,
        model=model,
        prompt_knots=knots,
        interval=interval,
        max_output_tokens=max(1, int(cells.o.max())),
        provenance=provenance or default,
        n_gpus=n_gpus,
        stack=dict(stack or {}),
        measured=dict(measured or {}),
        **values,
    )
    return _result(profile, cells, given, log_noise, notes)


def _result(
    profile: RuntimeProfile, cells: Cells, given: Sequence[Sample], noise: float, notes: Sequence[str]
) -> FitResult:
    relative = profile.runtimes(cells.p, cells.o) / cells.y - 1.0
    quality = {
        "samples": sum(s.repeats for s in given),
        "points": len(cells.y),
        "noise": round(noise, 6),
        "residual_median": round(float(np.median(np.abs(relative))), 6),
        "residual_p90": round(float(np.quantile(np.abs(relative), 0.9)), 6),
    }
    profile = dataclasses.replace(profile, fit=quality)
    found = list(notes)
    if noise > 0.15:
        found.append(f"repeated measurements differ by {noise:.0%}; measure on a quiet machine or add repeats")
        warnings.warn(found[-1], UnstableSamplesWarning, stacklevel=3)
    points = zip(cells.p, cells.o, relative, strict=True)
    return FitResult(profile, tuple((round(p), round(o), float(r)) for p, o, r in points), noise, tuple(found))


def _cells(samples: Sequence[Sample]) -> Cells:
    """Samples grouped by (p, o): median and number of runs."""
    if not samples:
        raise FitError("no samples to fit; measure at least (1, 1), (1, 64) and (512, 1)")
    p = np.array([s.input_tokens for s in samples], dtype=np.float64)
    o = np.array([s.output_tokens for s in samples], dtype=np.float64)
    y = np.array([s.runtime_s for s in samples], dtype=np.float64)
    w = np.array([s.repeats for s in samples], dtype=np.float64)
    if not (np.all(np.isfinite(y)) and np.all(y > 0.0)):
        raise FitError("a sample's runtime_s is not a positive number; drop it")
    distinct, inverse = np.unique(p * 2.0**26 + o, return_inverse=True)  # one exact number a point
    if len(distinct) > MAX_CELLS:
        inverse = _merged(p, o)
    order = np.lexsort((y, inverse))
    starts = np.flatnonzero(np.r_[True, np.diff(inverse[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    middle = order[starts + (sizes - 1) // 2]
    upper = order[starts + sizes // 2]
    count = np.add.reduceat(w[order], starts)
    mean_p, mean_o = np.add.reduceat(p[order], starts) / sizes, np.add.reduceat(o[order], starts) / sizes
    return Cells(mean_p, mean_o, (y[middle] + y[upper]) / 2, np.sqrt(count))


def _merged(p: Array, o: Array) -> NDArray[np.intp]:
    """Cell of each (p, o), coarse enough on the log scale to leave at most ``MAX_CELLS``."""
    x, y, step = np.log(np.maximum(p, 1.0)), np.log(np.maximum(o, 1.0)), 0.03
    while True:
        distinct, inverse = np.unique(np.round(x / step) * 2.0**20 + np.round(y / step), return_inverse=True)
        if len(distinct) <= MAX_CELLS:
            return inverse
        step *= 1.3


def _curve(cells: Cells) -> tuple[Curve, list[str]]:
    """The convex curve, or FitError naming the points to add."""
    many_p, many_o = len(np.unique(cells.p)), len(np.unique(cells.o))
    generated = cells.o > 1
    notes = []
    if len(cells.y) < 3:
        raise FitError(
            f"{len(cells.y)} distinct points do not determine a profile; add " + _missing(cells, many_p < 2, many_o < 2)
        )
    if many_o < 2 or not generated.any():
        raise FitError("all points have the same output_tokens; add " + _missing(cells, False, True))
    if many_p < 2:
        notes.append(
            "all points have the same input_tokens: prompt time is taken constant; add " + _missing(cells, True, False)
        )
    return best_curve(cells, candidate_knots(cells.p)), notes


def _missing(cells: Cells, prompt: bool, output: bool) -> str:
    p, o = int(cells.p.min()), int(cells.o.max())
    points = []
    if prompt:
        points.append(f"({max(512, 4 * int(cells.p.max()))}, {o})")
    if output:
        points.append(f"({p}, {64 if o < 32 else 1})")
    return " and ".join(points or [f"({p}, {4 * o + 60})"])


def _prompt_points(cells: Cells, curve: Curve) -> tuple[Array, Array, Array, Array]:
    """(effective p, prompt time, weight share, log residual) of each distinct prompt size."""
    decode = curve.decode(cells.p, cells.o)
    prompt = cells.y - decode
    good = prompt > 0.2 * cells.y
    if not good.any():
        good = cells.o == cells.o.min()
    sizes, group = np.unique(cells.p[good], return_inverse=True)
    if len(sizes) > MAX_SIZES:
        group = (group * MAX_SIZES) // len(sizes)
    share = np.maximum(prompt[good], 1e-12) / cells.y[good]
    logs = np.log(np.maximum(prompt[good], 1e-12) / curve.prompt(cells.p[good]))
    relative = np.abs(curve.runtime(cells.p, cells.o) / cells.y - 1.0)
    outlying = np.maximum(1.0, relative / (OUTLIER * (1.4826 * np.median(relative) + MIN_NOISE)))[good]
    weight = cells.weight[good] * share**2 / outlying**4
    total = np.bincount(group, weight)
    distinct = np.bincount(group, weight * cells.p[good]) / total
    ratio: Array = np.bincount(group, weight * logs) / total
    return distinct, curve.prompt(distinct), total.astype(np.float64), ratio


def _bent_knots(cells: Cells, curve: Curve) -> tuple[tuple[tuple[float, float], ...], float]:
    """Knots of the curve bent through its smoothed residuals, non-decreasing; and the noise of a point (relative)."""
    noise = _noise(cells, curve)
    distinct, _, precision, ratio = _prompt_points(cells, curve)
    x = effective(distinct, curve.tile, curve.fraction)
    corners = curve.knots[curve.coefficients[1:-2] > 0]
    at = np.unique(np.round(np.concatenate([x, corners, [float(x.min()), float(x.max())]]), 6))
    at = at[(at >= np.round(x.min(), 6)) & (at <= np.round(x.max(), 6))]
    bent = curve.at(at)
    if len(distinct) >= 3:
        excess = float(np.mean(ratio**2)) - noise**2
        amplitude = max(SHAPE_SD, float(np.sqrt(max(0.0, excess))))
        variance = np.full_like(ratio, noise**2) / np.maximum(precision, 1e-6)
        bent = bent * np.exp(smooth_residuals(x, ratio, variance, at, amplitude, SHAPE_LENGTH))
    bent = np.maximum.accumulate(bent)
    floor = 1e-12
    return tuple((float(a), float(max(b, floor))) for a, b in zip(at, bent, strict=True)), noise


def _noise(cells: Cells, curve: Curve) -> float:
    """Relative standard deviation of one point about the curve that p and o allow: spread within a prompt size, robust."""
    relative = curve.runtime(cells.p, cells.o) / cells.y - 1.0
    _, group, size = np.unique(cells.p, return_inverse=True, return_counts=True)
    many = size[group] > 2
    if not many.any():
        return float(max(MIN_NOISE, 1.4826 * np.median(np.abs(relative))))
    # Median of each prompt size: sort by size then residual, take the middle of each run.
    order = np.lexsort((relative, group))
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    middle = (relative[order[starts + (size - 1) // 2]] + relative[order[starts + size // 2]]) / 2
    inside = np.abs(relative - middle[group]) * np.sqrt(size[group] / np.maximum(size[group] - 1, 1))
    return float(max(MIN_NOISE, 1.4826 * np.median(inside[many])))


def _interval(cells: Cells, curve: Curve, noise: float) -> Interval:
    """Half-widths: noise everywhere, and what leaving out each prompt size in turn gets wrong."""
    distinct = np.unique(cells.p)
    base = Z90 * noise
    if len(distinct) < 4:
        few = 0.25 if len(cells.y) < 8 else 0.1
        return Interval(base=base, prompt=few, decode=few / 2, extrapolation=0.2)
    errors: list[float] = []
    for fold in np.array_split(distinct[1:-1], min(FOLDS, len(distinct) - 2)):
        kept = ~np.isin(cells.p, fold)
        rest = Cells(cells.p[kept], cells.o[kept], cells.y[kept], cells.weight[kept])
        if len(rest.y) < 3 or len(np.unique(rest.o)) < 2:
            continue
        other = solve(rest, curve.tile, curve.fraction, candidate_knots(rest.p), iterations=2)
        knots, _ = _bent_knots(rest, other)
        there = Cells(cells.p[~kept], cells.o[~kept], cells.y[~kept], cells.weight[~kept])
        xs, ys = np.array([k for k, _ in knots]), np.array([v for _, v in knots])
        seconds = np.interp(effective(there.p, curve.tile, curve.fraction), xs, ys) + other.decode(there.p, there.o)
        share = np.interp(effective(there.p, curve.tile, curve.fraction), xs, ys) / seconds
        errors.extend(np.abs(np.log(seconds / there.y)) / np.maximum(share, 0.2))
    prompt = float(np.quantile(errors, 0.9)) if errors else 0.1
    if len(distinct) < FEW_SIZES:
        prompt /= 2  # leaving one of few out doubles the gap it lay in, and with it the error between points
    return Interval(base=base, prompt=prompt, decode=base, extrapolation=0.2)
