"""When to stop measuring: the error that a profile expects of itself, and measuring until it is small."""

from __future__ import annotations

import dataclasses

import pytest

from tracewrap.errors import ConfigurationError
from tracewrap.runtime.fit.stopping import expected_error, measure_until, share
from tracewrap.runtime.profile import Interval, RuntimeProfile

PROFILE = RuntimeProfile(
    id="p",
    model="m",
    prompt_knots=((1.0, 0.1), (2048.0, 0.5)),
    d0=0.02,
    interval=Interval(base=0.03),
    max_output_tokens=64,
)


def taking(widths: dict[int, float], asked: list[int], whole: bool = True):  # type: ignore[no-untyped-def]
    """A measurement whose interval is as *widths* says, by points; *asked* gets the counts."""

    def take(count: int) -> tuple[RuntimeProfile, bool]:
        asked.append(count)
        return dataclasses.replace(PROFILE, interval=Interval(base=widths[count])), whole

    return take


def test_expected_error_is_the_mean_half_width() -> None:
    """A base half-width of 3% everywhere is an expected error of 3%; beyond what was measured it is more."""
    assert expected_error(PROFILE, 2048, 64) == pytest.approx(0.03)
    wide = dataclasses.replace(PROFILE, interval=Interval(base=0.03, extrapolation=0.3))
    assert expected_error(wide, 2048, 64) == pytest.approx(0.03)
    assert expected_error(wide, 20_000, 64) > 0.04


def test_measuring_goes_on_until_the_interval_is_narrow() -> None:
    """Six points, then two more a look, until 2%: with 5, 3 and 1.9% after 6, 8 and 10, ten are measured."""
    asked: list[int] = []
    _, count, expected = measure_until(taking({6: 0.05, 8: 0.03, 10: 0.019}, asked), 0.02, 40, (2048, 64))
    assert (asked, count) == ([6, 8, 10], 10)
    assert expected == pytest.approx(0.019)


def test_measuring_ends_with_the_points_or_the_budget() -> None:
    """Never more points than were allowed, and none after the budget ended."""
    asked: list[int] = []
    assert measure_until(taking({6: 0.05, 7: 0.05}, asked), 0.02, 7, (2048, 64))[1] == 7
    assert asked == [6, 7]
    asked.clear()
    assert measure_until(taking({6: 0.05}, asked, whole=False), 0.02, 40, (2048, 64))[1] == 6
    assert asked == [6]


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), ("1.5%", 0.015)])
def test_shares(text: str, value: float) -> None:
    """A percentage, or a number between 0 and 1."""
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["2", "0", "-1%", "nan", "much", "%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """One line that names the option and says what is wanted."""
    with pytest.raises(ConfigurationError, match=r"--until is .* must be a share such as 2% or 0.02"):
        share(text)
