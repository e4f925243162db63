"""Was the program itself late? Two watches that run only while calls are in flight.

A blocked event loop and a starved thread look like a slow server to the call that waits: the answer lies in the socket, and nobody comes
to fetch it. ``LoopWatch`` is a timer on the loop of the call, ``ThreadWatch`` a thread that sleeps; how much later than asked
either is woken is time in which no answer could be fetched. ``TrioWatch`` is told by trio how long its tasks ran. All keep the last
such times as ``Blocks``; what they mean for one call is worked out when it is finished: a block delays a wait only if the wait ended
with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

from tracewrap import systems
from tracewrap.capture.clock import perf_counter

INTERVAL_S = 0.04
"""A watch looks twenty-five times a second: both watches together take less than half a hundredth of a core."""
LATE_S = 0.004
"""Woken later than this is a block; below it is what any scheduler does."""
_TOUCH_S = 0.004
"""A wait that ends this soon after a block ended with it."""
_KEPT = 512
_TRIES = 3
_LINGER = 25
"""Looks without a call in flight after which a watch rests: waking one costs more than a few looks."""


class Blocks:
    """The last times in which this loop, or this process, could not run: (start, end), ``perf_counter`` readings in order."""

    __slots__ = ("due", "every_s", "spans")

    def __init__(self, every_s: float = INTERVAL_S) -> None:
        self.every_s = every_s
        """How often the watch looks: 0 where it is told of all that runs."""
        self.spans: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self.due = float("inf")
        """When the watch should look next; a time after it is a block that has not ended."""

    def woken(self, now: float) -> None:
        """The watch looks, at *now*."""
        if now - self.due > LATE_S:
            self.spans.append((self.due, now))

    def touch(self, start: float, end: float) -> bool:
        """Whether there may be a block between *start* and *end*: what most calls ask, and need ask no more."""
        spans = self.spans
        return end - self.due > LATE_S or bool(spans and spans[-1][1] > start)

    def within(self, start: float, end: float) -> Seen:
        """The parts of blocks that lie between *start* and *end*."""
        for _ in range(_TRIES):
            try:
                return Seen(self._within(start, end), self.every_s)
            except (
                RuntimeError
            ):  # the watch has added one meanwhile; copying them first takes long where there are many
                continue
        return Seen(self._within(start, end), self.every_s)

    def _within(self, start: float, end: float) -> list[tuple[float, float]]:
        found = []
        if end - self.due > LATE_S and end > start:
            found.append((max(self.due, start), end))
        for began, ended in reversed(self.spans):
            if ended <= start:
                break
            if began < end:
                found.append((max(began, start), min(ended, end)))
        return found


class Seen:
    """Blocks of one attempt, newest first: what they mean for a part of it."""

    __slots__ = ("every_s", "spans")

    def __init__(self, spans: list[tuple[float, float]], every_s: float) -> None:
        self.spans = spans
        self.every_s = every_s

    def total(self, start: float, end: float) -> float:
        """Seconds between *start* and *end* in which nothing could run.

        Between two looks that were both late the watch slept and saw nothing: that time counts as blocked too.
        """
        seconds, later = 0.0, None
        for began, ended in self.spans:
            if began < start:
                began = start
            if ended > end:
                ended = end
            if ended <= began:
                continue
            seconds += ended - began
            if later is not None and later - ended <= 1.1 * self.every_s:
                seconds += later - ended
            later = began
        return seconds

    def cost(self, start: float, end: float) -> float:
        """Seconds that blocks can have cost a wait: all of them where it was blocked for most of its time, else the one it ended with."""
        blocked_s = self.total(start, end)
        if not blocked_s:
            return 0.0
        return blocked_s if 2.0 * blocked_s > end - start else self.delay(start, end)

    def delay(self, start: float, end: float) -> float:
        """Seconds by which a wait from *start* to *end* can have ended late: the length of the block that it ended with, else 0."""
        for began, ended in self.spans:
            if began < end and ended > start:
                return min(ended, end) - max(began, start) if end - min(ended, end) <= _TOUCH_S else 0.0
        return 0.0


class LoopWatch:
    """A timer on one asyncio loop while calls are in flight on it."""

    __slots__ = ("__weakref__", "_context", "_idle", "blocks", "calls", "loop", "timer")

    def __init__(self, loop: weakref.ref[asyncio.AbstractEventLoop]) -> None:
        self.loop = loop
        self.timer: Any = None
        self._context = contextvars.Context()
        """Empty: a timer would keep alive what the program's context holds, the call that started it among it."""
        self._idle = 0
        self.blocks = Blocks()
        self.calls: set[int] = set()
        """Ids of those in flight."""

    def start(self) -> None:
        """Look from now on; the timer ends soon after the last call."""
        self._next(perf_counter())

    def has_queue(self) -> bool:
        """Whether work waits for a thread of the loop's default executor, all of which are at work."""
        executor: Any = getattr(self.loop(), "_default_executor", None)
        try:
            return bool(len(executor._threads) >= executor._max_workers and executor._work_queue.qsize() > 0)
        except AttributeError:  # none yet, or one of the program's own kind
            return False

    def _next(self, now: float) -> None:
        loop = self.loop()
        if loop is None or loop.is_closed():
            return

        def look() -> None:
            try:
                self._look()
            except Exception:  # nothing of ours may reach the loop's exception handler
                self.timer, self.blocks.due = None, float("inf")

        self.timer = loop.call_later(INTERVAL_S, look, context=self._context)
        self.blocks.due = now + INTERVAL_S

    def _look(self) -> None:
        now = perf_counter()
        self.blocks.woken(now)
        self.blocks.due, self.timer = float("inf"), None
        self._idle = 0 if self.calls else self._idle + 1
        if self._idle < _LINGER:
            self._next(now)


class TrioWatch:
    """An instrument of one run of trio while calls are in flight in it: what runs between two waits for the network holds all up."""

    __slots__ = ("__weakref__", "_idle", "_looking", "blocks", "calls")

    def __init__(self) -> None:
        self._idle, self._looking = 0, False
        self.blocks = Blocks(every_s=0.0)
        self.calls: set[int] = set()

    def enter(self, call: object) -> None:
        """*call* is in flight, in a task of this run."""
        self.calls.add(id(call))
        if not self._looking:  # it is taken off soon after the last call
            self.blocks.due = perf_counter()
            sys.modules["trio"].lowlevel.add_instrument(self)
            self._looking = True

    def has_queue(self) -> bool:
        """Whether work waits for one of the threads that trio allows itself by default."""
        limiter = sys.modules["trio"].to_thread.current_default_thread_limiter()
        return bool(limiter.statistics().tasks_waiting)

    def before_io_wait(self, timeout: float) -> None:
        """Whatever was ready has run."""
        self.blocks.woken(perf_counter())
        self.blocks.due = float("inf")
        self._idle = 0 if self.calls else self._idle + 1
        if self._idle > _LINGER:
            self._looking = False
            with suppress(KeyError):
                sys.modules["trio"].lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        """What is ready now will run."""
        self.blocks.due = perf_counter()


class ThreadWatch:
    """A thread that sleeps and looks at the clock while calls are in flight in this process; parked, it costs nothing."""

    __slots__ = ("_looking", "_thread", "_wake", "blocks", "calls")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As new: a forked child has no thread of ours and no calls of its parent's."""
        self.blocks = Blocks()
        self.calls: set[int] = set()
        self._wake = threading.Event()
        self._thread: systems.OwnThread | None = None
        self._looking = False
        """``_wake`` is set and the thread is there: what every call asks, and need ask no lock."""

    def enter(self, call: object) -> None:
        """*call* is in flight."""
        self.calls.add(id(call))
        if not self._looking:
            self._start()

    def _start(self) -> None:
        """Let the thread look, and make one where there is none."""
        if not self._wake.is_set():
            self.blocks.due = perf_counter() + INTERVAL_S  # a thread that does not come to run now is late already
        if self._thread is None:
            # Made now: threads may have become greenlets since (gevent), and an event from before would stop them all.
            wake = self._wake = threading.Event()

            def work() -> None:
                with suppress(Exception):
                    self._work(wake)
                if wake is self._wake:  # it failed: the next call starts another, and nothing counts as late until then
                    self._looking, self._thread, self.blocks.due = False, None, float("inf")
                    wake.clear()

            self._thread = systems.OwnThread("lag", work)
            try:
                self._thread.start()
            except RuntimeError:  # the system gives us no thread: nobody looks, so nothing may count as late
                self._thread, self.blocks.due = None, float("inf")
                return
        self._wake.set()
        self._looking = True

    def _work(self, wake: threading.Event) -> None:
        blocks, sleep, idle = self.blocks, time.sleep, 0
        while wake is self._wake:
            idle = 0 if self.calls else idle + 1
            if idle > _LINGER:
                idle = 0
                blocks.due = float("inf")
                self._looking = False
                wake.clear()
                if not self.calls:
                    wake.wait()
                    blocks.woken(perf_counter())
                continue
            blocks.due = perf_counter() + INTERVAL_S
            sleep(INTERVAL_S)
            blocks.woken(perf_counter())


THREADS = ThreadWatch()
_loops: dict[int, LoopWatch] = {}
_runs: weakref.WeakKeyDictionary[Any, TrioWatch] = weakref.WeakKeyDictionary()
"""By the token of the run."""
systems.at_fork(after_in_child=THREADS.reset)


def enter_loop(call: object) -> LoopWatch | TrioWatch | None:
    """*call* is in flight on the asyncio loop, or in the run of trio, that runs in this thread: its watch; None where none runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        run = _running_trio_watch()
        if run is not None:
            run.enter(call)
        return run
    watch = _loops.get(id(loop))
    if watch is None or watch.loop() is not loop:
        key = id(loop)
        watch = _loops[key] = LoopWatch(weakref.ref(loop, lambda _: _loops.pop(key, None)))
    watch.calls.add(id(call))
    if watch.timer is None:
        watch.start()
    return watch


def _running_trio_watch() -> TrioWatch | None:
    try:
        token = sys.modules["trio"].lowlevel.current_trio_token()
        return _runs.get(token) or _runs.setdefault(token, TrioWatch())
    except (AttributeError, KeyError, RuntimeError, TypeError):  # not imported, or not running here
        return None
