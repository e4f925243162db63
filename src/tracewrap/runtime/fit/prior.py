"""Few-shot: a prior profile's prompt and decode parts, scaled on the log scale by what a few samples say."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracewrap.runtime.fit.basis import Array, Cells
from tracewrap.runtime.profile import Interval, RuntimeProfile
from tracewrap.runtime.quantiles import Z90

ASSUMED_NOISE = 0.02
"""Deviation of one measurement assumed when too few samples tell."""


def scaled_prior(
    cells: Cells, prior: RuntimeProfile, prior_sd: float, told: float | None = None
) -> tuple[tuple[tuple[float, float], ...], dict[str, Any], Interval, float, Array]:
    """(knots, further profile values, interval, noise, covariance): posterior of log scale factors of prompt and decode time.

    Each factor has a normal prior of mean 0 and deviation *prior_sd* on the log scale; measurements have relative noise: *told*, or learned
    from more than three. Gauss-Newton on log T; the posterior deviation of the factors is the interval's.
    """
    prompt = np.array([prior.overhead_s + prior.prompt_time(p) for p in cells.p])
    decode = np.array([prior.decode_time(p, o) for p, o in zip(cells.p, cells.o, strict=True)])
    u, noise = np.zeros(2), told or ASSUMED_NOISE
    hessian = np.eye(2)
    for _ in range(20):
        parts = np.column_stack([prompt * np.exp(u[0]), decode * np.exp(u[1])])
        total = parts.sum(axis=1)
        jacobian = parts / total[:, None]
        residual = np.log(cells.y / total)
        precision = cells.weight / noise**2
        hessian = jacobian.T @ (jacobian * precision[:, None]) + np.eye(2) / prior_sd**2
        step = np.linalg.solve(hessian, jacobian.T @ (precision * residual) - u / prior_sd**2)
        u = u + step
        if told is None and len(cells.y) > 3:
            noise = max(ASSUMED_NOISE, 1.4826 * float(np.median(np.abs(residual))))
        if np.max(np.abs(step)) < 1e-9:
            break
    covariance: Array = np.linalg.inv(hessian).astype(np.float64)
    spread = np.sqrt(np.diag(covariance))
    scale_prompt, scale_decode = np.exp(u)
    knots = tuple((x, y * float(scale_prompt)) for x, y in prior.prompt_knots)
    values: dict[str, Any] = {
        "d0": prior.d0 * float(scale_decode),
        "d1": prior.d1 * float(scale_decode),
        "tile": prior.tile,
        "tile_fraction": prior.tile_fraction,
        "overhead_s": prior.overhead_s * float(scale_prompt),
    }
    shape = prior.interval
    interval = Interval(
        base=Z90 * noise,
        prompt=float(Z90 * np.hypot(spread[0], 0.5 * shape.prompt / Z90)),
        decode=float(Z90 * np.hypot(spread[1], 0.5 * shape.decode / Z90)),
        extrapolation=max(0.1, shape.extrapolation),
    )
    return knots, values, interval, noise, covariance
