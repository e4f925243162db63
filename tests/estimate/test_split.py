"""Us or the provider: the parts add up to raw, and the verdict follows from them."""

from __future__ import annotations

import pytest

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.estimate.split import put_split, split
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile

CALL = {
    "trace_id": "t",
    "span_id": "s",
    "start_time_ns": 0,
    "provider": "openai",
    "operation": "chat",
    "request_model": "m",
    "usage": TokenUsage(input_tokens=100, output_tokens=11),
}
# T(100, 11) = 0.2 + 0.3 + 10 * 0.05 = 1.0 s, of which 0.2 s are network and admission.
QUIET = RuntimeProfile(id="q", model="m", prompt_knots=((1, 0.3),), d0=0.05, overhead_s=0.2)


@pytest.mark.parametrize(
    ("raw", "retry", "consumer", "verdict"),
    [
        (1.0, 0.0, 0.0, "model"),
        (1.2, 0.0, 0.0, "model"),  # contention 0.2 of 1.2: a sixth
        (3.0, 0.0, 0.0, "provider"),  # contention 2.0 of 3.0
        (2.0, 1.0, 0.0, "provider"),  # half was lost to retries, the last attempt was quiet
        (1.0, 0.0, 5.0, "us"),  # the program held the stream for five seconds
        (0.8, 0.0, 0.0, "model"),  # faster than on a quiet day
    ],
)
def test_parts_add_up(raw: float, retry: float, consumer: float, verdict: str) -> None:
    """Retries, admission, contention and model are raw, exactly."""
    call = Call(**CALL, raw_runtime_s=raw, retry_s=retry, consumer_s=consumer)  # type: ignore[arg-type]
    catalog = Catalog(denoised={call.deployment.key: QUIET})
    parts = split(join_call(call, catalog))
    assert parts is not None
    assert parts.admission_s is not None
    assert parts.contention_s is not None
    assert parts.model_s is not None
    assert parts.retries_s + parts.admission_s + parts.contention_s + parts.model_s == pytest.approx(raw)
    assert (parts.retries_s, parts.admission_s, parts.model_s) == (retry, 0.2, pytest.approx(0.8))
    assert parts.verdict == verdict


def test_without_a_profile_it_is_unknown_unless_retries_decide() -> None:
    """No denoised profile: contention is absent, not zero."""
    empty = Catalog()
    calm = split(join_call(Call(**CALL, raw_runtime_s=1.0), empty))  # type: ignore[arg-type]
    retried = split(join_call(Call(**CALL, raw_runtime_s=3.0, retry_s=2.0), empty))  # type: ignore[arg-type]
    assert calm is not None
    assert retried is not None
    assert (calm.contention_s, calm.verdict) == (None, "unknown")
    assert retried.verdict == "provider"
    assert split(join_call(Call(**CALL), empty)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", [3.0, 1.1])
def test_spans_carry_the_split(raw: float) -> None:
    """Our own span and another instrumentor's get the same three attributes; the other parts have names of their own."""
    call = Call(**CALL, raw_runtime_s=raw, retry_s=0.05)  # type: ignore[arg-type]
    catalog = Catalog(denoised={call.deployment.key: QUIET})
    ours = join_attributes(semconv.call_attributes(call), catalog)
    theirs = semconv.joined_attributes(join_call(call, catalog))
    put_split(theirs, split(join_call(call, catalog)))
    names = (semconv.SPLIT_ADMISSION, semconv.SPLIT_MODEL, semconv.SPLIT_VERDICT)
    assert [ours[name] for name in names] == [0.2, pytest.approx(0.8), "provider" if raw == 3.0 else "model"]
    assert ours == pytest.approx(theirs)


def test_spans_say_nothing_where_nothing_is_known() -> None:
    """No denoised profile, no verdict: no attribute."""
    added = join_attributes(semconv.call_attributes(Call(**CALL, raw_runtime_s=1.0)), Catalog())  # type: ignore[arg-type]
    assert not [name for name in added if name.startswith("tracewrap.split")]
