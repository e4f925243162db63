"""The index of what was kept of parsed logs: files, parts of them, and the packs that hold their calls. Values and one JSON file."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tracewrap import systems
from tracewrap.sources.losses import Loss
from tracewrap.sources.otlp_sql import Tally, calls_sql
from tracewrap.sources.table import CALL_COLUMNS

FOLDER = ".tracewrap"
_INDEX = "index"
_SAMPLE_BYTES = 4096
_SAMPLE_EVERY = 2**20
_RACE_NS = 2 * 10**9
"""Clocks of file systems tick; a file that was written so shortly before it was looked at may have been written again unseen."""


@dataclass(slots=True)
class Part:
    """A stretch of one file. ``pack`` is "" where it holds no call."""

    pack: str
    rows: int
    tally: Tally


@dataclass(slots=True)
class File:
    """How far one file is kept. ``whole``: its last line there had no end, so that nothing can follow it."""

    stamp: list[int]
    """Size, modification and change time (ns), inode when it was last looked at, at ``seen_ns``."""
    seen_ns: int
    end: int
    whole: bool
    sample: str
    parts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Index:
    """All that is kept in one folder. ``packs``: name to bytes. ``unique``: no call is told twice, so that nobody need look again."""

    files: dict[str, File] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    packs: dict[str, int] = field(default_factory=dict)
    unchecked: list[int] = field(default_factory=list)
    """Parts of which ``unique`` does not speak yet."""
    unique: bool = True
    next_part: int = 1

    def valid(self, name: str, file: Path, stamp: list[int]) -> bool:
        """Whether what is kept of *file*, called *name* and with *stamp* now, is still its beginning."""
        known = self.files.get(name)
        if known is None or stamp[3] != known.stamp[3] or stamp[0] < known.stamp[0]:
            return False
        if stamp == known.stamp and max(stamp[1], stamp[2]) < known.seen_ns - _RACE_NS:
            return True
        grown = stamp[0] > known.stamp[0]
        if known.whole if grown else stamp[1] != known.stamp[1]:
            return False
        return sample_of(file, known.end) == known.sample

    def live(self) -> set[int]:
        """Numbers of the parts that files have; the others' rows are of files that changed or are gone."""
        return {number for file in self.files.values() for number in file.parts}


def stamp_of(file: Path) -> list[int]:
    """Size, modification and change time, inode of *file*. Raises OSError."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def sample_of(file: Path, end: int) -> str:
    """A digest of some of the first *end* bytes of *file*: 4 KiB of each MiB, and the last 4 KiB. Raises OSError."""
    digest = hashlib.blake2b(str(end).encode(), digest_size=16)
    with open(file, "rb", buffering=0) as opened:
        for at in (*range(0, end, _SAMPLE_EVERY), max(0, end - _SAMPLE_BYTES)):
            opened.seek(at)
            digest.update(opened.read(min(_SAMPLE_BYTES, end - at)))
    return digest.hexdigest()


@functools.cache
def _format() -> str:
    """What the kept rows depend on beside the logs: the columns, and how attributes become columns."""
    text = json.dumps(["tracewrap.parsed/1", dict(CALL_COLUMNS), calls_sql()])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_index(folder: Path) -> Index:
    """The index in *folder*; an empty one where it is missing, damaged, of another version, or a pack of it is not whole."""
    try:
        data = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if data["format"] != _format():
            return Index()
        index = Index(
            {name: File(*values) for name, values in data["files"].items()},
            {int(number): _part(*values) for number, values in data["parts"].items()},
            {str(pack): int(size) for pack, size in data["packs"].items()},
            list(data["unchecked"]),
            bool(data["unique"]),
            int(data["next_part"]),
        )
        whole = all((folder / pack).stat().st_size == size for pack, size in index.packs.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Index()
    return index if whole and index.live() <= index.parts.keys() else Index()


def _part(pack: str, rows: int, counts: list[int], losses: Iterable[list[object]]) -> Part:
    found = [Loss(tuple(ids), *rest) for ids, *rest in losses]  # type: ignore[arg-type]
    return Part(pack, rows, Tally.of(counts, found))


def write_index(folder: Path, index: Index) -> None:
    """Put *index* in the place of the one in *folder*. Raises OSError."""
    data = {
        "format": _format(),
        "files": {name: list(dataclasses.astuple(file)) for name, file in index.files.items()},
        "parts": {
            number: [part.pack, part.rows, part.tally.counts(), part.tally.losses]
            for number, part in index.parts.items()
        },
        "packs": index.packs,
        "unchecked": index.unchecked,
        "unique": index.unique,
        "next_part": index.next_part,
    }
    temporary = folder / f"{_INDEX}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    systems.replace(temporary, folder / _INDEX)


def kept_bytes(log: Path) -> int:
    """Bytes that are kept beside the span log *log*; 0 where nothing is."""
    total = 0
    with contextlib.suppress(OSError):
        total = sum(file.stat().st_size for file in (log / FOLDER).iterdir())
    return total
