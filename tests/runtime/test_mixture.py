"""The mixture of noise and contention: its densities, moments and weights beside the same by other means."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
from scipy.integrate import quad
from scipy.special import erfcx, log_ndtr

from tracewrap.runtime.quiet.mixture import (
    LEAST_MEAN,
    SHARES,
    State,
    densities,
    first_state,
    means_for,
    posterior,
    tail,
)


def test_tails_are_those_of_the_normal_distribution() -> None:
    """To a millionth, from the middle to where an untouched call has not been for forty deviations; both sides alike."""
    k = np.concatenate([np.linspace(0.0, 5.0, 2001), np.geomspace(5.0, 1e6, 500)])
    assert tail(k) == pytest.approx(erfcx(k / np.sqrt(2.0)), rel=1e-6)
    assert tail(-k) == pytest.approx(tail(k), rel=1e-15)


@pytest.mark.parametrize("sigma", [0.002, 0.02, 0.2])
def test_densities_are_of_a_normal_plus_an_exponential(sigma: float) -> None:
    """The closed form with the logarithm of the normal distribution, from far below the level to far above it."""
    z = np.linspace(-8.0 * sigma, 3.0, 400)
    means = means_for(np.ones_like(z))
    found, k, tails = densities(z, means, 0.0, sigma)
    means = np.maximum(means, LEAST_MEAN * sigma)
    rate = sigma / means
    t = (z / sigma)[:, None]
    expected = np.exp(0.5 * rate * rate - t * rate + log_ndtr(t - rate)) / means
    assert found[:, 2 : 2 + means.shape[1]] == pytest.approx(expected, rel=1e-5)
    assert (k.shape, tails.shape) == (means.shape, means.shape)


@pytest.mark.parametrize("z", [-0.05, 0.0, 0.03, 0.4])
def test_what_is_expected_of_contention_given_the_call(z: float) -> None:
    """Mean and variance of u, where it is exponential for certain, are those of the integrals."""
    sigma, part = 0.02, 2 + 1
    weights = np.zeros_like(first_state(0.0, sigma).weights)
    weights[part] = 1.0
    at = np.array([z, z])
    seen = posterior(at, *densities(at, means_for(np.ones(2)), 0.0, sigma), State(0.0, sigma, weights))

    def moment(power: int) -> float:
        def of(u: float) -> float:
            return float(u**power * np.exp(-0.5 * ((z - u) / sigma) ** 2 - u / SHARES[1]))

        return float(quad(of, 0.0, max(z, 0.0) + 12.0 * sigma, points=[max(z, 0.0)], epsabs=0.0, limit=200)[0])

    mean = moment(1) / moment(0)
    assert seen.mean[0] == pytest.approx(mean, rel=1e-4)
    assert seen.variance[0] == pytest.approx(moment(2) / moment(0) - mean**2, rel=1e-3)
