"""Denoised profiles learned from the calls at hand: those of the period and, where the source has them, of the days before.

What the user names (``--profiles``) wins. What a source's calls do not tell, because the log was rotated away, the state that live
learners left in its folder may. Profiles are kept beside the log or lake (``lesson_cache``) and learned anew when the calls change.

Learning has a time, ``LEARN_S``: deployments nobody learned yet come first, then those learned longest ago (whole days), among equals
the most used. What is not reached is described by what an earlier report learned of it, or is said not to be learned.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracewrap import words
from tracewrap.estimate.catalog import Catalog
from tracewrap.learn.many import Pupil, learn_many
from tracewrap.learn.shared_files import Learned, SharedFiles
from tracewrap.report.tables.drawing import Drawn, Wanted, drawn_calls
from tracewrap.report.tables.engines import Engine
from tracewrap.report.tables.lesson_cache import Kept, Lesson, digest_of, read_kept, write_kept
from tracewrap.runtime.quiet.usable import Row
from tracewrap.sources.progress import Progress

LOOK_BACK_DAYS = 14
"""Days before the period whose calls are learned from too."""
LEARN_S = 15.0
"""Seconds after which no other deployment is learned."""
WANTED = Wanted(most=1000, altogether=300_000, least=50)
"""Calls learned from: 2% at the quantile, and twenty a day over a fortnight and more."""
MIN_CALLS = 20
"""As ``runtime.quiet.denoise`` has it; known here without numpy."""
NO_TIME = "no time was left to learn; the next report goes on, --learn-seconds gives more"

Lessons = Mapping[str, Lesson]
"""By deployment key."""


def learn(
    engine: Engine, tables: Sequence[str], folders: Sequence[Path], known: Catalog, within_s: float = LEARN_S
) -> Lessons:
    """What the calls of *tables* tell of the deployments that *known* has no denoised profile of.

    *folders*: of the sources, for the cache and for what live learners left there. Nothing is learned where numpy and scipy are
    missing: each lesson says so.
    """
    until = time.monotonic() + within_s
    seen = drawn_calls(engine, tables, WANTED, known=known.denoised)
    kept = Kept.merged(read_kept(folder) for folder in folders)
    digests = {key: digest_of(key, one.rows) for key, one in seen.items()}
    lessons = {key: lesson for key, digest in digests.items() if (lesson := kept.same(digest)) is not None}
    waiting = {key: one for key, one in seen.items() if key not in lessons}
    lessons |= {key: _too_few(len(one.rows)) for key, one in waiting.items() if len(one.rows) < MIN_CALLS}
    waiting = {key: one for key, one in waiting.items() if key not in lessons}
    taught = _taught(waiting, kept, until)
    if taught and folders:
        write_kept(folders[0], {digests[key]: (key, lesson) for key, lesson in taught.items()})
    lessons |= {key: taught.get(key) or _earlier(kept, key, one.rows) for key, one in waiting.items()}
    return lessons | _from_states(lessons, folders, until)


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


def _too_few(calls: int) -> Lesson:
    missing = words.counted(MIN_CALLS - calls, "more usable call")
    return Lesson(calls, "too_few", why=f"{missing} needed (of {MIN_CALLS})")


def _taught(waiting: Mapping[str, Drawn], kept: Kept, until: float) -> dict[str, Lesson]:
    """What there was time to learn of the deployments *waiting*, by key; *until*: on the monotonic clock."""

    def turn(key: str) -> tuple[int, int]:
        """Never learned before learned; then by the day of that; then the most used."""
        return kept.day(key), -waiting[key].calls

    pupils = [Pupil(key, waiting[key].model, waiting[key].rows) for key in sorted(waiting, key=turn)]
    with Progress() as progress:

        def told(count: int) -> None:
            progress.show(f"learning the quiet day of {count} of {words.counted(len(pupils), 'deployment')}")

        try:
            done = learn_many(pupils, max(0.0, until - time.monotonic()), told=told)
        except ImportError:
            why = "learning needs numpy and scipy: pip install 'tracewrap[fit]'"
            return {key: Lesson(0, "not learned", why=why) for key in waiting}
    return {key: Lesson.of(len(waiting[key].rows), levels) for key, levels in done.items()}


def _earlier(kept: Kept, key: str, rows: Sequence[Row]) -> Lesson:
    """What an earlier report learned of the deployment *key*, if that was from calls of the days of *rows*; or that nothing is learned."""
    lesson = kept.latest(key)
    if lesson is not None and lesson.profiles:
        facts = lesson.profiles[-1].fit
        since_s, until_s = float(facts.get("since_unix_s", 0.0)), float(facts.get("until_unix_s", 0.0))
        if since_s <= rows[-1].start_time_s and until_s >= rows[0].start_time_s:
            return lesson
    return Lesson(len(rows), "not learned", why=NO_TIME)


def _from_states(lessons: Lessons, folders: Sequence[Path], until: float) -> dict[str, Lesson]:
    """What the calls that live learners left in *folders* tell of deployments of which the calls at hand tell too little."""
    lacking = {key for key, lesson in lessons.items() if lesson.verdict in ("too_few", "saturated")}
    left: dict[str, list[Learned]] = {}
    for folder in folders if lacking else ():
        for key, learned in SharedFiles().load(folder):
            if key in lacking:
                left.setdefault(key, []).append(learned)
    pupils, earlier = [], {}
    for key, several in left.items():
        newest = max(several, key=lambda one: one.since_s)
        rows = sorted({row for one in several for row in one.rows if row.start_time_s >= newest.since_s})
        earlier[key] = newest.earlier
        if len(rows) >= MIN_CALLS:
            pupils.append(Pupil(key, newest.model, rows))
    try:
        done = learn_many(pupils, max(0.0, until - time.monotonic()))
    except ImportError:
        return {}
    found = {key: Lesson.of(lessons[key].calls, levels) for key, levels in done.items()}
    return {
        key: dataclasses.replace(lesson, profiles=(*earlier[key], *lesson.profiles))
        for key, lesson in found.items()
        if lesson.profiles
    }
