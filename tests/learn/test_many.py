"""Many deployments are learned on all cores and within a time; the processes change nothing of what is learned."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from tracewrap import systems
from tracewrap.learn import many
from tracewrap.learn.many import Pupil, learn_many
from tracewrap.runtime.quiet.dated import Level
from tracewrap.runtime.quiet.usable import Row


def pupils(count: int) -> list[Pupil]:
    """*count* deployments of thirty calls each."""
    dice = random.Random(1)

    def row(i: int, speed: float) -> Row:
        p, o = dice.choice((50, 400, 3000)), dice.choice((5, 50, 200))
        return Row(1.79e9 + 600 * i, p, o, speed * (0.2 + 2e-4 * p + 0.01 * o) * dice.choice((1.0, 1.0, 1.6)))

    return [Pupil(f"d{n}", "m", [row(i, 1 + n / 10) for i in range(30)]) for n in range(count)]


def summary(learned: dict[str, list[Level] | None]) -> dict[str, Any]:
    """What was learned, as plain values."""
    return {key: levels and [level.result.profile for level in levels] for key, levels in learned.items()}


def test_processes_learn_what_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes: every deployment once, with the very same profiles; a few deployments are not worth a process."""
    monkeypatch.setattr(many, "WORTH", 4)
    started: list[Any] = []
    start = many._started
    monkeypatch.setattr(many, "_started", lambda: started.append(start()) or started[-1])
    some, told = pupils(12), []
    assert summary(learn_many(some, processes=2, told=told.append)) == summary(learn_many(some, processes=1))
    assert len(started) == 1
    assert started[0].poll() is not None
    assert told == sorted(told)
    learn_many(some[:2], processes=2)
    assert len(started) == 1


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit",
        "import sys; sys.stdin.buffer.read(200)",
        "import sys; sys.stdout.buffer.write(b'nonsense' * 99)",
    ],
    ids=["ends at once", "dies at work", "answers nonsense"],
)
def test_a_process_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """What it had taken on is learned all the same, by this process."""
    monkeypatch.setattr(many, "WORTH", 2)
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    monkeypatch.setattr(many, "_started", lambda: subprocess.Popen(command, **pipes))
    learned = learn_many(pupils(4), processes=2)
    assert set(learned) == {"d0", "d1", "d2", "d3"}
    assert None not in learned.values()


def test_no_interpreter_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen program starts no copy of itself."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(many, "WORTH", 1)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert len(learn_many(pupils(3), processes=3)) == 3


def test_time_that_is_over_begins_nothing() -> None:
    """No second: no deployment. All the time: all of them."""
    assert learn_many(pupils(3), within_s=0.0) == {}
    assert len(learn_many(pupils(3), within_s=1e6)) == 3


def test_one_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A deployment whose fit raises is None, and said in the log; the other one is learned."""
    bad = Pupil("bad", "m", [(1.0,)] * 30)  # type: ignore[list-item]
    learned = learn_many([bad, *pupils(1)])
    assert learned["bad"] is None
    assert learned["d0"]
    assert "could be learned of bad" in caplog.text


def test_there_is_a_core() -> None:
    """Cores this process may use: at least one, known or not."""
    assert systems.cores() >= 1
