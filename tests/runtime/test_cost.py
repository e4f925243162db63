"""Cost and energy of estimates."""

from __future__ import annotations

import pytest

from tracewrap.errors import ConfigurationError
from tracewrap.records import Estimate
from tracewrap.runtime.cost import amortized, idealized_cost, idealized_energy, wall_watts
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import batch_slowdown
from tracewrap.runtime.roofline.gpus import get_gpu

TWO_SECONDS = Estimate(2.0, 1.8, 2.2, "analytic", "p")


def test_cost_is_gpu_hours_times_price() -> None:
    """Two seconds on four GPUs at 3.60 dollars an hour are 0.8 cents, interval alike."""
    cost = idealized_cost(TWO_SECONDS, 4, 3.6)
    assert (cost.value, cost.low, cost.high) == pytest.approx((0.008, 0.0072, 0.0088))
    assert cost.provenance == "analytic"


def test_energy_at_batch_one_lies_in_the_measured_share_of_the_power_limit() -> None:
    """H100 and A100 draw 52 to 59% of their limit at batch 1."""
    for name in ("h100", "a100"):
        gpu = get_gpu(name)
        assert 0.52 <= gpu.batch_1_watts / gpu.tdp_w <= 0.59
    assert idealized_energy(TWO_SECONDS, 4, 385).value == pytest.approx(3080)


def test_server_share_and_building_overhead_are_explicit_terms() -> None:
    """Nothing is added unless it is stated."""
    assert wall_watts(385) == 385
    assert wall_watts(385, server_share_w=150, pue=1.2) == pytest.approx(642)


@pytest.mark.parametrize(
    ("values", "field"),
    [((0.0, 0.0, 1.0), "gpu_watts"), ((1.0, -1.0, 1.0), "server_share_w"), ((1.0, 0.0, 0.9), "pue")],
)
def test_impossible_power_is_refused_by_name(values: tuple[float, float, float], field: str) -> None:
    """The error names the term."""
    with pytest.raises(ConfigurationError, match=field):
        wall_watts(*values)


def test_amortised_values_divide_by_a_stated_batch_and_utilisation() -> None:
    """Eight requests at half utilisation share the bill by four, less what the batch slows each down."""
    assert amortized(TWO_SECONDS, 8, 0.5).value == pytest.approx(0.5)
    assert amortized(TWO_SECONDS, 8, 0.5, slowdown=2).value == pytest.approx(1.0)
    for arguments, field in (((0, 0.5), "batch"), ((8, 0.0), "utilisation"), ((8, 0.5, 9.0), "slowdown")):
        with pytest.raises(ConfigurationError, match=field):
            amortized(TWO_SECONDS, *arguments)


def test_a_batch_slows_a_mixture_down_more_than_a_dense_model() -> None:
    """More sequences read more experts; a dense model reads the same weights; saturation is far below batch times one."""
    gpu = get_gpu("h100")
    dense, mixture = get_model("llama-3.1-8b"), get_model("qwen3-30b-a3b")
    assert batch_slowdown(dense, gpu, 1) == pytest.approx(1)
    assert 1 < batch_slowdown(dense, gpu, 32) < 2 < batch_slowdown(mixture, gpu, 32) < 32
    with pytest.raises(ConfigurationError, match="batch is 100000"):
        batch_slowdown(dense, gpu, 100_000)
