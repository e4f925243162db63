"""Low-quantile regression under ``denoise``: iteratively reweighted non-negative least squares in relative error.

    minimise  sum_i rho_tau((y_i - x_i'b) / s_i),   b >= 0,   rho_tau(r) = r * (tau - [r < 0])

s_i: the fitted value of the round before, so that errors count relatively. The check function is smoothed within ``SMOOTH`` of zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

SMOOTH = 0.004
ROUNDS = 40


def quantile_fit(design: Array, y: Array, tau: float, weight: Array | None = None, rounds: int = ROUNDS) -> Array:
    """Non-negative coefficients of the *tau* quantile of *y* given *design*; *weight*: importance of each row."""
    columns = np.maximum(np.abs(design).max(axis=0), 1e-12)
    scaled = design / columns
    importance = np.ones_like(y) if weight is None else weight
    size = y.copy()
    gram_weight = np.ones_like(y)
    beta = np.zeros(design.shape[1])
    for _ in range(rounds):
        root = np.sqrt(gram_weight * importance)
        rows = scaled / size[:, None] * root[:, None]
        target = y / size * root
        # Normal equations keep each round at the size of the coefficients, whatever the number of calls.
        gram = rows.T @ rows
        ridge = 1e-12 * np.trace(gram) / len(gram)
        factor = np.linalg.cholesky(gram + ridge * np.eye(len(gram)))
        new, _ = nnls(factor.T, np.linalg.solve(factor, rows.T @ target), maxiter=200 * len(gram))
        fitted = np.maximum(scaled @ new, 1e-9)
        relative = (y - fitted) / fitted
        gram_weight = np.where(relative >= 0, tau, 1 - tau) / np.maximum(np.abs(relative), SMOOTH)
        size = fitted
        if np.max(np.abs(new - beta)) <= 1e-6 * max(1e-12, float(np.max(new))):
            beta = new
            break
        beta = new
    return np.asarray(beta / columns, dtype=np.float64)
