"""Quantiles: of the normal distribution, and of measured values."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z90 = 1.645
"""Standard deviations that a 90% interval reaches to either side of a normal distribution's mean: its 95% quantile."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lie, linear between neighbours; at least one value is needed."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (place - math.floor(place)) * (high - low)
