"""Worker: a bounded queue and the daemon thread that empties it in batches. One of records, and one for each exporter.

``put`` is on the caller's thread: it takes no lock, never blocks and never raises. The thread starts with the first item, in a forked child
with the child's first: a fork hook that starts threads would let a gevent program run on in the child.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty
from typing import Generic, TypeVar

from tracewrap import forks, systems

logger = logging.getLogger("tracewrap")
Item = TypeVar("Item")
_LONG_S = 1e6


class Worker(Generic[Item]):
    """*work* gets lists of up to *batch* items, one list at a time, *linger_s* seconds after the first was put or as soon as
    *hurry_at* wait.

    *refused* is told of every item that finds the queue full (*limit* items).
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[Item]], None],
        *,
        limit: int,
        batch: int,
        linger_s: float,
        refused: Callable[[int], None],
    ) -> None:
        self._name, self._work, self._refused = name, work, refused
        self._limit, self._batch, self._linger_s = limit, batch, linger_s
        self._hurry_at = max(1, min(limit // 2, 16 * batch))
        self._closed = False
        self._reset()
        forks.in_child(self._reset)

    def _reset(self) -> None:
        """A queue and locks as new; what waited before a fork is the parent's to deliver."""
        self._items: deque[Item] = deque()
        self._busy = threading.Lock()
        self._owner: int | None = None
        self._renew_waiting()
        self._thread: systems.OwnThread | None = None
        self._awake = False

    def _renew_waiting(self) -> None:
        """What is waited on, made when the thread starts: gevent may have made threads greenlets, whom a lock from before stops all."""
        if not self._busy.locked():
            self._busy = threading.Lock()
        # A bell that a signal handler may ring while the code it interrupted rings it; an Event would wait for itself then.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being worked on."""
        return not self._items and self._owner is None

    def put(self, item: Item) -> None:
        """Queue *item*; when the queue is full, drop it and say so to ``refused``."""
        waiting = len(self._items)
        if waiting >= self._limit:
            self._refused(1)
            return
        self._items.append(item)
        if self._closed:
            self.drain(time.monotonic() + self._linger_s)
        elif not self._awake:
            self._awake = True
            self.start()
            self._bell.put(None)
        elif waiting == self._hurry_at:
            self._bell.put(None)

    def start(self) -> None:
        """Start the thread, if it does not run yet."""
        if self._thread is not None:
            return
        self._renew_waiting()
        self._thread = systems.OwnThread(self._name, self._run)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down: what is put from now on is worked on at once
            self._thread, self._closed = None, True
            self.drain(time.monotonic() + self._linger_s)

    def drain(self, until: float) -> bool:
        """Work on what waits, on this thread, until the queue is empty or the monotonic clock says *until*; whether it is empty."""
        me = threading.get_ident()
        if self.here:
            return False  # a signal handler or a work function that puts and flushes: the work below goes on
        while self._items:
            if not self._busy.acquire(timeout=max(0.0, until - time.monotonic())):
                return False
            try:
                self._owner = me
                self._one_batch()
            finally:
                self._owner = None
                self._busy.release()
            if time.monotonic() >= until:
                break
        return self._settled(until)

    def _settled(self, until: float) -> bool:
        """Wait for a batch that another thread works on."""
        if self._busy.acquire(timeout=max(0.0, until - time.monotonic())):
            self._busy.release()
        return self.idle

    def wait(self, until: float) -> bool:
        """Have the thread empty the queue, or do it here where none runs, until the monotonic clock says *until*; whether it is empty."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return self.drain(until)
        self.hurry()
        while not self.idle and time.monotonic() < until:
            time.sleep(0.002)
        return self.idle

    def close(self) -> None:
        """No more lingering: what is put from now on is worked on at once, by who puts it."""
        self._closed = True
        self.hurry()

    def hurry(self) -> None:
        """Have the thread begin now."""
        self._bell.put(None)
        self._bell.put(None)

    @property
    def here(self) -> bool:
        """Whether this very thread is at work on a batch."""
        return self._owner == threading.get_ident()

    def take(self) -> list[Item]:
        """What still waits, given up by the queue."""
        left = []
        while self._items:
            left.append(self._items.popleft())
        return left

    def _one_batch(self) -> None:
        batch: list[Item] = []
        try:
            while len(batch) < self._batch:
                batch.append(self._items.popleft())
        except IndexError:
            pass
        if not batch:
            return
        try:
            self._work(batch)
        except Exception:
            self._refused(len(batch))
            logger.debug("tracewrap-%s failed", self._name, exc_info=True)

    def _run(self) -> None:
        bell = self._bell
        while True:
            bell.get()
            if not self._closed:
                with contextlib.suppress(Empty):
                    bell.get(timeout=self._linger_s)
            with contextlib.suppress(Empty):
                while True:
                    bell.get_nowait()
            self._awake = False
            self.drain(time.monotonic() + _LONG_S)
            systems.out_of_sight()
            if self._closed and not self._items:
                return
