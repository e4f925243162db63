"""The columns of a deployment's T: constant, prompt curve of the tokens not cached, cached tokens, decode, decode by context, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracewrap.runtime.quiet.basis import Array
from tracewrap.runtime.quiet.usable import Observation

CALLS_PER_KNOT = 40
MAX_KNOTS = 6
MIN_SPREAD = 2.0
"""Largest over smallest prompt from which prompt time can be told from the constant; likewise of output tokens for decode time."""
MIN_KIND = 8
"""Calls with cached tokens, or with images, from which their time is learned; calls at either end that make a spread."""
CONTEXT_CALLS = 200
"""Calls from which the growth of decode time with context is looked for."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Usable calls as arrays. ``first_s``, ``start_s``: NaN where unknown."""

    p: Array
    o: Array
    cached: Array
    images: Array
    y: Array
    first_s: Array
    start_s: Array

    @classmethod
    def of(cls, kept: Sequence[Observation]) -> Calls:
        """The arrays of *kept*."""

        def column(values: list[float | int | None]) -> Array:
            return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

        return cls(
            column([x.input_tokens for x in kept]),
            column([x.output_tokens for x in kept]),
            column([min(x.cached_input_tokens or 0, x.input_tokens) for x in kept]),
            column([x.images for x in kept]),
            column([x.runtime_s for x in kept]),
            column([x.time_to_first_chunk_s for x in kept]),
            column([x.start_time_s for x in kept]),
        )

    @property
    def fresh(self) -> Array:
        """Input tokens that were not read from the cache."""
        return self.p - self.cached


@dataclass(frozen=True, slots=True)
class Columns:
    """Which terms are fitted: ``knots`` of the prompt curve (empty: constant), and whether cached tokens, context and images have one."""

    knots: Array
    decode: bool
    context: bool
    cached: bool
    images: bool

    @classmethod
    def of(cls, calls: Calls) -> Columns:
        """The terms that *calls* can tell apart."""
        many = len(calls.p) >= CONTEXT_CALLS
        decode = spread(calls.o)
        context = many and decode and spread(calls.p) and float(np.quantile(calls.p, 0.9)) > 1000.0
        return cls(
            _knots(calls.fresh) if spread(calls.fresh) else np.array([]),
            decode,
            context,
            int(np.count_nonzero(calls.cached)) >= MIN_KIND,
            int(np.count_nonzero(calls.images)) >= MIN_KIND,
        )

    def design(self, calls: Calls) -> Array:
        """One row a call: constant, knots, cached, images, decode, context; those that are fitted."""
        fresh, later = calls.fresh, np.maximum(calls.o - 1.0, 0.0)
        found = [np.ones_like(fresh), *(np.maximum(0.0, fresh - knot) for knot in self.knots)]
        found += [calls.cached] if self.cached else []
        found += [calls.images] if self.images else []
        found += [later] if self.decode else []
        found += [later * (calls.p + calls.o / 2.0)] if self.context else []
        return np.column_stack(found)

    @property
    def prompt_part(self) -> int:
        """How many columns, from the left, make the time until the first token: constant, knots, cached tokens, images."""
        return 1 + len(self.knots) + self.cached + self.images


def edge_share(count: int) -> float:
    """The share of calls at either end of a range that says where the range ends: eight calls, at most one in twenty."""
    return min(0.05, max(MIN_KIND / max(1, count), 0.004))


def spread(values: Array) -> bool:
    """Whether *values* differ enough to tell what depends on them."""
    low, high = ends(values)
    return high >= MIN_SPREAD * max(1.0, low)


def ends(values: Array) -> tuple[float, float]:
    """The range in which there are enough calls to learn from."""
    share = edge_share(len(values))
    low, high = np.quantile(values, [share, 1.0 - share])
    return float(low), float(high)


def _knots(fresh: Array) -> Array:
    """Corners the prompt curve may have: quantiles of the prompt lengths seen, more with more calls."""
    count = int(min(MAX_KNOTS, max(2, len(fresh) // CALLS_PER_KNOT)))
    distinct = np.unique(fresh)
    return np.unique(np.quantile(distinct if len(distinct) < 50 else fresh, np.linspace(0.0, 0.85, count)))
