"""The background learner: never raising, immutable snapshots, shared through a folder, safe to fork."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tracewrap import semconv
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.learn.learner import MAX_KEY, MOST_WAITING, Denoiser
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
    with pytest.raises(TypeError):
        after["x"] = after[key]  # type: ignore[index]


def _changed(call: Call, **change: object) -> Call:
    return Call(**({name: getattr(call, name) for name in call.__slots__} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"outcome": "error"},
        {"operation": "embeddings"},
        {"usage": TokenUsage(input_tokens=100, output_tokens=10, source="estimated")},
        {"usage": None},
        {"usage": TokenUsage(input_tokens=100, output_tokens=0)},
        {"consumer_s": 4.0},
    ],
)
@pytest.mark.parametrize("by_attributes", [False, True])
def test_only_usable_calls_teach(change: dict[str, object], by_attributes: bool) -> None:
    """Forty complete calls make a profile; forty failed, uncounted, embedding or consumer-held ones make none, however they come."""
    denoiser = Denoiser(seed=0)
    for i in range(40):
        call = _changed(_call(100 + 50 * i, 10 + i, 1.0 + 0.01 * i, start=i * 10**9), **change)
        if by_attributes:
            attributes = semconv.call_attributes(call)
            denoiser.observe_attributes(attributes, call.start_time_ns)
        else:
            denoiser.observe(call)
    denoiser.refit()
    assert bool(denoiser.snapshot()) is (change == {})


def test_both_ways_in_are_one() -> None:
    """A call by its record and by its attributes leaves the same key and numbers: tier, speed, region, cache, retries, first chunk."""
    usage = TokenUsage(input_tokens=900, output_tokens=40, cached_input_tokens=600)
    call = _changed(
        _call(1, 1, 3.0, start=7 * 10**9),
        usage=usage,
        service_tier="flex",
        speed="fast",
        region="us",
        attempts=2,
        retry_s=0.5,
        time_to_first_chunk_s=1.25,
        stream=True,
        server_address="api.example.com",
        server_port=443,
    )
    one, other = Denoiser(), Denoiser()
    one.observe(call)
    other.observe_attributes(semconv.call_attributes(call), call.start_time_ns)
    for learner in (one, other):
        learner._put_away()
    held = [[(key, list(found.rows())) for key, found in learner._reservoirs.items()] for learner in (one, other)]
    assert held[0] == held[1]
    ((key, (row,)),) = held[0]
    assert key == "openai|api.example.com:443|m|chat|stream|flex|speed=fast|region=us"
    assert row == (7.0, 900, 40, 2.5, 0.75, 600)


@pytest.mark.parametrize("count", [float("nan"), -5, 1e308, float("inf"), 10**400, True, "12", None])
def test_impossible_counts_do_no_harm(count: object, tmp_path: Path) -> None:
    """A deployment whose server reports nonsense neither stops the learning of another nor its saving."""
    denoiser = Denoiser(seed=0)
    good = _feed(denoiser, 100)
    for i in range(30):
        denoiser.observe(_call(count, 5, 1.0, start=i, model="evil"))  # type: ignore[arg-type]
        denoiser.observe(_call(5, count, 1.0, start=i, model="evil"))  # type: ignore[arg-type]
    denoiser.refit()
    denoiser.save(tmp_path)
    assert good in denoiser.snapshot()
    assert len(list(tmp_path.glob(".denoiser-*.json"))) == 1


def test_one_that_cannot_be_fitted_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The fit of one deployment raises: the other has its profile, and one line says which failed, once."""
    from tracewrap.runtime.quiet import dated

    whole = dated.denoise_levels

    def broken(seen: object, *, id: str, model: str) -> object:
        if model == "bad":
            raise ZeroDivisionError
        return whole(seen, id=id, model=model)  # type: ignore[arg-type]

    monkeypatch.setattr(dated, "denoise_levels", broken)
    denoiser = Denoiser(seed=0)
    for turn in range(2):
        for i in range(40):
            denoiser.observe(_call(100 + i, 10, 1.0, start=i, model="bad"))
        key = _feed(denoiser, 60, seed=turn)
        with caplog.at_level(logging.WARNING, "tracewrap"):
            denoiser.refit()
    assert list(denoiser.snapshot()) == [key]
    assert len([line for line in caplog.messages if "|bad|" in line]) == 1


def test_endless_names_are_no_deployments() -> None:
    """A model name beyond ``MAX_KEY`` characters is counted as dropped, not kept."""
    denoiser = Denoiser()
    denoiser.observe(_call(10, 10, 1.0, model="m" * MAX_KEY))
    denoiser.refit()
    assert denoiser.dropped == 1
    assert not denoiser._reservoirs


def test_an_old_profile_becomes_stale() -> None:
    """Calls of 1970: the next refit with no newer calls publishes the profile again, with the verdict stale, once."""
    denoiser = Denoiser(seed=0)
    key = _feed(denoiser, 100)
    denoiser.refit()
    assert denoiser.snapshot()[key].verdict != "stale"
    denoiser.refit()
    stale = denoiser.snapshot()
    assert stale[key].verdict == "stale"
    denoiser.refit()
    assert denoiser.snapshot() is stale


def test_calls_set_aside_are_bounded_and_none_is_lost() -> None:
    """With no thread to put them away, never more than ``MOST_WAITING`` wait; a refit takes in the rest, each once."""
    denoiser, count = Denoiser(seed=0), 2 * MOST_WAITING + 300
    for i in range(count):
        denoiser.observe(_call(100 + i % 900, 10, 1.0, start=i))
        assert len(denoiser._waiting) < MOST_WAITING
    assert sum(one.seen for one in denoiser._reservoirs.values()) == 2 * MOST_WAITING
    denoiser.refit()
    assert sum(one.seen for one in denoiser._reservoirs.values()) == count
    assert not denoiser._waiting


def test_a_crowd_is_put_away_before_the_next_refit() -> None:
    """The background thread, asleep for an hour, empties what many calls have filled, and still stops at once."""
    denoiser = Denoiser(interval_s=3600.0, seed=0)
    denoiser.start()
    for i in range(MOST_WAITING):
        denoiser.observe(_call(100 + i, 10, 1.0, start=i))
    for _ in range(500):
        if not denoiser._waiting:
            break
        time.sleep(0.01)
    assert [one.seen for one in denoiser._reservoirs.values()] == [MOST_WAITING]
    thread = denoiser._thread
    denoiser.stop()
    assert thread is not None
    assert not thread.is_alive()


def test_what_one_process_learned_another_takes_up(tmp_path: Path) -> None:
    """Saved observations of other processes are loaded, also of one with the same process id, as in containers."""
    first = Denoiser(seed=0)
    key = _feed(first, 300)
    first.save(tmp_path)
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


def test_drift_keeps_the_profile_before_it(tmp_path: Path) -> None:
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
    other = Denoiser()
    other.load(tmp_path)
    other.refit()
    assert other.earlier()[key] == (old,)
    assert other.snapshot()[key].runtime(500, 100) == pytest.approx(2 * 1.19, rel=0.06)


def test_siblings_share_while_they_run(tmp_path: Path) -> None:
    """A process with a folder leaves its observations there, and takes up what another leaves later."""
    sibling = Denoiser(seed=0)
    key = _feed(sibling, 300)
    denoiser = Denoiser(interval_s=0.005, folder=tmp_path)
    sibling.save(tmp_path)
    denoiser.start()
    try:
        for _ in range(1000):
            if key in denoiser.snapshot():
                break
            denoiser._wake.wait(0.02)
        assert key in denoiser.snapshot()
    finally:
        denoiser.stop()


def test_a_forked_child_starts_its_thread_with_its_first_call() -> None:
    """Not in the fork hook: under gevent a thread made there would run the program's other greenlets in the child."""
    learner = Denoiser(interval_s=3600.0)
    learner.start()
    learner.stop()  # the parent's thread, which a child does not have
    learner._stopped = False
    learner._after_fork()
    assert learner._thread is None
    learner.observe(_call(100, 10, 1.0))
    assert learner._thread is not None
    learner.stop()


def test_stopping_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit under way at the end of the program is left behind when the time is up."""
    begun, released = threading.Event(), threading.Event()

    def refit(_: Denoiser) -> None:
        begun.set()
        released.wait(30)

    monkeypatch.setattr(Denoiser, "refit", refit)
    learner = Denoiser(interval_s=0.01)
    learner.start()
    assert begun.wait(10)
    began = time.monotonic()
    learner.stop(0.1)
    assert time.monotonic() - began < 10
    released.set()
