"""The background learner: bounded, never raising, immutable snapshots, shared through a folder, safe to fork."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.learn.learner import MAX_CALLS, Denoiser, Reservoir
from tracewrap.records import Call, TokenUsage


def _call(p: int, o: int, seconds: float, start: int = 0, model: str = "m") -> Call:
    return Call(
        trace_id="t",
        span_id="s",
        start_time_ns=start,
        provider="openai",
        operation="chat",
        request_model=model,
        usage=TokenUsage(input_tokens=p, output_tokens=o),
        raw_runtime_s=seconds,
    )


def _feed(denoiser: Denoiser, count: int, seed: int = 0) -> str:
    dice = np.random.default_rng(seed)
    key = ""
    for i in range(count):
        p, o = int(dice.integers(10, 2000)), int(dice.integers(1, 300))
        call = _call(p, o, (0.1 + 0.0002 * p + 0.01 * (o - 1)) * (1 + dice.exponential(0.3)), start=i * 10**9)
        denoiser.observe(call)
        key = call.deployment.key
    return key


def test_learns_and_publishes_a_new_snapshot() -> None:
    """After a refit the deployment has a profile near the truth; the earlier snapshot is untouched."""
    denoiser = Denoiser(seed=0)
    key, before = _feed(denoiser, 500), denoiser.snapshot()
    assert len(before) == 0
    denoiser.refit()
    after = denoiser.snapshot()
    assert len(before) == 0
    assert after[key].runtime(500, 100) == pytest.approx(0.1 + 0.1 + 0.99, rel=0.08)
    denoiser.refit()
    assert denoiser.snapshot() is after, "no news, no new snapshot"
    with pytest.raises(TypeError):
        after["x"] = after[key]  # type: ignore[index]


def test_reservoir_is_bounded_and_keeps_the_spread() -> None:
    """A rare long prompt survives a flood of short ones; recent calls outweigh old ones."""
    reservoir, dice = Reservoir("m"), random.Random(0)
    for i in range(40):
        reservoir.add((float(i), 8000, 500, 9.0, None), dice)
    for i in range(5000):
        reservoir.add((100.0 + i, 100, 10, 0.2, None), dice)
    assert len(reservoir.rows) == MAX_CALLS
    assert sum(1 for row in reservoir.rows if row[1] == 8000) >= 5
    assert np.median([row[0] for row in reservoir.rows]) > 2600


def test_other_calls_are_ignored() -> None:
    """Failed calls, estimated usage and embeddings teach nothing."""
    denoiser = Denoiser()
    good = _call(10, 10, 1.0)
    estimated = TokenUsage(input_tokens=1, output_tokens=1, source="estimated")
    for change in ({"outcome": "error"}, {"operation": "embeddings"}, {"usage": estimated}, {"usage": None}):
        fields = {name: getattr(good, name) for name in good.__slots__} | change
        denoiser.observe(Call(**fields))  # type: ignore[arg-type]
    denoiser.refit()
    assert denoiser.snapshot() == {}


def test_what_one_process_learned_another_takes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved observations of other processes are loaded; a broken file is passed over."""
    first = Denoiser(seed=0)
    key = _feed(first, 300)
    first.save(tmp_path)
    (tmp_path / ".denoiser-broken.json").write_text("{")
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    second = Denoiser()
    second.load(tmp_path)
    second.refit()
    assert key in second.snapshot()


def test_live_spans_use_the_newest_snapshot() -> None:
    """The live join takes the learner's profiles without being told, and shows it every call."""
    denoiser = Denoiser(seed=0)
    join = LiveJoin(Catalog(), lambda: None, denoiser)
    key = _feed(denoiser, 300)
    call = _call(100, 20, 1.0)
    attributes = semconv.call_attributes(call)
    before = join.joined(dict(attributes), 0, lambda: call)
    denoiser.refit()
    after = join.joined(dict(attributes), 0, lambda: call)
    assert before is not None
    assert after is not None
    assert semconv.RUNTIME_DENOISED not in before
    assert after[semconv.PROFILE_DENOISED] == key


def test_background_thread_refits_and_stops() -> None:
    """Started with a short interval it publishes by itself; stopped it leaves no thread."""
    denoiser = Denoiser(interval_s=0.02, seed=0)
    key = _feed(denoiser, 200)
    denoiser.start()
    try:
        for _ in range(500):
            if key in denoiser.snapshot():
                break
            denoiser._wake.wait(0.02)
        assert key in denoiser.snapshot()
    finally:
        denoiser.stop()
    assert denoiser._thread is None


def test_forked_child_starts_empty_and_can_learn() -> None:
    """The child has its own lock and its own observations."""
    denoiser = Denoiser(seed=0)
    _feed(denoiser, 50)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = not denoiser._reservoirs
            _feed(denoiser, 100)
            denoiser.refit()
            code = 0 if fresh and denoiser.snapshot() else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_drift_keeps_the_profile_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten days at one level, three at twice it: the snapshot is of the new level alone; the old profile is kept, and shared."""
    denoiser, dice = Denoiser(seed=0), np.random.default_rng(1)
    key = ""
    for day in range(13):
        for i in range(26):
            p, o = int(dice.integers(10, 2000)), int(dice.integers(1, 300))
            seconds = (1 if day < 10 else 2) * (0.1 + 0.0002 * p + 0.01 * (o - 1)) * (1 + 0.02 * dice.random())
            call = _call(p, o, seconds, start=(day * 86_400 + i) * 10**9)
            denoiser.observe(call)
            key = call.deployment.key
    denoiser.refit()
    (old,) = denoiser.earlier()[key]
    assert old.runtime(500, 100) == pytest.approx(1.19, rel=0.06)
    assert denoiser.snapshot()[key].runtime(500, 100) == pytest.approx(2 * 1.19, rel=0.06)
    assert old.fit["until_unix_s"] < 10 * 86_400 <= denoiser.snapshot()[key].fit["since_unix_s"]
    denoiser.save(tmp_path)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    other = Denoiser()
    other.load(tmp_path)
    other.refit()
    assert other.earlier()[key] == (old,)
    assert other.snapshot()[key].runtime(500, 100) == pytest.approx(2 * 1.19, rel=0.06)


def test_siblings_share_while_they_run(tmp_path: Path) -> None:
    """A process with a folder leaves its observations there, and takes up what another leaves later; unchanged files are not read again."""
    sibling = Denoiser(seed=0)
    key = _feed(sibling, 300)
    denoiser = Denoiser(interval_s=0.005, folder=tmp_path)
    sibling.save(tmp_path)
    state = next(tmp_path.glob(".denoiser-*.json"))
    state.rename(tmp_path / ".denoiser-0.json")
    denoiser.start()
    try:
        for _ in range(1000):
            if key in denoiser.snapshot():
                break
            denoiser._wake.wait(0.02)
        assert key in denoiser.snapshot()
        first = denoiser.snapshot()
        for _ in range(20):
            denoiser._wake.wait(0.01)
        assert denoiser.snapshot() is first, "no news, no new snapshot"
    finally:
        denoiser.stop()
