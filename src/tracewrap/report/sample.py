"""The part of the report that says what a sample stands for."""

from __future__ import annotations

from typing import Literal, TypedDict


class Scaled(TypedDict):
    """A total of all calls, estimated from a sample of the traces, with its 95% interval."""

    value: float
    low: float
    high: float


class Sample(TypedDict):
    """What the sources hold a sample of. ``kind``: where the probability of keeping a trace comes from, tracestate or given by the user;
    unknown: the records say that they were sampled, not how; tail: slow and failed traces were kept, nothing can be scaled.
    """

    kind: Literal["tracestate", "given", "unknown", "tail"]
    least_probability: float | None
    most_probability: float | None
    unknown_calls: int
    """Calls of sampled traces without a probability."""
    calls: Scaled | None
    input_tokens: Scaled | None
    output_tokens: Scaled | None
    list_cost_usd: Scaled | None
    idealized_cost_usd: Scaled | None
    """On the first reference stack."""
