"""When to stop measuring: the error that a fitted profile expects of itself over a region."""

from __future__ import annotations

from collections.abc import Callable

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.profile import RuntimeProfile

FIRST_POINTS, MORE_POINTS = 6, 2
"""Points before the expected error is first looked at, and before each further look."""
MOST_POINTS = 40
"""Points after which measuring stops when nobody says otherwise."""
SIZES = 24
"""Prompt sizes, evenly spread on the log scale, over which the expected error is averaged."""


def expected_error(profile: RuntimeProfile, max_input_tokens: int, max_output_tokens: int) -> float:
    """Mean 90% half-width of *profile*, on the log scale, over prompts of 1 to *max_input_tokens* and 1 to *max_output_tokens* outputs.

    Both are taken evenly on the log scale, outputs at five sizes. A measurement is enough when this is at most what is wanted: the
    interval covers the next measurement in about nine cases of ten, so nine in ten errors are expected below it.
    """
    prompts = [float(max_input_tokens) ** (i / (SIZES - 1)) for i in range(SIZES)]
    outputs = [float(max_output_tokens) ** (i / 4) for i in range(5)]
    widths = [profile.half_width(round(p), round(o)) for p in prompts for o in outputs]
    return sum(widths) / len(widths)


def measure_until(
    take: Callable[[int], tuple[RuntimeProfile, bool]], limit: float, most: int, region: tuple[int, int]
) -> tuple[RuntimeProfile, int, float]:
    """Measure more points until the profile expects an error of *limit* at most: (profile, points measured, expected error).

    *take*: the profile of the first so many points, and whether all of them were measured (False: the budget ended, and so does
    this). *most*: points in all. *region*: most input and output tokens.
    """
    count = min(FIRST_POINTS, most)
    while True:
        profile, whole = take(count)
        expected = expected_error(profile, *region)
        if expected <= limit or not whole or count >= most:
            return profile, count, expected
        count = min(count + MORE_POINTS, most)


def share(text: str, name: str = "--until") -> float:
    """``2%`` or ``0.02`` as a share; ConfigurationError, naming *name*, for what is none between 0 and 1."""
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise ConfigurationError(f"{name} is {text!r}, must be a share such as 2% or 0.02")
    return value
