"""A line of progress on a terminal's standard error, for reading that takes more than two seconds."""

from __future__ import annotations

import sys
import threading
import time

QUIET_S = 2.0
_EVERY_S = 0.2


class Progress:
    """One line that replaces itself; as a context it wipes the line in the end.

    Nothing where standard error is no terminal, and nothing on another thread than the main one, beside which a view has the terminal.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and threading.current_thread() is threading.main_thread()
        self._due = time.monotonic() + QUIET_S
        self._width = 0

    def show(self, text: str) -> None:
        """Show *text* in place of what was shown, at most five times a second."""
        now = time.monotonic()
        if not self._terminal or now < self._due:
            return
        self._due = now + _EVERY_S
        self._write(text)

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._width}}")
        sys.stderr.flush()
        self._width = len(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._write("")
            sys.stderr.write("\r")
            sys.stderr.flush()
