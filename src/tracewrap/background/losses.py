"""Losses: calls that did not reach a place, counted by place and reason, and told.

Told where they can be seen: a log line at most once a minute, a record in the span log once there is room
(``sinks.SpanLog.write_losses``), a metric, ``tracewrap doctor``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from tracewrap import forks

logger = logging.getLogger("tracewrap")

LOG_EVERY_S = 60.0
_HINTS = {
    "not_http": ": is that the gRPC port? OTLP over HTTP has 4318 as a rule, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
}
Key = tuple[str, str]
"""Place (span_log, otlp, ...) and reason (queue_full, no_space, http_503, ...)."""


class Losses:
    """Counts since the process began. ``told``: called with (place, reason, count) at each loss, for metrics."""

    def __init__(self) -> None:
        self.told: Callable[[str, str, int], None] | None = None
        self._reset()
        forks.in_child(self._reset)

    def _reset(self) -> None:
        self.total: Counter[Key] = Counter()
        self._unwritten: Counter[Key] = Counter()
        self._unlogged: Counter[Key] = Counter()
        self._since_ns = 0
        self._logged_s: float | None = None
        self._troubled_s: float | None = None
        self._lock = threading.RLock()

    def add(self, place: str, reason: str, count: int = 1) -> None:
        """*count* calls did not reach *place*."""
        key = (place, reason)
        with self._lock:
            for counter in (self.total, self._unwritten, self._unlogged):
                counter[key] += count
            self._since_ns = self._since_ns or time.time_ns()
        if self.told is not None:
            self.told(place, reason, count)

    def log(self, now: bool = False) -> None:
        """Say in one line what was lost since the last line, at most once a minute unless *now*."""
        clock = time.monotonic()
        if not self._unlogged or (not now and self._logged_s is not None and clock - self._logged_s < LOG_EVERY_S):
            return
        with self._lock:
            lost, self._unlogged, self._logged_s = self._unlogged, Counter(), clock
        what = "; ".join(f"{count} at {place} ({reason})" for (place, reason), count in sorted(lost.items()))
        logger.warning("tracewrap: calls not delivered: %s", what)

    def trouble(self, place: str, reason: str, waiting: int) -> None:
        """*place* takes no calls for now; said at most once a minute. Nothing is lost yet."""
        clock = time.monotonic()
        if self._troubled_s is not None and clock - self._troubled_s < LOG_EVERY_S:
            return
        self._troubled_s = clock
        hint = _HINTS.get(reason, "")
        logger.warning("tracewrap: %s takes no calls (%s%s); %d wait and are tried again", place, reason, hint, waiting)

    def unwritten(self) -> tuple[Counter[Key], int]:
        """What no record says yet, and the Unix time in nanoseconds of the first of it; it counts as written from now on."""
        with self._lock:
            lost, self._unwritten = self._unwritten, Counter()
            since, self._since_ns = self._since_ns, 0
        return lost, since

    def not_written(self, lost: Counter[Key], since_ns: int) -> None:
        """Give back what ``unwritten`` handed out: there was no room for it."""
        with self._lock:
            self._unwritten.update(lost)
            self._since_ns = min(self._since_ns or since_ns, since_ns)
