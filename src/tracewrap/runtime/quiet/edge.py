"""The lower edge of few calls: where a likelihood has too little to go by, low quantiles carry the estimate.

With a hundred calls noise and contention are told apart only where one of them is small, and a fit of few calls follows the fastest of
them. Low quantiles do not ask what is noise, and are steady; they lie below the quiet level by about the noise where most calls are
untouched. So the fewer the calls, and the more of them contention has touched, the more the edge counts.
"""

from __future__ import annotations

import numpy as np

from tracewrap.runtime.quiet.basis import Array, quantile_fit

QUANTILES = (0.05, 0.1, 0.15)
EDGE_CALLS = 150.0
"""Calls up to which the edge alone may be the estimate; beyond, it soon counts for nothing."""
UNTOUCHED, TOUCHED_SPAN, TOUCHED_CALLS = 0.4, 0.25, 150.0
"""Share of touched calls from which the edge counts, and the span over which it comes to count in full; of fewer calls, a lower share."""

LEAST_WEIGHT = 0.05
"""Weight below which the edge is not worth its time."""


def edge_fit(design: Array, y: Array, rounds: int = 12) -> Array:
    """Non-negative coefficients of the lower edge of *y* given *design*: the mean of those of ``QUANTILES``."""
    return np.asarray(np.mean([quantile_fit(design, y, tau, rounds=rounds) for tau in QUANTILES], axis=0))


def edge_weight(calls: int, touched: float) -> float:
    """How much the edge counts beside the likelihood's fit, 0 to 1; *touched*: share of the calls that met contention."""
    least = UNTOUCHED * min(1.0, calls / TOUCHED_CALLS)
    weight = min(1.0, EDGE_CALLS / calls) ** 4 * float(np.clip((touched - least) / TOUCHED_SPAN, 0.0, 1.0))
    return weight if weight >= LEAST_WEIGHT else 0.0
