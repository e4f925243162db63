"""Forks and our background threads: a fork waits until none of them imports or holds a lock that the child would inherit locked.

A child forked while a thread imports inherits the locks of half-imported modules and waits for ever when it imports them itself. So
whatever runs in a thread of ours and may import does so inside ``undisturbed()``; a fork waits for the block's end.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType

from tracewrap import systems

MAX_WAIT_S = 30.0
"""A fork never waits longer than this for a thread of ours, in seconds."""


class _Gate:
    """Which threads are inside ``undisturbed()``, and the condition that a fork waits on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside: dict[int, int] = {}


_gate = _Gate()
Method = weakref.WeakMethod[Callable[[], None]]
_hooks: dict[str, list[Method]] = {"before": [], "parent": [], "child": []}


class undisturbed:
    """While the block runs, this process is not forked by another thread. Keep it short: a fork waits for it."""

    def __enter__(self) -> None:
        """Wait for a fork under way, then keep others away."""
        self._gate, self._me = _gate, threading.get_ident()
        with self._gate.changed:
            self._gate.inside[self._me] = self._gate.inside.get(self._me, 0) + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let forks go on."""
        with self._gate.changed:
            left = self._gate.inside.get(self._me, 1) - 1
            if left:
                self._gate.inside[self._me] = left
            else:
                self._gate.inside.pop(self._me, None)
                self._gate.changed.notify_all()


def in_child(method: Callable[[], None]) -> None:
    """Call the bound *method* in every forked child, for as long as its object lives; it must start no thread and take no lock."""
    _add("child", method)


def around(before: Callable[[], None], parent: Callable[[], None], child: Callable[[], None]) -> None:
    """Call these bound methods right before each fork, after it in the parent, and in the child; as ``in_child``."""
    _add("before", before)
    _add("parent", parent)
    _add("child", child)


def _add(when: str, method: Callable[[], None]) -> None:
    _hooks[when] = [known for known in _hooks[when] if known() is not None]
    _hooks[when].append(weakref.WeakMethod(method))


def _call(when: str) -> None:
    for known in _hooks[when]:
        method = known()
        if method is not None:
            method()


def _before() -> None:
    gate, me = _gate, threading.get_ident()
    gate.changed.acquire()
    until = time.monotonic() + MAX_WAIT_S
    while any(thread != me for thread in gate.inside) and (left := until - time.monotonic()) > 0:
        gate.changed.wait(left)
    _call("before")


def _after_in_parent() -> None:
    _call("parent")
    _gate.changed.release()


def _after_in_child() -> None:
    global _gate
    _gate = _Gate()
    _call("child")


systems.at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
