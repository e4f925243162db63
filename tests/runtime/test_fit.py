"""fit: recovers what was simulated, never explodes, says which points to add."""

from __future__ import annotations

import numpy as np
import pytest

from tracewrap.errors import ConfigurationError, FitError
from tracewrap.runtime.fit.design import Point, design
from tracewrap.runtime.fit.fitting import fit
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.samples import Sample

TRUTHS = {
    "staircase": RuntimeProfile(
        id="t", model="m", prompt_knots=((128, 0.02), (2048, 0.25)), d0=0.02, tile=128, tile_fraction=0.6
    ),
    "smooth": RuntimeProfile(id="t", model="m", prompt_knots=((1, 0.01), (300, 0.03), (8192, 0.9)), d0=0.012, d1=2e-7),
    "flat then steep": RuntimeProfile(id="t", model="m", prompt_knots=((500, 0.05), (4096, 0.6)), d0=0.03),
}
GRID = [(p, o) for p in (1, 64, 128, 256, 320, 512, 700, 1024, 1400, 2048) for o in (1, 8, 64)]


def _samples(truth: RuntimeProfile, points: list[tuple[int, int]], noise: float, seed: int) -> list[Sample]:
    dice = np.random.default_rng(seed)
    return [Sample(p, o, truth.runtime(p, o) * float(np.exp(dice.normal(0, noise)))) for p, o in points]


@pytest.mark.parametrize("name", TRUTHS)
def test_simulated_profile_comes_back(name: str) -> None:
    """Points never measured are predicted within 5% at the median and 12% at the 90th percentile, from 30 points with 1% noise."""
    truth = TRUTHS[name]
    found = fit(_samples(truth, GRID, 0.01, 0), id="x", model="m").profile
    unseen = [(p, o) for p in (33, 200, 450, 900, 1700) for o in (1, 30, 60)]
    errors = [abs(found.runtime(p, o) / truth.runtime(p, o) - 1) for p, o in unseen]
    assert np.median(errors) < 0.05
    assert np.quantile(errors, 0.9) < 0.12


@pytest.mark.parametrize("name", TRUTHS)
def test_intervals_cover(name: str) -> None:
    """Over seeds, at least 80% of unseen points lie inside the 90% interval (few points, so one-sided)."""
    truth, inside = TRUTHS[name], []
    for seed in range(12):
        found = fit(_samples(truth, GRID, 0.02, seed), id="x", model="m").profile
        for p, o in ((33, 1), (200, 20), (450, 1), (900, 40), (1700, 5)):
            estimate = found.estimate(p, o)
            inside.append(estimate.low <= truth.runtime(p, o) <= estimate.high)
    assert np.mean(inside) >= 0.8


def test_decode_terms_are_recovered() -> None:
    """Seconds per output token and its growth with context come back."""
    truth = TRUTHS["smooth"]
    points = [(p, o) for p in (16, 512, 4096, 8192) for o in (1, 64, 512)]
    found = fit(_samples(truth, points, 0.002, 1), id="x", model="m").profile
    assert found.d0 == pytest.approx(truth.d0, rel=0.03)
    assert found.d1 == pytest.approx(truth.d1, rel=0.15)


def test_one_outlier_does_not_bend_the_curve() -> None:
    """A point that took five times too long moves nothing by more than 3%."""
    truth = TRUTHS["flat then steep"]
    samples = _samples(truth, GRID, 0.002, 2)
    clean = fit(samples, id="x", model="m").profile
    samples[4] = Sample(64, 8, samples[4].runtime_s * 5)
    bent = fit(samples, id="x", model="m").profile
    for p, o in ((200, 30), (900, 10), (1700, 64)):
        assert bent.runtime(p, o) == pytest.approx(clean.runtime(p, o), rel=0.03)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "measure at least"),
        ([Sample(100, 10, 1.0)], "1 distinct points"),
        ([Sample(100, 10, 1.0)] * 50, "1 distinct points"),
        ([Sample(p, 1, 1.0) for p in (1, 100, 1000)], "same output_tokens"),
    ],
)
def test_too_little_says_what_to_add(samples: list[Sample], says: str) -> None:
    """The error is one line that names points."""
    with pytest.raises(FitError, match=says) as caught:
        fit(samples, id="x", model="m")
    assert "(" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "samples",
    [
        [Sample(1, 1, 0.1), Sample(1, 64, 1.0), Sample(512, 1, 0.3)],
        [Sample(100, o, 0.1 + 0.01 * o) for o in (1, 8, 64)],
        [Sample(p, o, 1.0) for p in (1, 100, 1000) for o in (1, 10)],
        [Sample(p, o, 1.0) for p in (1, 100) for o in (1, 10) for _ in range(5)],
    ],
    ids=["three points", "one prompt size", "constant data", "duplicates"],
)
def test_little_data_does_not_explode(samples: list[Sample]) -> None:
    """Predictions stay positive, finite and within an order of magnitude of the data; the interval is honest."""
    result = fit(samples, id="x", model="m")
    longest = max(s.runtime_s for s in samples)
    for p, o in ((1, 1), (500, 32), (1000, 64)):
        estimate = result.profile.estimate(p, o)
        assert 0 < estimate.low < estimate.value < estimate.high < 100 * longest


def test_prior_carries_what_few_points_cannot() -> None:
    """Two points scale a prior profile: unseen points come within 5% when the prior's shape is right and its speed 30% off."""
    truth = TRUTHS["smooth"]
    prior = RuntimeProfile(
        id="p",
        model="m",
        prompt_knots=tuple((x, 1.3 * y) for x, y in truth.prompt_knots),
        d0=1.3 * truth.d0,
        d1=1.3 * truth.d1,
    )
    samples = _samples(truth, [(1024, 1), (64, 64)], 0.0, 0)
    found = fit(samples, id="x", model="m", prior=prior, prior_sd=0.3)
    assert found.profile.provenance == "few_shot"
    for p, o in ((10, 10), (300, 200), (8000, 50)):
        assert found.profile.runtime(p, o) == pytest.approx(truth.runtime(p, o), rel=0.05)


def test_repeats_weigh() -> None:
    """A point measured a hundred times pulls harder than one measured once."""
    samples = [Sample(100, 1, 0.1), Sample(100, 11, 0.2), Sample(1000, 1, 0.4), Sample(1000, 11, 0.6, repeats=100)]
    heavy = fit(samples, id="x", model="m").profile
    assert abs(heavy.runtime(1000, 11) - 0.6) < 0.06


def test_few_queries_cover() -> None:
    """Ten queries with 1% noise: of new measurements between 80% and 99% lie inside the 90% interval, over hardware and seeds."""
    inside = []
    points = [(q.input_tokens, q.output_tokens) for q in design(10)]
    for truth in TRUTHS.values():
        for seed in range(10):
            found = fit(_samples(truth, points, 0.01, seed), id="x", model="m").profile
            for new in _samples(truth, [(33, 1), (200, 20), (450, 1), (900, 40), (1700, 5)], 0.01, 100 + seed):
                estimate = found.estimate(new.input_tokens, new.output_tokens)
                inside.append(estimate.low <= new.runtime_s <= estimate.high)
    assert 0.8 <= np.mean(inside) <= 0.99


def test_repeated_runs_tell_the_noise() -> None:
    """Five runs a point on noisy hardware (3%): noise is seen within a factor of two, and the interval widens with it."""
    truth = TRUTHS["staircase"]
    points = [(q.input_tokens, q.output_tokens) for q in design(10) for _ in range(5)]
    quiet = fit(_samples(truth, points, 0.001, 3), id="x", model="m")
    noisy = fit(_samples(truth, points, 0.03, 3), id="x", model="m")
    assert 0.015 < noisy.noise < 0.06
    assert quiet.noise < 0.01
    assert noisy.profile.interval.base > 2 * quiet.profile.interval.base


def test_given_deviations_tell_the_noise() -> None:
    """Points that are means of ten runs with 4% deviation each say so, though only one row a point is there."""
    truth = TRUTHS["smooth"]
    rows = [Sample(p, o, truth.runtime(p, o), 10, 0.04 * truth.runtime(p, o)) for p, o in GRID[::3]]
    assert 0.02 < fit([*rows, Sample(9, 64, truth.runtime(9, 64))], id="x", model="m").noise < 0.08


def test_concave_prompt_curve() -> None:
    """A mixture of experts reads more weights the longer a short prompt is: steep first, then flat. Within 15%, measured points 5%."""
    truth = RuntimeProfile(id="t", model="m", prompt_knots=((1, 0.1), (128, 0.5), (2048, 0.8)), d0=0.1)
    points = [(q.input_tokens, q.output_tokens) for q in design(10)]
    found = fit(_samples(truth, points, 0.003, 0), id="x", model="m").profile
    for p, o in points:
        assert found.runtime(p, o) == pytest.approx(truth.runtime(p, o), rel=0.05)
    for p, o in ((100, 8), (450, 1), (900, 40), (1700, 5)):
        assert found.runtime(p, o) == pytest.approx(truth.runtime(p, o), rel=0.15)


@pytest.mark.parametrize("points", [[(1, 1), (1, 64), (512, 1)], [(100, 1), (100, 8), (100, 64)]], ids=["two", "one"])
def test_three_points_have_wide_intervals(points: list[tuple[int, int]]) -> None:
    """Three points on one or two prompt sizes: the truth between and beyond them lies inside, at a width of 30% or more."""
    truth = TRUTHS["staircase"]
    found = fit(_samples(truth, points, 0.0, 0), id="x", model="m").profile
    for p, o in ((200, 1), (300, 1), (1000, 1)):
        estimate = found.estimate(p, o)
        assert estimate.low <= truth.runtime(p, o) <= estimate.high
        assert estimate.high / estimate.low > 1.6


def test_covariance_is_stated_and_ordered() -> None:
    """Log prompt time at each knot, then d0 and d1: symmetric, positive on the diagonal, and wider for noisier timings."""
    truth = TRUTHS["smooth"]
    quiet, noisy = (fit(_samples(truth, GRID, noise, 5), id="x", model="m") for noise in (0.002, 0.05))
    for result in (quiet, noisy):
        matrix = np.array(result.covariance)
        assert matrix.shape == (len(result.profile.prompt_knots) + 2,) * 2
        assert np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-15)
        assert np.all(np.diag(matrix) > 0)
    assert noisy.covariance[-2][-2] > 4 * quiet.covariance[-2][-2]
    few = fit(_samples(truth, [(1, 1), (512, 64)], 0.0, 0), id="x", model="m", prior=truth)
    assert np.array(few.covariance).shape == (2, 2)


@pytest.mark.parametrize("noise", [0.0025, 0.01, 0.03, 0.06])
def test_told_noise_makes_intervals_honest(noise: float) -> None:
    """Ten points of the design, each measured once, the noise told: the next measurement lies in the 90% interval in 80 to 99 of 100."""
    truth, inside = TRUTHS["staircase"], []
    points = [(q.input_tokens, q.output_tokens) for q in design(10)]
    for seed in range(20):
        found = fit(_samples(truth, points, noise, seed), id="x", model="m", noise=noise)
        assert found.noise == pytest.approx(noise)
        for sample in _samples(truth, GRID, noise, seed + 1000):
            estimate = found.profile.estimate(sample.input_tokens, sample.output_tokens)
            inside.append(estimate.low <= sample.runtime_s <= estimate.high)
    assert 0.8 <= np.mean(inside) <= 0.99


def test_told_noise_widens_a_scaled_prior() -> None:
    """With a prior profile the interval has the noise that was told."""
    truth = TRUTHS["smooth"]
    low, high = (
        fit(_samples(truth, [(1, 1), (512, 64)], 0.0, 0), id="x", model="m", prior=truth, noise=noise)
        for noise in (0.01, 0.1)
    )
    assert high.profile.interval.base > 5 * low.profile.interval.base


@pytest.mark.parametrize("noise", [0.0, -0.1, 1.0, float("nan")])
def test_impossible_noise(noise: float) -> None:
    """Noise is a share between 0 and 1, in a fit and in a design."""
    with pytest.raises(ConfigurationError, match="noise is"):
        fit(_samples(TRUTHS["smooth"], GRID, 0.01, 0), id="x", model="m", noise=noise)
    with pytest.raises(ConfigurationError, match="noise is"):
        design(3, noise=noise)


@pytest.mark.parametrize(("max_p", "max_o"), [(2048, 64), (8192, 256), (32768, 64), (512, 16)])
def test_ten_points_have_three_that_generate(max_p: int, max_o: int) -> None:
    """Of the first ten points at least three have more than one output token, also beside points known; more noise never makes it fewer."""
    for noise in (None, 0.03, 0.06):
        points = design(10, max_input_tokens=max_p, max_output_tokens=max_o, noise=noise)
        assert sum(q.output_tokens > 1 for q in points) >= 3
        more = design(5, max_input_tokens=max_p, max_output_tokens=max_o, known=points[:5], noise=noise)
        assert sum(q.output_tokens > 1 for q in [*points[:5], *more]) >= 3


def test_one_slow_decode_point_does_not_rule() -> None:
    """One of the design's points with many outputs took 30% longer: the time per output token moves by less than half of that."""
    truth, points = TRUTHS["staircase"], [(q.input_tokens, q.output_tokens) for q in design(10)]
    for slow in [i for i, (_, o) in enumerate(points) if o > 1]:
        samples = _samples(truth, points, 0.0025, 3)
        samples[slow] = Sample(*points[slow], samples[slow].runtime_s * 1.3)
        found = fit(samples, id="x", model="m").profile
        assert found.decode_time(500, 64) == pytest.approx(truth.decode_time(500, 64), rel=0.15)


def test_design_is_ordered_and_honours_the_region() -> None:
    """The first n of a longer design are the shorter one; every point lies in the region; points known are not repeated first."""
    long, short = design(12, max_input_tokens=4096), design(5, max_input_tokens=4096)
    assert long[:5] == short
    assert all(1 <= q.input_tokens <= 4096 and 1 <= q.output_tokens <= 64 for q in long)
    assert len(set(long)) == len(long)
    assert design(1, max_input_tokens=4096, known=[long[0]])[0] != long[0]


def test_design_reaches_long_context() -> None:
    """For 32k tokens some of ten points lie beyond 8k, with one output token and with many."""
    points = design(10, max_input_tokens=32768)
    assert any(q.input_tokens > 8192 for q in points)
    assert {q.output_tokens for q in points} == {1, 64}
    assert design(3, candidates=[Point(7, 1), Point(9, 64)]) in (
        [Point(7, 1), Point(9, 64)],
        [Point(9, 64), Point(7, 1)],
    )
