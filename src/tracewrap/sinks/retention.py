"""How much of a span log is kept: files that are rolled, and the oldest removed once there is too much of them or they are too old.

Only files that a span log wrote (``spans-*.jsonl``, by their names) are removed, whole, and never the one being written. Where calls
are compacted into a lake, only what the lake holds: ``lake compact`` leaves there how much of which file it has read
(``semconv.LAKE_READ``). A file's age is how much earlier than the newest file it was last written: a clock that is frozen or set wrong
removes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracewrap import semconv
from tracewrap.records import DAY_NS

logger = logging.getLogger("tracewrap")

ROLL_BYTES = 256 * 2**20
KEEP_BYTES = 10 * 2**30
_BLOCK = 4096
"""A file takes whole blocks of the disk, so many small ones take more than they hold."""
_OURS = re.compile(r"spans-\d{8}T\d{6}Z-\d+-[0-9a-f]{12}(-\d{4,})?\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What stays. ``roll_bytes``: of one file; ``bytes``: of all files; ``days``: from a file's last call to the
    newest one. None: no limit."""

    roll_bytes: int = ROLL_BYTES
    days: float | None = None
    bytes: int | None = KEEP_BYTES
    lake: str | None = None
    """Only files whose calls this lake holds are removed."""

    @property
    def file_bytes(self) -> int:
        """A file that is larger is followed by another: what is kept is at least four files, so that the newest calls stay."""
        return self.roll_bytes if self.bytes is None else max(1, min(self.roll_bytes, self.bytes // 4))


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a span log as the disk has it."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def taken(self) -> int:
        """Bytes it takes of the disk."""
        return -(-self.size // _BLOCK) * _BLOCK


def log_files(folder: Path) -> list[LogFile]:
    """The files that span logs wrote in *folder*, the one written longest ago first. Raises OSError."""
    return sorted(_log_files(folder), key=lambda file: (file.mtime_ns, file.path.name))


def _log_files(folder: Path) -> Iterator[LogFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # another process keeps order too
                yield LogFile(folder / entry.name, stat.st_size, stat.st_mtime_ns)


def prune(folder: Path, keep: Keep, current: Path | None) -> int:
    """Remove from *folder* what is beyond *keep*, never *current*; bytes removed. Raises OSError when the folder cannot be read."""
    files = log_files(folder)
    if not files or (keep.days is None and keep.bytes is None):
        return 0
    total = sum(file.taken for file in files)
    oldest_ns = 0 if keep.days is None else files[-1].mtime_ns - int(keep.days * DAY_NS)
    read: Mapping[str, int] | None = None
    removed = held = 0
    for file in files:
        too_much = keep.bytes is not None and total > keep.bytes
        if file.path == current or not (too_much or file.mtime_ns < oldest_ns):
            continue
        if keep.lake is not None:
            read = _read_by(Path(keep.lake)) if read is None else read
            if read.get(file.path.name, -1) < file.size:
                held += file.taken
                continue
        try:
            file.path.unlink(missing_ok=True)
        except OSError:
            continue  # open elsewhere (Windows), or not ours to remove: it is tried again at the next roll
        removed, total = removed + file.taken, total - file.taken
    _say(folder, keep, removed, held)
    return removed


def _say(folder: Path, keep: Keep, removed: int, held: int) -> None:
    if removed:
        logger.info(
            "%s: %.1f MiB of the oldest calls were removed (span_log_keep_bytes, _days)", folder, removed / 2**20
        )
    if held:
        logger.warning(
            "tracewrap: %s: %.1f MiB beyond what is kept stay until they are in %s: tracewrap lake compact %s %s",
            folder, held / 2**20, keep.lake, folder, keep.lake,
        )  # fmt: skip


def _read_by(lake: Path) -> Mapping[str, int]:
    """Bytes of each span-log file, by name, whose calls *lake* holds; empty when it does not say."""
    try:
        found = json.loads((lake / semconv.LAKE_READ).read_text(encoding="utf-8"))["files"]
        return {str(name): int(size) for name, size in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
