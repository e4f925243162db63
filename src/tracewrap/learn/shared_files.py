"""What the processes of a service saw, left for each other in the span log's folder: one file a process, whole or not at all.

A file that is torn, hostile, too large or of a newer version is passed over with one line; nothing here raises.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracewrap.errors import TracewrapError
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.usable import MOST_TOKENS, Row

logger = logging.getLogger("tracewrap")

SCHEMA = "tracewrap.denoiser/2"
READABLE = ("tracewrap.denoiser/1", SCHEMA)
PATTERN = ".denoiser-*.json"
MAX_FILES = 32
MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Learned:
    """One deployment in a file: its calls; since when its present level holds, and the profiles before (empty: it never changed)."""

    model: str
    rows: Sequence[Row]
    since_s: float = 0.0
    earlier: tuple[RuntimeProfile, ...] = field(default=())


class SharedFiles:
    """The folder, as one process sees it: its own file, and what the others have left, each read once for each time it was written."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[int, Mapping[str, Learned]]] = {}
        self.renew()

    def renew(self) -> None:
        """A new name for this process's own file, as after a fork; no two processes share one, whatever their ids and hosts."""
        self.own = f".denoiser-{os.getpid()}-{os.urandom(6).hex()}.json"

    def save(self, folder: str | os.PathLike[str], deployments: Mapping[str, Learned]) -> None:
        """Leave *deployments* in *folder*; a failure is logged."""
        if not deployments:
            return
        data = {
            "schema": SCHEMA,
            "saved_unix_s": time.time(),
            "deployments": {key: _entry(learned) for key, learned in deployments.items()},
        }
        target = Path(folder) / self.own
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, to_json(data))
            _prune(Path(folder))
        except (OSError, ValueError, TracewrapError) as error:
            logger.warning("what was learned was not saved in %s (%s)", folder, error)

    def load(self, folder: str | os.PathLike[str]) -> list[tuple[str, Learned]]:
        """What files written since the last look hold, by deployment; ``known`` has all of it."""
        paths = [path for path in sorted(Path(folder).glob(PATTERN)) if path.name != self.own]
        self._read = {path.name: self._read[path.name] for path in paths if path.name in self._read}
        news: list[tuple[str, Learned]] = []
        for path in paths:
            found = self._new(path)
            if found is not None:
                news += found.items()
        return news

    def _new(self, path: Path) -> Mapping[str, Learned] | None:
        """What *path* holds if it was written since it was last read."""
        try:
            state = path.stat()
            if path.name in self._read and self._read[path.name][0] == state.st_mtime_ns:
                return None
            self._read[path.name] = (state.st_mtime_ns, {})
            if state.st_size > MAX_FILE_BYTES:
                raise ValueError(f"{state.st_size} bytes are too many")
            found = _taken(path)
        except FileNotFoundError:
            return None  # another process pruned it
        except Exception as error:  # noqa: BLE001 - a file by whoever must never stop the program
            logger.warning("%s cannot be read and is ignored (%s)", path, str(error)[:200] or type(error).__name__)
            return None
        self._read[path.name] = (state.st_mtime_ns, found)
        return found

    def known(self) -> dict[str, list[Row]]:
        """Calls of other processes, by deployment."""
        out: dict[str, list[Row]] = {}
        for _, found in self._read.values():
            for key, learned in found.items():
                out.setdefault(key, []).extend(learned.rows)
        return out


def _entry(learned: Learned) -> dict[str, Any]:
    entry: dict[str, Any] = {"model": learned.model, "rows": [list(row) for row in learned.rows]}
    if learned.since_s:
        entry |= {"since_unix_s": learned.since_s, "earlier": [profile.to_dict() for profile in learned.earlier]}
    return entry


def _taken(path: Path) -> dict[str, Learned]:
    data = read_json(path)
    if data.get("schema", READABLE[0]) not in READABLE:
        raise ValueError(f"its schema is {data['schema']!r}, this version reads {SCHEMA!r}")
    found = {}
    for key, entry in data["deployments"].items():
        rows = [row for row in map(_row, entry["rows"]) if row is not None]
        earlier = tuple(RuntimeProfile.from_dict(one, str(path)) for one in entry.get("earlier", ()))
        found[str(key)] = Learned(str(entry["model"]), rows, float(entry.get("since_unix_s", 0.0)), earlier)
    return found


def _row(values: Sequence[Any]) -> Row | None:
    """A row of a file (without cached tokens, if older), or None where its numbers are impossible."""
    start_s, p, o, seconds, first, cached = [*values, 0][:6]
    numbers = [float(x) for x in (start_s, p, o, seconds, cached or 0)]
    if not all(math.isfinite(x) and x >= 0.0 for x in numbers) or max(numbers[1], numbers[2]) >= MOST_TOKENS:
        return None
    if not 0.0 < numbers[3] < 1e9 or numbers[2] < 1:
        return None
    return Row(numbers[0], int(p), int(o), numbers[3], None if first is None else float(first), int(numbers[4]))


def _prune(folder: Path) -> None:
    """Keep the newest states; a state file belongs to one process and outlives it."""
    dated = []
    for path in folder.glob(PATTERN):
        try:
            dated.append((path.stat().st_mtime, path))
        except OSError:
            continue  # pruned by another process
    for _, path in sorted(dated)[:-MAX_FILES]:
        path.unlink(missing_ok=True)
