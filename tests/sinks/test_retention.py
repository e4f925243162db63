"""Retention: files roll by size and by day, the oldest go beyond what is kept, and never what a lake does not hold yet."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tracewrap import semconv
from tracewrap.records import DAY_NS, CallRecord
from tracewrap.sinks import SpanLog
from tracewrap.sinks.retention import Keep, log_files, prune
from tracewrap.sources import read_calls
from tracewrap.sources.compact import compact

NOW_NS = time.time_ns()


def _write(log: SpanLog, span_id: int) -> None:
    attributes: dict[str, Any] = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "m", semconv.PROVIDER: "openai"}
    record = CallRecord(1, span_id, None, True, None, False, {}, "chat m", NOW_NS, NOW_NS + 1, attributes, None)
    log.write([log.encoded(record, attributes)])


def _made(folder: Path, number: int, size: int, days_ago: float = 0.0) -> Path:
    path = folder / f"spans-20260101T00000{number}Z-1-{number:012x}-0001.jsonl"
    path.write_bytes(b" " * size)
    written_ns = NOW_NS - int(days_ago * DAY_NS) + number
    os.utime(path, ns=(written_ns, written_ns))
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_rolled_by_size_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A reader that goes by names reads a process's calls as they were made."""
    log = SpanLog(tmp_path, keep=Keep(roll_bytes=1))
    for number in range(1, 13):
        _write(log, number)
    files = sorted(tmp_path.iterdir())
    assert [int(file.read_text().partition('"spanId":"')[2][:16], 16) for file in files] == list(range(1, 13))


def test_files_are_rolled_by_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of another day begins a file; a clock that is set back does not."""
    log = SpanLog(tmp_path)
    for number, days in enumerate((0, 0, 1, 1, 0, 1, 2), 1):
        monkeypatch.setattr(time, "time_ns", lambda days=days: NOW_NS + days * DAY_NS)
        _write(log, number)
    assert [file.read_text().count("spanId") for file in sorted(tmp_path.iterdir())] == [2, 4, 1]


def test_the_oldest_files_beyond_the_bytes_go(tmp_path: Path) -> None:
    """A long run keeps its newest calls, within what it was given and one file's rest."""
    log = SpanLog(tmp_path, keep=Keep(bytes=40_000))
    for number in range(1, 401):
        _write(log, number)
    files = log_files(tmp_path)
    assert sum(file.taken for file in files) <= 40_000 + 10_000 + 4096
    kept = sorted(int(call.span_id, 16) for call in read_calls(str(tmp_path)))
    assert kept == list(range(kept[0], 401))
    assert 1 < kept[0] < 390


def test_small_files_count_as_the_disk_counts_them(tmp_path: Path) -> None:
    """A thousand programs of one call each leave no folder without end."""
    for number in range(1, 9):
        _made(tmp_path, number, size=10)
    prune(tmp_path, Keep(bytes=5 * 4096), None)
    assert len(log_files(tmp_path)) == 5


def test_files_beyond_the_days_go(tmp_path: Path) -> None:
    """Their age is counted to the newest file, so that a wrong clock removes nothing."""
    old, new = _made(tmp_path, 1, 10, days_ago=400), _made(tmp_path, 2, 10, days_ago=395)
    assert prune(tmp_path, Keep(days=30, bytes=None), None) == 0
    newest = _made(tmp_path, 3, 10)
    prune(tmp_path, Keep(days=30, bytes=None), None)
    assert _names(tmp_path) == [newest.name]
    assert not old.exists()
    assert not new.exists()


def test_only_files_of_span_logs_go(tmp_path: Path) -> None:
    """What else lies there is not ours, whatever its age; nor is a link followed."""
    _made(tmp_path, 1, 10)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "spans-mine.jsonl").write_text("{}")
    outside = tmp_path / "sub"
    outside.mkdir()
    target = _made(outside, 2, 10)
    (tmp_path / target.name).symlink_to(target)
    prune(tmp_path, Keep(bytes=1), None)
    assert _names(tmp_path) == ["notes.txt", "spans-mine.jsonl", "sub"]
    assert target.exists()


def test_the_file_that_is_written_stays(tmp_path: Path) -> None:
    """However little may be kept."""
    current = _made(tmp_path, 1, 10)
    _made(tmp_path, 2, 10)
    prune(tmp_path, Keep(bytes=1, days=0.001), current)
    assert _names(tmp_path) == [current.name]


def test_what_the_lake_lacks_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where calls are compacted into a lake, only files that it holds whole are removed; the others are said."""
    calls, lake = tmp_path / "calls", tmp_path / "lake"
    log = SpanLog(calls, keep=Keep(roll_bytes=1))
    _write(log, 1)
    compact([str(calls)], lake)
    _write(log, 2)
    keep = Keep(bytes=1, lake=str(lake))
    prune(calls, keep, None)
    assert [call.span_id for call in read_calls(str(calls))] == [f"{2:016x}"]
    assert "lake compact" in caplog.text
    compact([str(calls)], lake)
    prune(calls, keep, None)
    assert not log_files(calls)
    assert len(list(read_calls(str(lake)))) == 2


def test_a_file_that_grew_after_it_was_compacted_stays(tmp_path: Path) -> None:
    """The lake holds a part of it only."""
    calls, lake = tmp_path / "calls", tmp_path / "lake"
    log = SpanLog(calls)
    _write(log, 1)
    compact([str(calls)], lake)
    _write(log, 2)
    prune(calls, Keep(bytes=1, lake=str(lake)), None)
    assert len(log_files(calls)) == 1


def test_a_period_in_the_lake_is_no_whole_file(tmp_path: Path) -> None:
    """A compaction of one day says nothing about the rest of a file."""
    calls, lake = tmp_path / "calls", tmp_path / "lake"
    _write(SpanLog(calls), 1)
    compact([str(calls)], lake, since_ns=NOW_NS - DAY_NS, until_ns=NOW_NS + DAY_NS)
    assert not (lake / semconv.LAKE_READ).exists()
