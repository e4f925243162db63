"""Denoised profiles learned from the calls at hand: those of the period and, where the source has them, of the days before.

What the user names (``--profiles``) wins. What a source's calls do not tell, because the log was rotated away, the state that live
learners left in its folder may. Profiles are kept beside the log or lake (``CACHE``), each with a digest of the calls it was learned from,
and learned anew when those change.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracewrap import words
from tracewrap.errors import TracewrapError
from tracewrap.estimate.catalog import Catalog
from tracewrap.records import Call
from tracewrap.report.tables import queries
from tracewrap.report.tables.engines import Engine
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.sources.table import CALL_COLUMNS, call_from_row

if TYPE_CHECKING:
    from tracewrap.runtime.quiet.usable import Observation

logger = logging.getLogger("tracewrap")

LOOK_BACK_DAYS = 14
"""Days before the period whose calls are learned from too."""
CALLS = 1000
"""Calls learned from, of each kind: 2% at the quantile, and twenty a day over a fortnight and more."""
ALL_CALLS = 300_000
"""Calls learned from altogether; with more kinds, each gets fewer."""
CACHE = ".learned.json"
MAX_KEPT = 5000
SCHEMA = "tracewrap.learned/1"


@dataclasses.dataclass(frozen=True, slots=True)
class Lesson:
    """What one deployment's calls told. ``profiles``: oldest first, the last one in force; empty: ``why`` says what is missing."""

    calls: int
    verdict: str
    profiles: tuple[RuntimeProfile, ...] = ()
    why: str = ""


Lessons = Mapping[str, Lesson]
"""By deployment key."""


def learn(engine: Engine, tables: Sequence[str], kinds: int, folders: Sequence[Path], known: Catalog) -> Lessons:
    """What the calls of *tables* tell of the deployments that *known* has no denoised profile of.

    *kinds*: distinct kinds of call in them. *folders*: of the sources, for the cache and for what live learners left there.
    Nothing is learned where numpy and scipy are missing: each lesson says so.
    """
    seen = _observed(engine, tables, kinds, known)
    cached = {digest: entry for folder in folders for digest, entry in _read_cache(folder).items()}
    digests = {key: _digest(key, found) for key, (_, found) in seen.items()}
    kept = {key: _lesson(cached.get(digest)) for key, digest in digests.items()}
    lessons = {key: lesson for key, lesson in kept.items() if lesson is not None}
    fresh = {key: _taught(key, model, found) for key, (model, found) in seen.items() if key not in lessons}
    lessons |= fresh
    if fresh and folders and all(lesson.verdict != "not learned" for lesson in fresh.values()):
        _write_cache(folders[0], {digests[key]: lesson for key, lesson in fresh.items()})
    return _with_states(lessons, folders)


def with_lessons(catalog: Catalog, lessons: Lessons) -> Catalog:
    """*catalog* with what was learned; profiles that it had already win."""
    taught = {
        key: lesson.profiles for key, lesson in lessons.items() if lesson.profiles and key not in catalog.denoised
    }
    return dataclasses.replace(
        catalog,
        denoised={**catalog.denoised, **{key: profiles[-1] for key, profiles in taught.items()}},
        earlier={**catalog.earlier, **{key: profiles[:-1] for key, profiles in taught.items() if len(profiles) > 1}},
    )


def _observed(
    engine: Engine, tables: Sequence[str], kinds: int, known: Catalog
) -> dict[str, tuple[str, list[Observation]]]:
    """Usable calls by deployment key, beside the model's name; empty without the packages that learning needs."""
    names = [name for name in CALL_COLUMNS if name not in ("tags", "finish_reasons")]
    each = max(min(CALLS, ALL_CALLS // max(kinds, 1)), 50)
    out: dict[str, tuple[str, list[Observation]]] = {}
    for row in engine.rows(queries.sample_query(tables, names, each)):
        values = dict(zip(names, row, strict=True))
        call = call_from_row([values.get(name) for name in CALL_COLUMNS])
        key = call.deployment.key
        if key not in known.denoised:
            _, found = out.setdefault(key, (call.model or "", []))
            if (observation := _observation(call)) is not None:
                found.append(observation)
    return out


def _observation(call: Call) -> Observation | None:
    try:
        from tracewrap.runtime.quiet.usable import Observation
    except ImportError:
        return None
    return Observation.of(call)


def _taught(key: str, model: str, seen: Sequence[Observation]) -> Lesson:
    """What *seen* tells of the deployment *key*."""
    try:
        from tracewrap.runtime.quiet.dated import denoise_levels
        from tracewrap.runtime.quiet.denoise import MIN_CALLS
    except ImportError:
        return Lesson(0, "not learned", why="learning needs numpy and scipy: pip install 'tracewrap[fit]'")
    if len(seen) < MIN_CALLS:
        missing = words.counted(MIN_CALLS - len(seen), "more usable call")
        return Lesson(len(seen), "too_few", why=f"{missing} needed (of {MIN_CALLS})")
    *before, newest = [level.result for level in denoise_levels(seen, id=key, model=model)]
    if newest.profile is None or newest.verdict == "saturated":
        return Lesson(len(seen), newest.verdict, why="; ".join(newest.messages))
    earlier = [result.profile for result in before if result.profile is not None]
    return Lesson(len(seen), newest.verdict, (*earlier, newest.profile), "; ".join(newest.messages))


def _with_states(lessons: dict[str, Lesson], folders: Sequence[Path]) -> Lessons:
    """*lessons*, and where they hold no profile, what live learners knew when they last wrote to *folders*."""
    if all(lesson.profiles for lesson in lessons.values()):
        return lessons
    for folder in folders:
        if next(folder.glob(".denoiser-*.json"), None) is None:
            continue
        from tracewrap.learn.learner import Denoiser

        learner = Denoiser()
        learner.load(folder)
        try:
            learner.refit()
        except ImportError:
            return lessons
        earlier = learner.earlier()
        for key, profile in learner.snapshot().items():
            if key in lessons and not lessons[key].profiles:
                lessons[key] = Lesson(lessons[key].calls, "ok", (*earlier.get(key, ()), profile))
    return lessons


def _digest(key: str, seen: Sequence[Observation]) -> str:
    """What identifies the calls *seen* of the deployment *key* and the way they are learned from."""
    text = json.dumps([SCHEMA, version("tracewrap"), key, [dataclasses.astuple(one) for one in seen]], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_cache(folder: Path) -> dict[str, Any]:
    """Entries by digest; nothing where the file is missing, damaged or of another version."""
    try:
        data = read_json(folder / CACHE)
        entries = data["entries"] if data.get("schema") == SCHEMA else {}
        return {digest: entry for digest, entry in entries.items() if isinstance(entry, dict)}
    except (OSError, TracewrapError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _lesson(entry: Any) -> Lesson | None:
    """The lesson of a cache's *entry*; None where there is none or it is damaged."""
    try:
        profiles = tuple(RuntimeProfile.from_dict(one, CACHE) for one in entry["profiles"])
        return Lesson(int(entry["calls"]), str(entry["verdict"]), profiles, str(entry["why"]))
    except (TracewrapError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _write_cache(folder: Path, lessons: Mapping[str, Lesson]) -> None:
    """Add *lessons* to the folder's cache, newest kept; a folder that cannot be written to keeps none."""
    fresh = {
        digest: {
            "saved_unix_s": time.time(),
            "calls": lesson.calls,
            "verdict": lesson.verdict,
            "why": lesson.why,
            "profiles": [profile.to_dict() for profile in lesson.profiles],
        }
        for digest, lesson in lessons.items()
    }
    entries = _read_cache(folder) | fresh
    newest = sorted(entries, key=lambda digest: -float(entries[digest].get("saved_unix_s") or 0.0))[:MAX_KEPT]
    try:
        write_whole(folder / CACHE, to_json({"schema": SCHEMA, "entries": {name: entries[name] for name in newest}}))
    except (OSError, TracewrapError) as error:
        logger.info("%s: what was learned is not kept there (%s)", folder, error)
