"""How an estimate changes with GPUs, with requests in flight and with what it rests on."""

from __future__ import annotations

import pytest

from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import prepare
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.scaling import parallel_efficiency, request_s, swings
from tracewrap.runtime.roofline.terms import Setup


def setup(model: str, n_gpus: int, gpu: str = "h100") -> Setup:
    """*model* on *n_gpus* under the default stack."""
    return prepare(get_model(model), get_gpu(gpu), n_gpus=n_gpus)[0]


def test_each_further_gpu_gives_less_than_the_one_before() -> None:
    """One GPU is the measure; more are faster together and less efficient each; a small model loses more."""
    small = [parallel_efficiency(setup("llama-3.1-8b", n), 1024, 256) for n in (1, 2, 4, 8)]
    assert small[0] == pytest.approx(1.0)
    assert small == sorted(small, reverse=True)
    assert all(1 / n < found < 1 for n, found in zip((2, 4, 8), small[1:], strict=True))
    assert parallel_efficiency(setup("llama-3.3-70b", 8), 1024, 256) > small[-1]


def test_a_large_model_hangs_on_bandwidth_and_a_small_one_on_latency() -> None:
    """Output tokens aside, what moves a 70B model is reading it; what moves a 0.6B one is launching it."""
    first = {
        model: next(x.input for x in swings(setup(model, n), 1024, 256) if x.input != "output tokens")
        for model, n in (("llama-3.3-70b", 2), ("qwen3-0.6b", 1))
    }
    assert first == {"llama-3.3-70b": "memory bandwidth reached", "qwen3-0.6b": "latency of kernels"}


def test_the_largest_swing_comes_first_and_holds_the_estimate() -> None:
    """Sorted by width; each input's two ends lie on both sides; what a model does not have is not listed."""
    s = setup("llama-3.1-8b", 1)
    found, now = swings(s, 1024, 256), request_s(s, 1024, 256)
    widths = [x.high - x.low for x in found]
    assert widths == sorted(widths, reverse=True)
    assert all(x.low < now < x.high for x in found)
    assert not {"latency between GPUs", "bandwidth of the experts"} & {x.input for x in found}
    assert "bandwidth of the experts" in {x.input for x in swings(setup("qwen3-30b-a3b", 1), 1024, 256)}


def test_power_rises_with_requests_in_flight_up_to_the_limit() -> None:
    """From what one request draws, by the same step for each doubling, never above the card's limit."""
    for name in ("h100", "b200", "mi300x"):
        gpu = get_gpu(name)
        drawn = [gpu.watts(batch) for batch in (1, 2, 4, 8, 4096)]
        assert drawn[0] == gpu.batch_1_watts
        assert drawn == sorted(drawn)
        assert drawn[2] - drawn[1] == pytest.approx(drawn[1] - drawn[0])
        assert drawn[-1] == gpu.tdp_w
    assert 0.62 < get_gpu("h100").watts(8) / 700 < 0.72


def test_prices_of_years_ago_are_not_what_vendors_ask() -> None:
    """The paper's A100 price of 2023 is kept for the study and is no part of today's range."""
    gpu = get_gpu("a100")
    assert any(price.date.startswith("2023") for price in gpu.prices)
    assert gpu.asked_prices
    assert all(price.date >= "2025" for price in gpu.asked_prices)
