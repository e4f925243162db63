"""What operating systems have in different ways or not at all, looked up in one place: forks, locks, signals, keys, load, replacing files.

POSIX systems have all of it. Windows forks nothing, locks a byte of a file, reads keys from its console, refuses to replace a file that
somebody has open, and writes text where nobody asks for bytes. Where a system has neither way, the least that still is right is done.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

WRITE_BYTES = os.O_WRONLY | getattr(os, "O_BINARY", 0)
"""Flags of ``os.open`` to write bytes as they are; Windows would put a carriage return before every line's end."""
_REPLACE_S = 2.0
"""How long a reader may keep a file open that is to be replaced, in seconds."""


def at_fork(**hooks: Callable[[], None]) -> None:
    """``os.register_at_fork``; nothing where processes do not fork."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(**hooks)


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of the signals called *names* that the system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


@contextlib.contextmanager
def signals_elsewhere() -> Iterator[None]:
    """A thread that starts in this block is never given a signal that is sent to the process.

    A program that blocks a signal in its threads and waits for it (``sigwait``, ``sigtimedwait``, ``signalfd``) gets it only if no
    other thread takes it first. Faults stay: they are told where they happen.
    """
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        yield
        return
    before = mask(signal.SIG_BLOCK, ())
    try:  # either call may run a handler of the program's, which may raise
        mask(signal.SIG_BLOCK, signal.valid_signals() - set(_faults()))
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


class OwnThread:
    """A thread of ours that the program does not meet. It ends with the program, as a daemon does, and is given no signal.

    Programs wait for every thread but their own, or until one is left (``threading.enumerate``, ``active_count``): ours, which
    live as long as the program, are not among those.
    """

    running: ClassVar[set[OwnThread]] = set()
    """Those that work now."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self._work = work
        self._ident: int | None = None
        self._busy = _thread.allocate_lock()
        """Held while it works."""

    def start(self) -> None:
        """Begin. Raises RuntimeError where the system, or an interpreter that ends, gives no thread."""
        self._busy.acquire()
        begun = False
        try:
            with signals_elsewhere():
                _thread.start_new_thread(self._run, ())
                begun = True
        finally:
            if not begun:
                self._busy.release()

    def _run(self) -> None:
        if (tracer := threading.gettrace()) is not None:  # coverage, a debugger: they see what they saw
            sys.settrace(tracer)
        self._ident = threading.get_ident()
        self.running.add(self)
        try:
            self._work()
        finally:
            out_of_sight()
            self.running.discard(self)
            self._busy.release()

    def is_alive(self) -> bool:
        """Whether it works."""
        return self._busy.locked()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, so many seconds at most; in itself, not at all."""
        if self._ident != threading.get_ident() and self._busy.acquire(timeout=max(0.0, timeout_s)):
            self._busy.release()


at_fork(after_in_child=OwnThread.running.clear)


def out_of_sight() -> None:
    """In a thread of ours: be none of the program's again. ``logging``, for one, makes a stand-in for every thread that it meets."""
    active: dict[int, threading.Thread] = getattr(threading, "_active", {})
    if isinstance(active.get(threading.get_ident()), getattr(threading, "_DummyThread", ())):
        active.pop(threading.get_ident(), None)


def _faults() -> tuple[signal.Signals, ...]:
    return signals("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")


def load() -> float | None:
    """How many processes ran or waited for a core in the last minute, on average; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def cores() -> int:
    """How many cores this process may use; at least 1."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Put the file *source* in the place of *target*, at once. Waits for readers where the system refuses while they read.

    Raises OSError.
    """
    give_up = time.monotonic() + _REPLACE_S
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not hasattr(os, "O_BINARY") or time.monotonic() > give_up:  # elsewhere a refusal is one for good
                raise
            time.sleep(0.01)


def sync_folder(folder: Path) -> None:
    """Have the names in *folder* on disk. Raises OSError; where a folder cannot be opened its system sees to that itself."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Try to hold the lock file *path*; whether it is ours while the block runs. The system frees it when a process dies.

    Where a system cannot lock files, one that exists beside it stands for the lock; after a kill it is there until it is removed.
    """
    by_system = _fcntl_lock() or _msvcrt_lock()
    if by_system is None:
        with _lock_by_name(path.with_name(f"{path.name}.held")) as ours:
            yield ours
        return
    with open(path, "a+b") as file:
        try:
            by_system(file.fileno())
        except OSError:
            ours = False
        else:
            ours = True
        yield ours


def _fcntl_lock() -> Callable[[int], None] | None:
    module = _module("fcntl")
    return None if module is None else lambda handle: module.flock(handle, module.LOCK_EX | module.LOCK_NB)


def _msvcrt_lock() -> Callable[[int], None] | None:
    """Its locks are of bytes from where the file stands: always the first, which need not exist."""
    module = _module("msvcrt")
    if module is None:
        return None

    def take(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        module.locking(handle, module.LK_NBLCK, 1)

    return take


@contextlib.contextmanager
def _lock_by_name(path: Path) -> Iterator[bool]:
    try:
        os.close(os.open(path, WRITE_BYTES | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)


class Keys(Protocol):
    """Keys of the terminal, which come at once and unseen until ``restore``."""

    def pressed(self, timeout_s: float) -> bytes | None:
        """What was typed within *timeout_s*; empty: nothing yet; None: nothing will come any more."""

    def restore(self) -> None:
        """Leave the terminal as it was."""


def keys() -> Keys | None:
    """The keys of standard input; None where it is no terminal, or the system has no way to read them one by one."""
    if not sys.stdin.isatty():
        return None
    termios, console = _module("termios"), _module("msvcrt")
    if termios is not None:
        return _TerminalKeys(termios, sys.stdin.fileno())
    return None if console is None else _ConsoleKeys(console)


class _TerminalKeys:
    def __init__(self, termios: Any, handle: int) -> None:
        import tty

        self._handle = handle
        self.restore = functools.partial(termios.tcsetattr, handle, termios.TCSADRAIN, termios.tcgetattr(handle))
        tty.setcbreak(handle)

    def pressed(self, timeout_s: float) -> bytes | None:
        import select

        if not select.select([self._handle], [], [], timeout_s)[0]:
            return b""
        return os.read(self._handle, 1024) or None  # closed: it would be ready for ever


class _ConsoleKeys:
    def __init__(self, console: Any) -> None:
        self._console = console

    def pressed(self, timeout_s: float) -> bytes | None:
        until = time.monotonic() + timeout_s
        while not self._console.kbhit():
            if time.monotonic() >= until:
                return b""
            time.sleep(0.02)
        return bytes(self._console.getch())

    def restore(self) -> None:
        pass  # the console itself was not changed


def _module(name: str) -> Any:
    """The system's module called *name*; None where it has none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
