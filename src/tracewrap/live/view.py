"""What the live view shows at a moment: a source, followed, and its frame."""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tracewrap.live.calls import Learned
from tracewrap.live.follow import Follower
from tracewrap.live.window import Window

SCHEMA = "tracewrap.top/1"
LEARN_EVERY_S = 300.0


class View:
    """A source, followed, and the frame of any moment."""

    def __init__(
        self, path: Path, window_s: float, group_by: str, sort: str, teach: Callable[[], Learned | None] | None = None
    ) -> None:
        self.path, self.group_by, self.sort = path, group_by, sort
        self._teach, self._taught_s, self._news = teach, -math.inf, False
        self._learned: Learned | None = None
        self._learning: threading.Thread | None = None
        self.follower = Follower(path)
        self.window = Window(window_s)
        self._lines: Iterator[bytes] | None = None

    def learn(self) -> None:
        """Learn from the source what a quiet day is; the calls of the window are read anew beside it."""
        self._taught_s = time.monotonic()
        found = self._teach() if self._teach is not None else None
        if found is not None:
            self._learned, self._news = found, True

    def learn_beside(self) -> None:
        """``learn``, in the background, where it was not done for ``LEARN_EVERY_S``."""
        if self._teach is not None and time.monotonic() - self._taught_s > LEARN_EVERY_S:
            self._taught_s = time.monotonic()
            self._learning = threading.Thread(target=self.learn, name="tracewrap-top-learning", daemon=True)
            self._learning.start()

    def learns(self) -> bool:
        """Whether ``learn_beside`` is at work."""
        return self._learning is not None and self._learning.is_alive()

    def read(self, limit_bytes: int | None = None) -> bool:
        """Take in what is new, about *limit_bytes* of it at most; True when there is more."""
        if self._news:
            self._news, self._lines = False, None
            self.follower, self.window = Follower(self.path), Window(self.window.window_s, learned=self._learned)
        if self._lines is None:
            now_ns = time.time_ns()
            self._lines = self.follower.new_lines(self.window.since_ns(now_ns), now_ns)
        taken = 0
        for line in self._lines:
            self.window.add(line, time.time_ns())
            taken += len(line)
            if limit_bytes is not None and taken >= limit_bytes:
                return True
        self._lines = None
        return False

    def frame(self) -> dict[str, Any]:
        """What is shown now, as JSON values; null: unknown."""
        now_ns, window, follower = time.time_ns(), self.window, self.follower
        if follower.skipped:
            window.first_ns = 0
        total, rows = window.rows(now_ns, self.group_by, self.sort)
        return {
            "schema": SCHEMA,
            "time": _moment(now_ns),
            "source": str(self.path),
            "group_by": self.group_by,
            "sort": self.sort,
            "window_s": window.window_s,
            "covered_s": window.covered_s(now_ns),
            "calls_cut": window.cut_ns > now_ns - window.window_s * 1e9,
            "last_call": _moment(window.last_ns) if window.last_ns else None,
            "last_call_age_s": (now_ns - window.last_ns) / 1e9 if window.last_ns else None,
            "calls_read": window.calls_read,
            "duplicates": window.duplicates,
            "torn_lines": window.torn_lines,
            "foreign_lines": window.foreign_lines,
            "unfinished_lines": follower.unfinished_lines,
            "files": len(follower.files),
            "files_cut": follower.cut_files(window.since_ns(now_ns)),
            "files_unreadable": {str(path): why for path, why in follower.unreadable.items()},
            "still_reading": self._lines is not None,
            "total": total,
            "rows": rows,
        }


def _moment(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 10**9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
