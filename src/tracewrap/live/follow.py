"""Span-log files followed as they grow; reading at the start is bounded by ``TAIL_BYTES`` a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tracewrap.live.calls import document, latest_end
from tracewrap.sources.otlp_json import SUFFIXES

TAIL_BYTES = 64 * 2**20
"""Of a file that is there at the start, at most this much of its end is read."""

_FOLLOWED = tuple(suffix for suffix in SUFFIXES if not suffix.endswith((".gz", ".zst")))
_FIRST_TAIL = 2**20
_LONGEST_LINE = TAIL_BYTES
_HEAD = 4096
_LATE_NS = 60 * 10**9
"""A line may hold calls that ended this much earlier than those of the line before it: exporters hold spans back."""


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
        offset, ended_ns = file.tell(), latest_end(file.readline(_LONGEST_LINE))
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
        if not part.endswith(b"\n") and document(line) is None:
            known.unfinished = True
            return
        known.offset = offset
        yield line
