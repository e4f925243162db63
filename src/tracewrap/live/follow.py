"""The live view's figures: span-log files followed as they grow, and the calls that ended within a window, by group.

Nothing is joined here: the estimates that a call was exported with stand on its span. Calls appear when they end; how many are in
flight is not in a span log. Memory is bounded by ``MAX_CALLS``, reading at the start by ``TAIL_BYTES`` a file.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypedDict

from tracewrap import semconv
from tracewrap.sources.otlp_json import SUFFIXES

GROUPS = ("model", "provider", "deployment", "service")
"""What calls can be grouped by."""
SORTS = {"contention": "contention_share", "calls": "calls", "cost": "list_cost_usd", "raw": "raw_p50_s"}
"""Orders of the rows and the figure of each: largest first, unknown last."""
TAIL_BYTES = 64 * 2**20
"""Of a file that is there at the start, at most this much of its end is read."""
MAX_CALLS = 200_000
"""Calls held at a time; beyond it the window gets shorter."""

_FOLLOWED = tuple(suffix for suffix in SUFFIXES if not suffix.endswith((".gz", ".zst")))
_FIRST_TAIL = 2**20
_LONGEST_LINE = TAIL_BYTES
_HEAD = 4096
_LATE_NS = 60 * 10**9
"""A line may hold calls that ended this much earlier than those of the line before it: exporters hold spans back."""
_READ = semconv.READ_NAMES | {semconv.RUNTIME_DENOISED, semconv.RUNTIME_IDEALIZED, semconv.COST_LIST, "gen_ai.system"}


@dataclass(slots=True)
class _File:
    """How far one file was read. ``head``: its first bytes, which tell a file that grew from one written anew."""

    offset: int | None = None
    """Start of the first line that was not read; None: not opened, its calls are over."""
    head: bytes = b""
    size: int = -1
    mtime_ns: int = -1
    unfinished: bool = False
    cut_ns: int | None = None
    """When it was first read, if its tail was too short for the window."""


class Follower:
    """Whole new lines of the span-log files in a folder (its sub-folders too), or of one file.

    A last line without its end waits for the rest. A file is known by its inode, so one that is renamed (rotated) is not read
    again; one that was truncated or written anew is read from its start.
    """

    def __init__(self, path: Path, tail_bytes: int = TAIL_BYTES) -> None:
        self.path, self.tail_bytes = path, tail_bytes
        self.unreadable: dict[Path, str] = {}
        """Files that could not be read at the last look, and why."""
        self.skipped = False
        """Whether lines from before the window were left out, unread."""
        self.files: dict[tuple[int, int], _File] = {}
        """The files of the last look, by device and inode."""

    @property
    def unfinished_lines(self) -> int:
        """Last lines that wait for their rest."""
        return sum(file.unfinished for file in self.files.values())

    def cut_files(self, since_ns: int) -> int:
        """Files whose tail may have been too short to hold all calls that ended after *since_ns*."""
        return sum(file.cut_ns is not None and file.cut_ns > since_ns for file in self.files.values())

    def new_lines(self, since_ns: int, now_ns: int) -> Iterator[bytes]:
        """Every line that was finished since the last look; lines of calls that ended before *since_ns* may be left out."""
        self.unreadable, seen = {}, set()
        for path in self._paths():
            try:
                stat = path.stat()
                key, state = (stat.st_dev, stat.st_ino), (stat.st_size, stat.st_mtime_ns)
                known = self.files.get(key)
                if known is None and stat.st_mtime_ns < since_ns:
                    self.skipped |= stat.st_size > 0
                    self.files[key] = _File(size=stat.st_size, mtime_ns=stat.st_mtime_ns)
                elif known is None or (known.size, known.mtime_ns) != state:
                    yield from self._read(path, key, since_ns, now_ns)
                seen.add(key)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self.unreadable[path] = error.strerror or str(error)
        for key in self.files.keys() - seen:
            del self.files[key]

    def _paths(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        names = [Path(top, name) for top, _, files in os.walk(self.path) for name in files if name.endswith(_FOLLOWED)]
        return sorted(path for path in names if not path.name.startswith("."))

    def _read(self, path: Path, key: tuple[int, int], since_ns: int, now_ns: int) -> Iterator[bytes]:
        with open(path, "rb", buffering=2**18) as file:
            stat = os.fstat(file.fileno())
            if (stat.st_dev, stat.st_ino) != key:
                return  # another file has taken the name in between; the next look finds both
            known = self.files.get(key)
            anew = known is not None and known.offset is not None and stat.st_size < known.offset
            if known is None or known.offset is None or anew or file.read(len(known.head)) != known.head:
                known = self.files[key] = _start(file, stat.st_size, since_ns, now_ns, self.tail_bytes)
                self.skipped |= known.offset != 0
            yield from _lines(file, known, stat.st_size)
            file.seek(0)
            known.head = file.read(min(_HEAD, known.offset or 0))
            known.size, known.mtime_ns = stat.st_size, stat.st_mtime_ns


def _start(file: IO[bytes], size: int, since_ns: int, now_ns: int, tail_bytes: int) -> _File:
    """Where to begin: the shortest tail, doubled step by step, whose first line ended before the window did begin."""
    reach = min(_FIRST_TAIL, tail_bytes)
    while reach < size:
        file.seek(size - reach)
        file.readline(_LONGEST_LINE)
        offset, ended_ns = file.tell(), _latest_end(file.readline(_LONGEST_LINE))
        if ended_ns is not None and ended_ns < since_ns - _LATE_NS:
            return _File(offset)
        if reach >= tail_bytes:
            return _File(offset, cut_ns=now_ns)
        reach = min(2 * reach, tail_bytes)
    return _File(0)


def _lines(file: IO[bytes], known: _File, size: int) -> Iterator[bytes]:
    """Lines from ``known.offset`` on, which moves along; a line that is too long for memory comes as a torn one."""
    offset, known.unfinished = known.offset or 0, False
    file.seek(offset)
    while offset < size:
        line = part = file.readline(_LONGEST_LINE)
        offset += len(part)
        while len(part) == _LONGEST_LINE and not part.endswith(b"\n"):
            line, part = b"{", file.readline(_LONGEST_LINE)
            offset += len(part)
        if not part.endswith(b"\n") and _document(line) is None:
            known.unfinished = True
            return
        known.offset = offset
        yield line


def _document(line: bytes) -> Any:
    """The JSON value of *line*; None when it is none."""
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _latest_end(line: bytes) -> int | None:
    return max(filter(None, (_end_ns(span) for _, span in _spans(_document(line)))), default=None)


def _spans(document: Any) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """(service name, span) of each span; parts that are not shaped like OTLP are passed over."""
    for resource_spans in _dicts(document, "resourceSpans"):
        service = _attributes(resource_spans.get("resource"), {semconv.SERVICE_NAME}).get(semconv.SERVICE_NAME)
        for scope_spans in _dicts(resource_spans, "scopeSpans"):
            for span in _dicts(scope_spans, "spans"):
                yield service if isinstance(service, str) else None, span


def _dicts(parent: Any, name: str) -> Iterable[dict[str, Any]]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return (child for child in children if isinstance(child, dict)) if isinstance(children, list) else ()


def _attributes(parent: Any, wanted: Iterable[str]) -> dict[str, Any]:
    """Attributes named in *wanted* with plain values; the first one counts when a name comes twice."""
    out: dict[str, Any] = {}
    for pair in _dicts(parent, "attributes"):
        key, value = pair.get("key"), pair.get("value")
        if isinstance(key, str) and key in wanted and key not in out and isinstance(value, dict):
            for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
                if kind in value:
                    out[key] = value[kind]
    return out


def _end_ns(span: Mapping[str, Any]) -> int | None:
    """When the span ended, else began, in Unix nanoseconds."""
    return _whole(span.get("endTimeUnixNano")) or _whole(span.get("startTimeUnixNano"))


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class LiveCall:
    """What the view keeps of a call; only a complete one has runtimes, as in the report."""

    end_ns: int
    groups: tuple[str | None, ...]
    """Its name in each of ``GROUPS``."""
    failed: bool
    retries: int
    input_tokens: int | None
    output_tokens: int | None
    raw_s: float | None
    last_attempt_s: float | None
    denoised_s: float | None
    idealized_s: float | None
    list_cost_usd: float | None


def live_call(span: Mapping[str, Any], end_ns: int, service: str | None) -> tuple[str, LiveCall] | None:
    """The call that *span* describes, beside the text that identifies it; None for other spans and for spans without ids."""
    trace_id, span_id, start_ns = span.get("traceId"), span.get("spanId"), _whole(span.get("startTimeUnixNano"))
    if not (isinstance(trace_id, str) and isinstance(span_id, str) and trace_id and span_id and start_ns is not None):
        return None
    attributes, status = _attributes(span, _READ), span.get("status")
    try:
        call = semconv.call_from_attributes(
            attributes,
            trace_id=trace_id,
            span_id=span_id,
            start_time_ns=start_ns,
            end_time_ns=_whole(span.get("endTimeUnixNano")),
            service_name=service,
            failed=isinstance(status, dict) and status.get("code") in (2, "2", "STATUS_CODE_ERROR"),
            keep_tags=False,
        )
    except (TypeError, ValueError, OverflowError):  # a value of a kind that no writer of ours makes
        return None
    if call is None:
        return None
    names = (call.model, call.provider, call.deployment.key, call.service_name or None)
    complete, usage = call.outcome == "complete", call.usage
    return f"{trace_id}{span_id}".lower(), LiveCall(
        end_ns=end_ns,
        groups=tuple(name if name is None else sys.intern(name) for name in names),
        failed=call.outcome == "error",
        retries=call.attempts - 1,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        raw_s=call.raw_runtime_s if complete else None,
        last_attempt_s=call.last_attempt_s if complete else None,
        denoised_s=_number(attributes.get(semconv.RUNTIME_DENOISED)) if complete else None,
        idealized_s=_number(attributes.get(semconv.RUNTIME_IDEALIZED)) if complete else None,
        list_cost_usd=_number(attributes.get(semconv.COST_LIST)),
    )


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
    idealized_p50_s: float | None
    contention_share: float | None
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
        "raw_p50_s": quantile(raw, 0.5),
        "raw_p95_s": quantile(raw, 0.95),
        "denoised_p50_s": quantile((call.denoised_s for call in calls), 0.5),
        "idealized_p50_s": quantile((call.idealized_s for call in calls), 0.5),
        "contention_share": (total - math.fsum(quiet for _, quiet in both)) / total if total else None,
        "retries": sum(call.retries for call in calls),
        "priced_calls": sum(call.list_cost_usd is not None for call in calls),
        "list_cost_usd": cost,
        "list_cost_usd_per_h": rate(cost, 3600),
    }


def quantile(values: Iterable[float | None], share: float) -> float | None:
    """The quantile of the known *values*, linearly interpolated; None when none is known."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    place = share * (len(known) - 1)
    low, high = known[math.floor(place)], known[math.ceil(place)]
    return low + (place - math.floor(place)) * (high - low)


def _sum(values: Iterable[float | None]) -> float | None:
    return sum(known) if (known := [value for value in values if value is not None]) else None


class Window:
    """The calls that ended within the last *window_s* seconds, each once."""

    def __init__(self, window_s: float, max_calls: int = MAX_CALLS) -> None:
        self.window_s = window_s
        self.calls_read = self.duplicates = self.torn_lines = self.foreign_lines = 0
        self._max_calls = max_calls
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
        document = _document(line)
        if not isinstance(document, dict) or not isinstance(document.get("resourceSpans"), list):
            self.torn_lines += document is None
            self.foreign_lines += document is not None
            return
        since_ns = self.since_ns(now_ns)
        for service, span in _spans(document):
            end_ns = min(_end_ns(span) or 0, now_ns)
            start_ns = min(_whole(span.get("startTimeUnixNano")) or 0, end_ns)
            self.first_ns = start_ns if self.first_ns is None else min(self.first_ns, start_ns)
            found = live_call(span, end_ns, service) if end_ns > min(since_ns, self.last_ns) else None
            if found is not None:
                self.last_ns = max(self.last_ns, end_ns)
                if end_ns > since_ns:
                    self._keep(*found)

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
