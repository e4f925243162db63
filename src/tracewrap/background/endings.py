"""Every way in which a process ends: what is queued is delivered first, for at most the bound that was set.

Exit handlers cover the end of the program, ``sys.exit``, exceptions and Ctrl-C. Two ends run no exit handler: a signal that nobody
handles (SIGTERM, SIGHUP, SIGBREAK of Windows) and ``os._exit``, by which multiprocessing, job queues and pre-fork servers end their
children. The first is handled only where the program leaves the default, and the process then dies of the signal as it would have;
``os._exit`` is called through; so is ``signal.raise_signal``, by which servers end that took a signal and put back its default
(uvicorn), and so are ``os.execv`` and ``os.execve``, to which all of that family comes: what is queued is delivered, and nothing is
closed, for a program that cannot be executed leaves this one running. A program that handles the signal itself, before or later, keeps
its handler. A forked child has nothing to deliver until its first call: until then its signals have their default again.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from tracewrap import forks, systems
from tracewrap.background.wakeup import Wakeup

SIGNALS = systems.signals("SIGTERM", "SIGHUP", "SIGBREAK")


class Endings:
    """Calls *finish* before the process ends, wherever ``waiting()`` says that something would be lost.

    A signal that arrives while ``here()`` says that the interrupted thread is itself delivering is put off until that is done.
    """

    def __init__(
        self,
        finish: Callable[[], None],
        flush: Callable[[], object],
        waiting: Callable[[], bool],
        here: Callable[[], bool],
    ) -> None:
        self._deliver, self._flush, self._waiting, self._here = finish, flush, waiting, here
        self._execute: dict[str, tuple[Any, Any]] = {}
        self._finishing: int | None = None
        self._dying = False
        self._exit: Any = None
        self._raise: Any = None
        self._wakeup: Wakeup | None = None

    def install(self) -> None:
        """From now on, until ``remove``. Signals can be handled from the main thread only: elsewhere they stay as they are."""
        atexit.register(self._at_exit)
        self._exit = os._exit
        setattr(os, "_exit", self._exit_now)  # noqa: B010 - a plain assignment would be a type error
        for name in ("execv", "execve"):
            self._execute[name] = (getattr(os, name), self._flushed(getattr(os, name)))
            _replace(name, *self._execute[name])
        self._raise = signal.raise_signal
        setattr(signal, "raise_signal", self._raise_now)  # noqa: B010
        self.handle_signals()
        forks.in_child(self._in_child)

    def handle_signals(self) -> None:
        """Handle the signals that have their default."""
        if threading.current_thread() is not threading.main_thread():
            return
        default = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
        for number in default:
            signal.signal(number, self._die)
        if default and self._wakeup is None:
            self._wakeup = Wakeup(lambda number: not self._dying and signal.getsignal(number) == self._die)
            self._wakeup.start(SIGNALS)

    def remove(self) -> None:
        """Leave everything as it was, but what others have put in our place meanwhile."""
        atexit.unregister(self._at_exit)
        if getattr(os, "_exit") == self._exit_now:  # noqa: B009
            setattr(os, "_exit", self._exit)  # noqa: B010
        for name, (plain, ours) in self._execute.items():
            if getattr(os, name) is ours:
                _replace(name, ours, plain)
        if getattr(signal, "raise_signal") == self._raise_now:  # noqa: B009
            setattr(signal, "raise_signal", self._raise)  # noqa: B010
        if threading.current_thread() is threading.main_thread():
            self._default_signals()

    def _default_signals(self) -> None:
        for number in SIGNALS:
            if signal.getsignal(number) == self._die:
                signal.signal(number, signal.SIG_DFL)
        if self._wakeup is not None:
            self._wakeup.stop()
            self._wakeup = None

    def _in_child(self) -> None:
        self._finishing = None
        with contextlib.suppress(ValueError):  # not on the main thread of the interpreter
            self._default_signals()

    def _at_exit(self) -> None:
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
        self._finish()
        if interrupted:
            # The interpreter dies of SIGINT after an unhandled KeyboardInterrupt, unless source text ran since, as the making of
            # named tuples and dataclasses does. Source text that raises it again makes the interpreter remember.
            with contextlib.suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")

    def _finish(self) -> None:
        """Deliver, unless this thread is at it already."""
        me = threading.get_ident()
        if self._finishing == me:
            return
        self._finishing = me
        try:
            self._deliver()
        finally:
            self._finishing = None

    def _raise_now(self, number: int) -> None:
        """``signal.raise_signal``, after what is queued where the process will die of it."""
        try:
            if number in SIGNALS and signal.getsignal(number) is signal.SIG_DFL and self._waiting():
                self._finish()
        finally:
            self._raise(number)

    def _exit_now(self, status: int) -> None:
        """``os._exit``, after what is queued; in a child that made no call nothing is queued."""
        try:
            if self._waiting():
                self._finish()
        finally:
            self._exit(status)

    def _flushed(self, execute: Any) -> Any:
        """*execute* of ``os``, after what is queued; it may fail, so nothing is closed."""

        @functools.wraps(execute)
        def flush_and_execute(*args: Any, **named: Any) -> Any:
            with contextlib.suppress(Exception):
                if self._waiting() and not self._here():
                    self._flush()
            return execute(*args, **named)

        return flush_and_execute

    def _die(self, number: int, _: FrameType | None) -> None:
        """Deliver, then die of the signal as the program would have."""
        if self._finishing == threading.get_ident() or self._here():
            with contextlib.suppress(RuntimeError):  # the interpreter is ending already
                systems.OwnThread("signal", functools.partial(_again, number)).start()
            return
        self._dying = True
        signal.signal(number, signal.SIG_DFL)
        try:
            with contextlib.suppress(Exception):
                self._finish()
        finally:
            os.kill(os.getpid(), number)


def _replace(name: str, old: Any, new: Any) -> None:
    """Put *new* in ``os`` in place of *old*, and where the program looks up what the function can do."""
    setattr(os, name, new)
    if old in os.supports_fd:
        os.supports_fd.discard(old)
        os.supports_fd.add(new)


def _again(number: int) -> None:
    """Send this process the signal again, when what it interrupted has had time to end."""
    time.sleep(0.02)
    os.kill(os.getpid(), number)
