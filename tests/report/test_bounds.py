"""Bounds and weights by hand: contention where the quiet day has an interval, and what a lopsided cell counts in a comparison."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from made_days import call, write_log
from tracewrap import report
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import TokenUsage
from tracewrap.report.questions.equal_tokens import Sums
from tracewrap.report.questions.equal_tokens import compare as compare_sums
from tracewrap.runtime.profile import Interval, RuntimeProfile


def test_contention_is_least_where_the_quiet_day_is_slowest(tmp_path: Path) -> None:
    """Three calls of 2 s whose quiet day is 1 s within a factor of f: contention is 3 s of 6, between 6 - 3 f and 6 - 3 / f."""
    one = [call(i, float(i), usage=TokenUsage(100, 11), raw_runtime_s=2.0) for i in (1, 2, 3)]
    quiet = RuntimeProfile(
        id="q",
        model="m",
        prompt_knots=((0.0, 0.5), (1000.0, 0.5)),
        d0=0.05,
        interval=Interval(base=0.2),
        max_output_tokens=100,
    )
    log = write_log(tmp_path / "a.jsonl", one)
    built = report.build(str(log), catalog=Catalog(denoised={one[0].deployment.key: quiet}), now_ns=2**62)
    found, f = built["totals"]["contention"], math.exp(0.2)
    assert (found["n"], found["seconds"]) == (3, pytest.approx(3.0))
    assert (found["seconds_low"], found["seconds_high"]) == (pytest.approx(6 - 3 * f), pytest.approx(6 - 3 / f))
    assert (found["share_low"], found["share_high"]) == (pytest.approx(1 - f / 2), pytest.approx(1 - 1 / f / 2))


def test_what_one_side_hardly_has_hardly_counts() -> None:
    """Cells of 100 : 100 calls at ratio 2 and of 1000 : 1 at ratio 10 weigh 50 and 1000/1001, not what they hold together."""
    a = Sums(cell=[1, 2], block=[0, 0], n=[100, 1000], total=[100.0, 1000.0])
    b = Sums(cell=[1, 2], block=[0, 0], n=[100, 1], total=[200.0, 10.0])
    found = compare_sums(a, b, {1: 1.0, 2: 1.0})
    assert found is not None
    thin = 1000 / 1001
    assert found.value == pytest.approx((50 * 2 + thin * 10) / (50 + thin))
