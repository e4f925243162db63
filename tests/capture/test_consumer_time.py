"""Whose time it was between two chunks, by a clock that is told what it says: the consumer's, or the server's that was still at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tracewrap.capture import streams
from tracewrap.capture.streams import Reader

BUSY = [(0.0, 0.3), (0.5, 0.003), (0.5, 0.0001)]
"""(seconds the consumer had control, seconds the read then took): a first chunk, and two holds of half a second."""


def read(monkeypatch: pytest.MonkeyPatch, passes: list[tuple[float, float]]) -> float:
    """The consumer's seconds after these holds and reads."""
    clock = [100.0]
    monkeypatch.setattr(streams, "perf_counter", lambda: clock[0])
    call: Any = SimpleNamespace(live=[], phases=None)
    reader = Reader(call, iter(()))
    for held, wait in passes:
        entered = reader.left + held
        clock[0] = entered + wait
        reader.count_consumer(entered, clock[0])
        reader.left = clock[0]
    return reader.consumer


@pytest.mark.parametrize(
    ("passes", "consumer_s"),
    [
        ([(0.0, 0.3), (0.5, 0.0001), (0.5, 0.0001)], 1.0),
        ([(0.0, 0.3), (0.5, 0.0001), (0.5, 0.06)], 0.0),
        (BUSY, 1.0),
        ([*BUSY, (0.0, 0.003), (0.0, 0.003)], 0.0),
        ([(0.0, 0.3), (0.004, 0.0015)], 0.0),
        ([(0.2, 0.3), (0.3, 0.0001)], 0.3),
    ],
    ids=[
        "all was there: it is the consumer's",
        "a read that waits long: the server was behind",
        "one read of a busy machine takes as long as a short wait",
        "several short waits: it has caught up",
        "a short hold, a short wait",
        "from the last wait on",
    ],
)
def test_whose_time(monkeypatch: pytest.MonkeyPatch, passes: list[tuple[float, float]], consumer_s: float) -> None:
    """Holds delay the end when no read after them shows that the server was behind."""
    assert read(monkeypatch, passes) == pytest.approx(consumer_s)
