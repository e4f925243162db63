"""Wakeup: a signal with a handler in Python is never slept through.

The interpreter notes a signal and runs its handler on the main thread, at the next step of Python code. Where the signal arrives just
before the main thread goes to sleep in the operating system (a worker of a pool that waits for its next task), nothing wakes it, and the
process, which the default would have ended, lives on. The interpreter writes the signal's number to a file descriptor as well; a thread
reads it and, until the handler has begun, wakes the main thread by sending it the signal again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection

from tracewrap import forks, systems

_GRACE_S = 0.05
_TRIES = 200


class Wakeup:
    """*asleep* says of a signal that its handler is ours and has not begun. Used on the main thread, but for its own."""

    def __init__(self, asleep: Callable[[int], bool]) -> None:
        self._asleep = asleep
        self._descriptors: tuple[int, int, int, int] | None = None
        """Read end, write end, the interpreter's copy of the write end, and /dev/null."""

    def start(self, numbers: Collection[int]) -> None:
        """Watch *numbers*, unless the program uses the interpreter's descriptor itself, or its threads are greenlets."""
        if _green() or not hasattr(signal, "pthread_kill"):
            return
        before = signal.set_wakeup_fd(-1)
        if before != -1:
            signal.set_wakeup_fd(before)
            return
        read, write = os.pipe()
        os.set_blocking(write, False)
        installed, null = os.dup(write), os.open(os.devnull, os.O_WRONLY)
        self._descriptors = (read, write, installed, null)
        signal.set_wakeup_fd(installed, warn_on_full_buffer=False)
        forks.around(self._before, self._in_parent, self._in_child)
        main = threading.get_ident()  # only there can the descriptor be set
        systems.OwnThread("wakeup", functools.partial(self._watch, read, main, frozenset(numbers))).start()

    def stop(self) -> None:
        """Give the interpreter's descriptor back. The thread ends with the pipe."""
        found, self._descriptors = self._descriptors, None
        if found is None:
            return
        _, write, installed, null = found
        if (now := signal.set_wakeup_fd(-1)) != installed:
            signal.set_wakeup_fd(now)
        for descriptor in (write, installed, null):
            os.close(descriptor)

    # Between fork and the child's own code a signal to the child would be noted in its parent's pipe: meanwhile it goes nowhere.
    def _before(self) -> None:
        if self._descriptors is not None:
            os.dup2(self._descriptors[3], self._descriptors[2], inheritable=False)

    def _in_parent(self) -> None:
        if self._descriptors is not None:
            os.dup2(self._descriptors[1], self._descriptors[2], inheritable=False)

    def _in_child(self) -> None:
        if self._descriptors is not None:
            read = self._descriptors[0]
            self.stop()
            os.close(read)

    def _watch(self, read: int, main: int, numbers: frozenset[int]) -> None:
        with contextlib.suppress(OSError):
            while noted := os.read(read, 64):
                for number in numbers.intersection(noted):
                    self._wake(main, number)
        with contextlib.suppress(OSError):
            os.close(read)

    def _wake(self, main: int, number: int) -> None:
        for _ in range(_TRIES):
            time.sleep(_GRACE_S)
            if not self._asleep(number):
                return
            signal.pthread_kill(main, number)


def _green() -> bool:
    """Whether threads are greenlets here, so that one that reads a pipe would stop the program."""
    for name in ("gevent.monkey", "eventlet.patcher"):
        module = sys.modules.get(name)
        patched = getattr(module, "is_module_patched", None) or getattr(module, "is_monkey_patched", None)
        if patched is not None and (patched("threading") or patched("thread")):
            return True
    return False
