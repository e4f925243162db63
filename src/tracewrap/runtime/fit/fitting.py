"""fit(samples) -> FitResult: T(p, o) from measured points, in relative error, with calibrated intervals.

Two layers (``fit_basis``). A convex prompt curve with decode terms gives the physical shape even from a few points. A Gaussian
process over its residuals, whose deviation and noise are averaged over by their evidence, bends it through many points, and its
posterior is the interval. With a *prior* profile (analytic, or of a like stack) the prompt and decode parts of that profile are
scaled instead, on the log scale, with the stated prior deviation.

Where the constants come from: those of physics and of usual practice say so where they stand. Correlation length, own share, least
noise, tile fractions, agreement and the prior deviations of corners and tile step were looked at on synthetic rooflines with 0.3 to 3%
noise (dense and mixture-of-experts models, with and without a tile step) and on the A100 logs; ``benchmarks/fit_constants.py``
chooses them again with each architecture of the logs left out.
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
from tracewrap.runtime.fit.basis import Array, Cells, Curve, Posterior, best_curve, candidate_knots, effective
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.quantiles import Z90
from tracewrap.runtime.samples import Sample, checked_noise

__all__ = ["FitResult", "Sample", "fit"]

MAX_CELLS = 1500
"""Distinct (p, o) kept exactly; beyond, points near each other on the log scale are merged."""
KNEE = 128.0
"""Prompt tokens up to which reading the weights dominates, nominally: intervals are averaged evenly over log(p + knee)."""
ONE_SIZE = 0.7
"""Half-width of prompt time when only one prompt size was measured: a shorter prompt may take half, or as long."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A fitted profile with how well it fits. ``residuals``: relative, one a distinct (p, o); ``warnings``: what to beware of."""

    profile: RuntimeProfile
    residuals: tuple[tuple[int, int, float], ...]
    noise: float
    """Relative standard deviation of one measured point."""
    warnings: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]
    """Posterior covariance of log prompt time at each of ``profile.prompt_knots``, in order, then d0 (seconds) and d1 (seconds per
    token); of a scaled prior: of the log scales of its prompt time and its decode time."""

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
    noise: float | None = None,
    provenance: Provenance | None = None,
    stack: Mapping[str, Any] | None = None,
    n_gpus: int | None = None,
    measured: Mapping[str, Any] | None = None,
) -> FitResult:
    """Fit T(p, o) to *samples*.

    *prior*: a profile whose shape is trusted to *prior_sd* (log scale). *noise*: relative deviation of one measurement, where it is known;
    else it is learned: from repeats, or with what the curve leaves. Raises ConfigurationError for an
    impossible noise; FitError, naming the points to add, when the samples do not determine a profile and there is no prior.
    """
    given = list(samples)
    told = None if noise is None else checked_noise(noise, noise)
    cells = _cells(given)
    if prior is None:
        curve, notes = _curve(cells)
        posterior = Posterior(cells, curve, told)
        knots, covariance = _bent_knots(posterior)
        interval, found = _interval(cells, posterior), posterior.noise
        values: dict[str, Any] = {"d0": curve.d0, "d1": curve.d1, "tile": curve.tile, "tile_fraction": curve.fraction}
        default: Provenance = "measured" if len(cells.y) >= 8 else "few_shot"
    else:
        from tracewrap.runtime.fit.prior import scaled_prior

        knots, values, interval, found, covariance = scaled_prior(cells, prior, prior_sd, told)
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
    return _result(profile, cells, given, found, notes, covariance)


def _result(
    profile: RuntimeProfile,
    cells: Cells,
    given: Sequence[Sample],
    noise: float,
    notes: Sequence[str],
    covariance: Array,
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
    residuals = tuple((round(p), round(o), float(r)) for p, o, r in points)
    matrix = tuple(tuple(float(v) for v in row) for row in covariance)
    return FitResult(profile, residuals, noise, tuple(found), matrix)


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
    typical = (y[middle] + y[upper]) / 2
    spread, freedom = _spread(y[order] / np.repeat(typical, sizes) - 1.0, sizes, samples)
    return Cells(mean_p, mean_o, typical, np.sqrt(count), spread, freedom)


def _spread(relative: Array, sizes: NDArray[np.intp], samples: Sequence[Sample]) -> tuple[float, float]:
    """Relative deviation of one run and its degrees of freedom: from repeated points, else from the deviations given with them."""
    size = np.repeat(sizes, sizes)
    # The middle one of an odd number of runs is off by nothing, by construction: it does not count.
    place = np.arange(len(size)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    odd = size % 2 == 1
    counted = (size > 1) & ~(odd & (place == size // 2))
    if counted.any():
        wider = np.where(odd, 1.0, np.sqrt(size / np.maximum(size - 1.0, 1.0)))[counted]
        return 1.4826 * float(np.median(np.abs(relative[counted]) * wider)), float(np.sum(sizes[sizes > 1] - 1))
    told = [
        (s.deviation_s / s.runtime_s, s.repeats - 1) for s in samples if s.deviation_s is not None and s.repeats > 1
    ]
    freedom = float(sum(runs for _, runs in told))
    return (float(np.sqrt(sum(d * d * runs for d, runs in told) / freedom)), freedom) if told else (0.0, 0.0)


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


def _bent_knots(posterior: Posterior) -> tuple[tuple[tuple[float, float], ...], Array]:
    """Knots of the curve bent through its residuals, non-decreasing; and the covariance, as ``FitResult`` has it."""
    curve = posterior.curve
    x = effective(posterior.sizes, curve.tile, curve.fraction)
    at = np.unique(np.round(np.concatenate([x, curve.corners]), 6))
    at = at[(at >= np.round(x.min(), 6)) & (at <= np.round(x.max(), 6))]
    bent = np.maximum(np.maximum.accumulate(curve.at(at) * np.exp(posterior.bend(at))), 1e-12)
    return tuple((float(a), float(b)) for a, b in zip(at, bent, strict=True)), posterior.covariance(at)


def _interval(cells: Cells, posterior: Posterior) -> Interval:
    """Half-widths of the posterior over the prompt sizes measured; beyond one size, of what is physically possible."""
    low, high = float(cells.p.min()), float(cells.p.max())
    region = np.unique(np.round(np.geomspace(low + KNEE, high + KNEE, 40) - KNEE))
    base, prompt, decode = posterior.half_widths(region)
    if len(posterior.sizes) == 2:
        # Between two sizes prompt time may stay flat or follow the chord: even odds for all that lies between.
        rise = np.log(
            np.maximum(posterior.curve.prompt(region), 1e-12) / max(float(posterior.curve.prompt(region)[0]), 1e-12)
        )
        prompt = float(np.hypot(prompt, Z90 * np.sqrt(np.mean(rise**2) / 3.0)))
    if len(posterior.sizes) > 1:
        return Interval(base=base, prompt=prompt, decode=decode, extrapolation=0.2)
    # Constant prompt time was assumed; at most it grows with the prompt.
    return Interval(base=base, prompt=max(prompt, ONE_SIZE), decode=decode, extrapolation=1.0)
