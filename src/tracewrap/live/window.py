"""The live view's figures: the calls that ended within a window, by group.

Nothing is joined here: the estimates that a call was exported with stand on its span. Calls appear when they end; how many are in
flight is not in a span log. Memory is bounded by ``MAX_CALLS``.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from tracewrap.live.calls import GROUPS, Learned, LiveCall, document, end_ns, live_call, spans, whole
from tracewrap.runtime.quantiles import quantile

SORTS = {"contention": "contention_share", "calls": "calls", "cost": "list_cost_usd", "raw": "raw_p50_s"}
"""Orders of the rows and the figure of each: largest first, unknown last."""
MAX_CALLS = 200_000
"""Calls held at a time; beyond it the window gets shorter."""


class Figures(TypedDict):
    """One row; None: unknown. Rates are over ``covered_s`` of the frame."""

    key: str | None
    calls: int
    calls_per_min: float | None
    error_share: float | None
    input_tokens_per_s: float | None
    output_tokens_per_s: float | None
    raw_p50_s: float | None
    raw_p95_s: float | None
    denoised_p50_s: float | None
    unsure: dict[str, int]
    """Calls whose denoised profile is not ok, by its verdict."""
    idealized_p50_s: float | None
    contention_share: float | None
    slow_by: str | None
    """Who made most of the slow calls slow, and how many of how many: ``provider 3/40``."""
    retries: int
    priced_calls: int
    list_cost_usd: float | None
    list_cost_usd_per_h: float | None


def figures(key: str | None, calls: Sequence[LiveCall], covered_s: float) -> Figures:
    """The row of *calls*, which ended within *covered_s* seconds."""
    pairs = [(call.last_attempt_s, call.denoised_s) for call in calls]
    both = [(last, quiet) for last, quiet in pairs if last is not None and quiet is not None]
    total = math.fsum(last for last, _ in both)
    cost, raw = _sum(call.list_cost_usd for call in calls), [call.raw_s for call in calls]

    def rate(amount: float | None, unit_s: float) -> float | None:
        return None if amount is None or covered_s <= 0 else amount / covered_s * unit_s

    return {
        "key": key,
        "calls": len(calls),
        "calls_per_min": rate(len(calls), 60),
        "error_share": sum(call.failed for call in calls) / len(calls) if calls else None,
        "input_tokens_per_s": rate(_sum(call.input_tokens for call in calls), 1),
        "output_tokens_per_s": rate(_sum(call.output_tokens for call in calls), 1),
        "raw_p50_s": _quantile(raw, 0.5),
        "raw_p95_s": _quantile(raw, 0.95),
        "denoised_p50_s": _quantile((call.denoised_s for call in calls), 0.5),
        "unsure": dict(Counter(call.unsure for call in calls if call.unsure is not None)),
        "idealized_p50_s": _quantile((call.idealized_s for call in calls), 0.5),
        "contention_share": (total - math.fsum(quiet for _, quiet in both)) / total if total else None,
        "slow_by": _worst(calls),
        "retries": sum(call.retries for call in calls),
        "priced_calls": sum(call.list_cost_usd is not None for call in calls),
        "list_cost_usd": cost,
        "list_cost_usd_per_h": rate(cost, 3600),
    }


def _worst(calls: Sequence[LiveCall]) -> str | None:
    """Who made most of the slow calls slow, with their number of all; None where no call was slow."""
    counted = Counter(call.slow_by for call in calls if call.slow_by is not None)
    if not counted:
        return None
    who, n = min(counted.items(), key=lambda item: (-item[1], item[0]))
    return f"{who} {n}/{len(calls)}"


def _quantile(values: Iterable[float | None], share: float) -> float | None:
    """The quantile of the known *values*; None when none is known."""
    known = [value for value in values if value is not None]
    return quantile(known, share) if known else None


def _sum(values: Iterable[float | None]) -> float | None:
    return sum(known) if (known := [value for value in values if value is not None]) else None


class Window:
    """The calls that ended within the last *window_s* seconds, each once."""

    def __init__(self, window_s: float, max_calls: int = MAX_CALLS, learned: Learned | None = None) -> None:
        self.window_s = window_s
        self.calls_read = self.duplicates = self.torn_lines = self.foreign_lines = 0
        self._max_calls = max_calls
        self._learned = learned
        self._calls: dict[str, LiveCall] = {}
        self._by_end: list[tuple[int, str]] = []
        self.first_ns: int | None = None
        """When the log began, as far as it was read: rates are over the time since then, if that is less than the window."""
        self.last_ns = 0
        """When the latest call ended, in the window or before; 0: none was read."""
        self.cut_ns = 0
        """When the latest call ended that was forgotten for lack of room."""

    def since_ns(self, now_ns: int) -> int:
        """Calls that ended then or before are out."""
        return max(now_ns - int(self.window_s * 1e9), self.cut_ns)

    def covered_s(self, now_ns: int) -> float:
        """Seconds that the figures cover, the window's at most."""
        return (now_ns - max(self.since_ns(now_ns), self.first_ns or 0)) / 1e9

    def add(self, line: bytes, now_ns: int) -> None:
        """Take in the calls of one line. A call that says it ends in the future, by a clock that is ahead, ends now."""
        if not line.strip():
            return
        found = document(line)
        if not isinstance(found, dict) or not isinstance(found.get("resourceSpans"), list):
            self.torn_lines += found is None
            self.foreign_lines += found is not None
            return
        since_ns = self.since_ns(now_ns)
        for service, span in spans(found):
            ended_ns = min(end_ns(span) or 0, now_ns)
            began_ns = min(whole(span.get("startTimeUnixNano")) or 0, ended_ns)
            self.first_ns = began_ns if self.first_ns is None else min(self.first_ns, began_ns)
            call = live_call(span, ended_ns, service, self._learned) if ended_ns > min(since_ns, self.last_ns) else None
            if call is not None:
                self.last_ns = max(self.last_ns, ended_ns)
                if ended_ns > since_ns:
                    self._keep(*call)

    def _keep(self, key: str, call: LiveCall) -> None:
        if key in self._calls:
            self.duplicates += 1
            return
        self.calls_read += 1
        self._calls[key] = call
        heapq.heappush(self._by_end, (call.end_ns, key))
        if len(self._calls) > self._max_calls:
            self.cut_ns, oldest = heapq.heappop(self._by_end)
            del self._calls[oldest]

    def rows(self, now_ns: int, group_by: str, sort: str) -> tuple[Figures, list[Figures]]:
        """Total and rows at *now_ns*; calls that have left the window are forgotten."""
        since_ns, column = self.since_ns(now_ns), GROUPS.index(group_by)
        while self._by_end and self._by_end[0][0] <= since_ns:
            del self._calls[heapq.heappop(self._by_end)[1]]
        groups: dict[str | None, list[LiveCall]] = {}
        for call in self._calls.values():
            groups.setdefault(call.groups[column], []).append(call)
        seconds, everything = self.covered_s(now_ns), list(self._calls.values())
        rows = [figures(key, calls, seconds) for key, calls in groups.items()]
        return figures(None, everything, seconds), sorted(rows, key=lambda row: _order(row, sort))


def _order(row: Figures, sort: str) -> tuple[bool, float, int, str]:
    value: float | None = row[SORTS[sort]]  # type: ignore[literal-required]
    return value is None, -(value or 0.0), -row["calls"], row["key"] or ""
