"""What the learner takes from a call, and which calls it takes: held exactly, with enough calls of each kind for a profile."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tracewrap.learn.learner import MAX_CALLS, Denoiser, Reservoir
from tracewrap.records import Call, TokenUsage
from tracewrap.runtime.quiet.usable import Row


def _calls(count: int = 60) -> list[Call]:
    """Streamed calls of a deployment; half a prompt token in ten is cached, which changes nothing."""
    dice, out = np.random.default_rng(0), []
    for i in range(count):
        p, o = int(dice.integers(100, 2000)), int(dice.integers(2, 300))
        first = 0.1 + 0.0002 * p
        usage = TokenUsage(input_tokens=p, output_tokens=o, cached_input_tokens=p // 20)
        raw = (first + 0.01 * (o - 1)) * (1 + dice.exponential(0.1))
        call = Call(
            trace_id="t", span_id="s", start_time_ns=i * 10**9, provider="openai", operation="chat", usage=usage
        )
        out.append(
            dataclasses.replace(call, request_model="m", stream=True, raw_runtime_s=raw, time_to_first_chunk_s=first)
        )
    return out


def _learned(calls: list[Call]) -> dict[str, Any]:
    denoiser = Denoiser(seed=0)
    for call in calls:
        denoiser.observe(call)
    denoiser.refit()
    return {key: profile.to_dict() for key, profile in denoiser.snapshot().items()}


def test_enough_calls_make_a_profile() -> None:
    """The calls below teach when nothing is wrong with them: what the next test changes is what it tests."""
    assert len(_learned(_calls())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "error"},
        {"outcome": "partial"},
        {"operation": "embeddings"},
        {"usage": None},
        {"usage": {"source": "estimated"}},
        {"raw_runtime_s": None},
    ],
    ids=str,
)
def test_calls_that_teach_nothing(change: dict[str, Any]) -> None:
    """Sixty failed, cut, embedding or uncounted calls make no profile."""
    changed = []
    for call in _calls():
        usage = change.get("usage", call.usage)
        if isinstance(usage, dict):
            assert call.usage is not None
            usage = call.usage._replace(**usage)
        changed.append(dataclasses.replace(call, **(change | {"usage": usage})))
    assert _learned(changed) == {}


def test_of_a_retried_call_the_last_attempt_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time lost to retries is taken off what is learned: off the runtime, and off the first chunk."""
    rows: list[Any] = []
    monkeypatch.setattr(Reservoir, "add", lambda self, row, dice: rows.append(row))
    (call,) = _calls(1)
    assert call.raw_runtime_s is not None
    assert call.time_to_first_chunk_s is not None
    retried = dataclasses.replace(
        call,
        retry_s=5.0,
        raw_runtime_s=call.raw_runtime_s + 5.0,
        time_to_first_chunk_s=call.time_to_first_chunk_s + 5.0,
    )
    for one in (call, retried):
        learner = Denoiser()
        learner.observe(one)
        learner._put_away()
    plain, after = rows
    assert after == pytest.approx(plain)
    assert after[3:5] == pytest.approx((call.raw_runtime_s, call.time_to_first_chunk_s))


def test_the_crowded_hour_makes_room() -> None:
    """A full reservoir gives the place of a call from the hour that holds the most, not of one from a quieter hour."""

    reservoir = Reservoir("m")
    for i in range(MAX_CALLS):
        reservoir.add(Row(0.0 if i < 100 else 3600.0, 100, 10, 0.2), random.Random(0))
    reservoir.add(Row(7200.0, 100, 10, 0.2), random.Random(0))
    assert Counter(row.start_time_s for row in reservoir.rows()) == {0.0: 100, 3600.0: MAX_CALLS - 101, 7200.0: 1}
