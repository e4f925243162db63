"""Denoised profiles of many deployments at once: on every core, within a time, the first of them first.

A fit holds the interpreter, so the other cores are other processes: each a fresh interpreter, never a fork of this one (threads and locks
of an engine would go with it) and none that runs the caller's main module again. It gets calls by a pipe and gives back what they tell.
One that cannot be started, or that dies, costs time and nothing else: its deployments are learned here.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tracewrap import systems
from tracewrap.runtime.quiet.usable import Row

if TYPE_CHECKING:
    from tracewrap.runtime.quiet.dated import Level

logger = logging.getLogger("tracewrap")

MOST_PROCESSES = 8
WORTH = 25
"""Deployments for each process more: as many are fitted in twice the time that its start takes."""
_PROTOCOL = 5


class Pupil(NamedTuple):
    """A deployment to learn: its key, its model, the calls."""

    key: str
    model: str
    rows: Sequence[Row]


Learned = dict[str, "list[Level] | None"]
"""By deployment key: levels, the oldest first; None where fitting failed, which is logged. Those there was no time for are missing."""


def learn_many(
    pupils: Sequence[Pupil],
    within_s: float | None = None,
    processes: int | None = None,
    told: Callable[[int], None] | None = None,
) -> Learned:
    """What the calls of *pupils* tell, as ``dated.denoise_levels`` does; after *within_s* seconds no other one is begun.

    *processes*: at most as many, this one included; None: one a core. *told* hears how many are done. Raises ImportError without numpy
    and scipy, if there is anything to learn.
    """
    if not pupils:
        return {}
    from tracewrap.runtime.quiet.dated import denoise_levels  # noqa: F401 - fails here rather than once a deployment

    work = _Work(pupils, within_s)
    wanted = min(processes or systems.cores(), MOST_PROCESSES, len(pupils) // WORTH + 1)
    threads = [threading.Thread(target=_beside, args=(work,), daemon=True) for _ in range(wanted - 1)]
    for thread in threads:
        thread.start()
    work.all_of_it(_levels, told)
    for thread in threads:
        thread.join()
    work.all_of_it(_levels, told)  # what a process that died has left
    return work.done


class _Work:
    """What waits, what is done, and until when something is begun. Its users are threads; each step is one step of a deque."""

    def __init__(self, pupils: Sequence[Pupil], within_s: float | None) -> None:
        self._waiting = deque(pupils)
        self._until = math.inf if within_s is None else time.monotonic() + within_s
        self.done: Learned = {}

    def all_of_it(
        self, teach: Callable[[Pupil], list[Level] | None], told: Callable[[int], None] | None = None
    ) -> None:
        """Have *teach* do what is left. What it raises goes to the caller, and its deployment waits for another."""
        while time.monotonic() < self._until:
            try:
                pupil = self._waiting.popleft()
            except IndexError:
                return
            try:
                self.done[pupil.key] = teach(pupil)
            except BaseException:
                self._waiting.appendleft(pupil)
                raise
            if told is not None:
                told(len(self.done))


def _levels(pupil: Pupil) -> list[Level] | None:
    from tracewrap.runtime.quiet.dated import denoise_levels
    from tracewrap.runtime.quiet.usable import Observation

    try:
        return denoise_levels(map(Observation.of_row, pupil.rows), id=pupil.key, model=pupil.model)
    except Exception:
        logger.warning("no denoised profile could be learned of %s", pupil.key[:200], exc_info=True)
        return None


def _beside(work: _Work) -> None:
    """Have a process of its own do some of *work*; ends when nothing waits, or with that process."""
    try:
        process = _started()
    except (OSError, ValueError):
        return

    def teach(pupil: Pupil) -> list[Level] | None:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(pupil, process.stdin, _PROTOCOL)
        process.stdin.flush()
        levels: list[Level] | None = pickle.load(process.stdout)
        return levels

    try:
        work.all_of_it(teach)
    except (OSError, EOFError, pickle.UnpicklingError):
        logger.info("a process that learns denoised profiles has ended early")
    finally:
        process.kill()
        process.communicate()


def _started() -> subprocess.Popen[bytes]:
    """A process that does as ``serve`` says. Raises OSError where there is no interpreter to start."""
    if getattr(sys, "frozen", False) or not sys.executable:
        raise OSError("the program is no interpreter")
    code = f"import sys; sys.path[:] = {sys.path!r}; from tracewrap.learn.many import serve; serve()"
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def serve() -> None:
    """Learn each deployment that comes by standard input, until it ends; answers go to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both; the other one ends this one
    tell, sys.stdout = sys.stdout.buffer, sys.stderr
    with contextlib.suppress(EOFError, OSError):
        while True:
            pupil: Pupil = pickle.load(sys.stdin.buffer)
            pickle.dump(_levels(pupil), tell, _PROTOCOL)
            tell.flush()
