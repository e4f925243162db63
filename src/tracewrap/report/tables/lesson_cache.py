"""What reports learned, kept beside the log or lake that it was learned from: one file, damaged or strange entries passed over."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracewrap.errors import TracewrapError
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.usable import Row

if TYPE_CHECKING:
    from tracewrap.runtime.quiet.dated import Level

logger = logging.getLogger("tracewrap")

CACHE = ".learned.json"
MAX_KEPT = 5000
SCHEMA = "tracewrap.learned/2"
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one deployment's calls told. ``profiles``: oldest first, the last one in force; empty: ``why`` says what is missing."""

    calls: int
    verdict: str
    profiles: tuple[RuntimeProfile, ...] = ()
    why: str = ""

    @classmethod
    def of(cls, calls: int, levels: Sequence[Level] | None) -> Lesson:
        """The lesson that *levels*, learned from so many *calls*, are; None: learning failed."""
        if levels is None:
            return cls(
                calls, "not learned", why="its calls could not be learned from; the log of this command says why"
            )
        *before, newest = [level.result for level in levels]
        why = "; ".join(newest.messages)
        if newest.profile is None or newest.verdict == "saturated":
            return cls(calls, newest.verdict, why=why)
        earlier = [result.profile for result in before if result.profile is not None]
        return cls(calls, newest.verdict, (*earlier, newest.profile), why)


@dataclass(frozen=True, slots=True)
class Kept:
    """The entries of a cache, each read when it is asked for. ``entries``: by digest of the calls they were learned from."""

    entries: Mapping[str, Mapping[str, Any]]
    _latest: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def merged(cls, several: Iterable[Mapping[str, Mapping[str, Any]]]) -> Kept:
        """The entries of *several* caches as one."""
        entries = {digest: entry for one in several for digest, entry in one.items()}
        return cls(entries, {str(entry.get("deployment")): entry for entry in sorted(entries.values(), key=_saved_s)})

    def same(self, digest: str) -> Lesson | None:
        """What was learned from the very same calls; None where there is nothing, or it is damaged."""
        return _lesson(self.entries.get(digest))

    def latest(self, key: str) -> Lesson | None:
        """What was learned last of the deployment *key*, from whatever calls."""
        return _lesson(self._latest.get(key))

    def day(self, key: str) -> int:
        """The day (since 1970, UTC) on which the deployment *key* was learned last; 0: never."""
        entry = self._latest.get(key)
        return 0 if entry is None else int(_saved_s(entry) // _DAY_S)


def digest_of(key: str, rows: Sequence[Row]) -> str:
    """What identifies the calls *rows* of the deployment *key*, and the way they are learned from."""
    numbers = array("d", (-1.0 if value is None else value for row in rows for value in row))
    text = json.dumps([SCHEMA, version("tracewrap"), key])
    return hashlib.sha256(text.encode() + numbers.tobytes()).hexdigest()[:32]


def read_kept(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The entries of the cache in *folder*; none where the file is missing, damaged or of another version."""
    try:
        data = read_json(folder / CACHE)
        entries = data["entries"] if data.get("schema") == SCHEMA else {}
        return {digest: entry for digest, entry in entries.items() if isinstance(entry, dict)}
    except (OSError, TracewrapError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def write_kept(folder: Path, lessons: Mapping[str, tuple[str, Lesson]]) -> None:
    """Add *lessons*, by digest, each beside its deployment's key, to the cache in *folder*, newest kept; one that cannot be written to
    keeps none. What was not learned is no lesson."""
    fresh = {
        digest: {
            "deployment": key,
            "saved_unix_s": time.time(),
            "calls": lesson.calls,
            "verdict": lesson.verdict,
            "why": lesson.why,
            "profiles": [profile.to_dict() for profile in lesson.profiles],
        }
        for digest, (key, lesson) in lessons.items()
        if lesson.verdict != "not learned"
    }
    if not fresh:
        return
    entries = read_kept(folder) | fresh
    newest = sorted(entries, key=lambda digest: -_saved_s(entries[digest]))[:MAX_KEPT]
    try:
        write_whole(folder / CACHE, to_json({"schema": SCHEMA, "entries": {name: entries[name] for name in newest}}))
    except (OSError, TracewrapError) as error:
        logger.info("%s: what was learned is not kept there (%s)", folder, error)


def _saved_s(entry: Mapping[str, Any]) -> float:
    """Unix seconds at which *entry* was learned; 0 where it does not say."""
    value = entry.get("saved_unix_s")
    return float(value) if isinstance(value, int | float) else 0.0


def _lesson(entry: Any) -> Lesson | None:
    """The lesson of a cache's *entry*; None where there is none or it is damaged."""
    try:
        profiles = tuple(RuntimeProfile.from_dict(one, CACHE) for one in entry["profiles"])
        return Lesson(int(entry["calls"]), str(entry["verdict"]), profiles, str(entry["why"]))
    except (TracewrapError, KeyError, TypeError, ValueError, AttributeError):
        return None
