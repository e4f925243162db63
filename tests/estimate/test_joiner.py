"""The join of one call, live, by hand: dollars and joules of all GPUs of the reference stack."""

from __future__ import annotations

import pytest

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import Price, ReferenceStack

CALL = Call(
    trace_id="t",
    span_id="s",
    start_time_ns=0,
    provider="openai",
    operation="chat",
    request_model="m",
    usage=TokenUsage(input_tokens=100, output_tokens=11),
    raw_runtime_s=2.0,
)


def catalog(n_gpus: int | None) -> Catalog:
    """One stack of GPUs of 500 W at 3.60 $ an hour, on *n_gpus* of which T(100, 11) = 0.5 + 10 x 0.05 = 1 s."""
    profile = RuntimeProfile(id="p", model="m", prompt_knots=((1, 0.5),), d0=0.05, n_gpus=n_gpus)
    price = Price(3.6, "somebody's page", "2026-11-01")
    return Catalog(
        stacks=(ReferenceStack(id="s", gpu="g", precision="bf16", price=price, watts=500.0, profiles={"m": profile}),)
    )


@pytest.mark.parametrize(("n_gpus", "usd", "joules"), [(None, 0.001, 500.0), (1, 0.001, 500.0), (4, 0.004, 2000.0)])
def test_cost_and_energy_count_every_gpu(n_gpus: int | None, usd: float, joules: float) -> None:
    """One second on four GPUs: 4 x 3.60 $ / 3600 and 4 x 500 J, in the record and on the span; a count not given is one."""
    joined = join_call(CALL, catalog(n_gpus))
    assert joined.idealized_runtime is not None
    assert joined.idealized_cost is not None
    assert joined.idealized_energy is not None
    assert joined.idealized_runtime.value == pytest.approx(1.0)
    assert joined.idealized_cost.value == pytest.approx(usd)
    assert joined.idealized_energy.value == pytest.approx(joules)
    added = join_attributes(semconv.call_attributes(CALL), catalog(n_gpus))
    assert added[semconv.COST_IDEALIZED] == pytest.approx(usd)
    assert added[semconv.ENERGY_IDEALIZED] == pytest.approx(joules)
