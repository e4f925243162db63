"""Us or the provider: the parts add up to raw, and the verdict follows from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_attributes, join_call
from tracewrap.estimate.split import Split, put_split, split
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.profile import RuntimeProfile

CALL: dict[str, Any] = {
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


SIDE_S = {"client_pool_s": 0.0, "client_sdk_s": 0.0, "network_s": 0.0}
"""Our side of the wire was measured, and nothing passed there."""


def parts_of(raw: float, **facts: Any) -> Split:
    """The split of a call of *raw* seconds beside the quiet day."""
    call = Call(**CALL, raw_runtime_s=raw, **facts)
    found = split(join_call(call, Catalog(denoised={call.deployment.key: QUIET})))
    assert found is not None
    return found


def total(s: Split) -> float:
    """All parts."""
    known = (s.admission_s, s.model_s, s.contention_s, s.unexplained_s)
    return s.retries_s + s.client_s + s.network_s + sum(part or 0.0 for part in known)


@pytest.mark.parametrize(
    ("raw", "facts", "verdict", "kind"),
    [
        (1.0, {}, "model", None),
        (1.2, {}, "model", None),  # contention 0.2 of 1.2: a sixth
        (3.0, {}, "provider", None),  # contention 2.0 of 3.0
        (2.0, {"retry_s": 1.0}, "provider", None),  # half was lost to retries, the last attempt was quiet
        (0.8, {}, "model", None),  # faster than on a quiet day
        (1.0, {"consumer_s": 5.0}, "us", "consumer"),  # the program held the stream for five seconds
        (3.0, {"client_pool_s": 1.9}, "us", "pool"),
        (3.0, {"client_sdk_s": 1.9}, "us", "sdk"),
        (
            3.0,
            {"client_lag_s": 9.0, "client_lag_kind": "threads"},
            "us",
            "threads",
        ),  # at most what is beyond the quiet day: 2.0
        (3.0, {"client_lag_s": 0.2, "client_lag_kind": "event_loop"}, "provider", None),
        (3.0, {"network_s": 1.5}, "network", None),
        (1.0, {"client_lag_s": 0.9}, "model", None),  # a block that cost nothing: the answer was not there yet
        (1.0, {"network_s": 0.1, "client_pool_s": 0.3}, "model", None),  # the usual, part of the quiet day
        (3.0, {"server_processing_s": 0.8}, "unknown", None),  # the provider denies it, and nobody else explains it
        (3.0, {"server_processing_s": 2.8}, "provider", None),  # it says so itself
        (3.0, {"network_transit_s": 1.9}, "unknown", None),  # of the wait for the head, it denies so much
        (3.0, {"network_transit_s": 0.2}, "provider", None),  # no more than on a quiet day
    ],
)
def test_the_parts_and_the_verdict(raw: float, facts: dict[str, Any], verdict: str, kind: str | None) -> None:
    """All parts add up to raw; who lost most of a slow call made it slow, and what was not beyond the quiet day made nothing slow."""
    parts = parts_of(raw, **{**SIDE_S, **facts})
    assert total(parts) == pytest.approx(raw)
    assert (parts.verdict, parts.kind) == (verdict, kind)


@given(
    raw=st.floats(0.01, 50),
    shares=st.lists(st.floats(0, 1), min_size=5, max_size=5),
    lag=st.floats(0, 60),
    server=st.none() | st.floats(0, 60),
)
def test_parts_add_up_to_raw(raw: float, shares: list[float], lag: float, server: float | None) -> None:
    """Whatever was measured within the call: the parts are raw to the last bit that addition keeps, and none but contention is negative."""
    whole = max(1.0, sum(shares))
    retry, pool, sdk, network, _ = (raw * share / whole for share in shares)
    facts = {"retry_s": retry, "client_pool_s": pool, "client_sdk_s": sdk, "network_s": network, "client_lag_s": lag}
    parts = parts_of(raw, **facts, server_processing_s=server)
    assert total(parts) == pytest.approx(raw, rel=1e-9)
    assert min(parts.lag_s, parts.admission_s or 0.0, parts.unexplained_s or 0.0) >= 0.0
    assert (parts.model_s or 0.0) >= -1e-9


def test_what_was_not_measured_is_nobodys() -> None:
    """A call whose side of the wire nobody measured: what is beyond the quiet day is unknown, not the provider's; a header is evidence."""
    unseen = parts_of(3.0)
    assert (unseen.verdict, unseen.contention_s, unseen.unexplained_s) == ("unknown", 0.0, pytest.approx(2.0))
    assert parts_of(3.0, server_processing_s=2.8).verdict == "provider"
    assert (
        parts_of(3.0, server_processing_s=2.8, stream=True).verdict == "unknown"
    )  # of a stream the header tells the head alone


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, "unknown"),
        ({"retry_s": 2.0}, "provider"),
        ({"client_pool_s": 2.0}, "us"),
        ({"network_s": 2.0}, "network"),
        ({"client_lag_s": 2.0}, "unknown"),  # the answer came anywhere within the block
        ({"client_lag_s": 2.9, "client_sdk_s": 0.1}, "us"),
    ],
)
def test_without_a_quiet_day_only_what_was_measured_is_blamed(facts: dict[str, Any], verdict: str) -> None:
    """No denoised profile: contention and model are absent, not zero; the rest is unexplained."""
    parts = split(join_call(Call(**CALL, raw_runtime_s=3.0, **{**SIDE_S, **facts}), Catalog()))
    assert parts is not None
    assert (parts.contention_s, parts.model_s, parts.verdict) == (None, None, verdict)
    assert total(parts) == pytest.approx(3.0)
    assert split(join_call(Call(**CALL), Catalog())) is None


@pytest.mark.parametrize("facts", [{}, {"client_pool_s": 1.5}, {"client_lag_s": 0.4}, {"server_processing_s": 0.9}])
@pytest.mark.parametrize("raw", [3.0, 1.1])
def test_spans_carry_the_split(raw: float, facts: dict[str, Any]) -> None:
    """Our own span and another instrumentor's get the same attributes; the other parts have names of their own."""
    call = Call(**CALL, raw_runtime_s=raw, retry_s=0.05, **{**SIDE_S, **facts})
    catalog = Catalog(denoised={call.deployment.key: QUIET})
    ours = join_attributes(semconv.call_attributes(call), catalog)
    theirs = semconv.joined_attributes(join_call(call, catalog))
    put_split(theirs, split(join_call(call, catalog)))
    assert ours == pytest.approx(theirs)
    assert semconv.SPLIT_MODEL in ours


def test_spans_say_nothing_where_nothing_is_known() -> None:
    """No denoised profile, nothing measured: no verdict."""
    added = join_attributes(semconv.call_attributes(Call(**CALL, raw_runtime_s=1.0)), Catalog())
    assert semconv.SPLIT_VERDICT not in added
    assert semconv.SPLIT_CONTENTION not in added
