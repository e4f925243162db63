"""Denoiser: learns denoised profiles in the background from the calls that pass the exporter.

``observe`` runs on the exporting thread: a dictionary look-up and an append. A daemon thread refits what has news, publishes an
immutable snapshot, and leaves both in the span log's folder, where other processes of the service find them.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tracewrap import systems
from tracewrap.errors import TracewrapError
from tracewrap.forks import undisturbed
from tracewrap.records import Call
from tracewrap.runtime.files import read_json, to_json, write_whole
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.drift import DAY_S

if TYPE_CHECKING:
    from tracewrap.runtime.quiet.denoise import Observation

logger = logging.getLogger("tracewrap")

MAX_CALLS = 350
"""Observations kept per deployment: enough for 2% at the quantile, and 10,000 deployments stay under 500 MB."""
MAX_DEPLOYMENTS = 10_000
REFIT_INTERVAL_S = 30.0
MIN_NEWS = 10
SHARE_EVERY = 10
MAX_EARLIER = 20
"""Profiles of earlier levels kept per deployment."""
SCHEMA = "tracewrap.denoiser/1"
Row = tuple[float, int, int, float, float | None]
"""(start_time_s, input_tokens, output_tokens, runtime_s, time_to_first_chunk_s)."""


class Reservoir:
    """A bounded set of calls that keeps the spread of token counts and favours recent ones.

    When full, the newcomer replaces one of its own cell (powers of two of p and o) if that cell holds more than its share, else the
    oldest of three calls drawn at random.
    """

    __slots__ = ("model", "news", "rows", "seen")

    def __init__(self, model: str) -> None:
        self.model = model
        self.rows: list[Row] = []
        self.seen = 0
        self.news = 0

    def add(self, row: Row, dice: random.Random) -> None:
        """Take *row* in."""
        self.seen += 1
        self.news += 1
        if len(self.rows) < MAX_CALLS:
            self.rows.append(row)
            return
        self.rows[self._victim(row, dice)] = row

    def _victim(self, row: Row, dice: random.Random) -> int:
        drawn = [dice.randrange(MAX_CALLS) for _ in range(3)]
        cell = (row[1].bit_length(), row[2].bit_length())
        same = [i for i in drawn if (self.rows[i][1].bit_length(), self.rows[i][2].bit_length()) == cell]
        return min(same or drawn, key=lambda i: self.rows[i][0])


class Denoiser:
    """Bounded memory, one background thread, immutable snapshots. Safe to fork: the child starts its own thread.

    *folder*: where the processes of a service leave what they saw for each other, every ``SHARE_EVERY`` refits.
    """

    def __init__(
        self,
        interval_s: float = REFIT_INTERVAL_S,
        seed: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self._folder = folder
        self._read: dict[str, tuple[float, dict[str, list[Row]]]] = {}
        self._reservoirs: dict[str, Reservoir] = {}
        self._shared: dict[str, list[Row]] = {}
        self._snapshot: Mapping[str, RuntimeProfile] = MappingProxyType({})
        self._earlier: dict[str, tuple[RuntimeProfile, ...]] = {}
        self._since_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._dice = random.Random(seed)
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = True
        self.dropped = 0
        """Calls of deployments beyond ``MAX_DEPLOYMENTS``."""
        systems.at_fork(after_in_child=self._after_fork)

    def observe(self, call: Call) -> None:
        """Take note of a call; bounded, no estimate here."""
        if self._thread is None and not self._stopped:
            self.start()  # a forked child's first call
        usage, seconds = call.usage, call.last_attempt_s
        if call.outcome != "complete" or usage is None or usage.source != "reported" or not seconds:
            return
        p, o = usage.input_tokens, usage.output_tokens
        if p is None or not o or (call.consumer_s or 0.0) > seconds or 10 * (usage.cached_input_tokens or 0) > p:
            return
        if 10 * (usage.accepted_prediction_output_tokens or 0) > o:
            return
        if call.operation not in ("chat", "text_completion", "generate_content"):
            return
        first = call.time_to_first_chunk_s
        row = (call.start_time_ns / 1e9, p, o, seconds, None if first is None else max(0.0, first - call.retry_s))
        key = call.deployment.key
        with self._lock:
            reservoir = self._reservoirs.get(key)
            if reservoir is None:
                if len(self._reservoirs) >= MAX_DEPLOYMENTS:
                    self.dropped += 1
                    return
                reservoir = self._reservoirs[key] = Reservoir(call.model or "")
            reservoir.add(row, self._dice)

    def snapshot(self) -> Mapping[str, RuntimeProfile]:
        """Denoised profiles by deployment key; the same object until there are newer ones."""
        return self._snapshot

    def refit(self) -> None:
        """Refit every deployment with news and publish the next snapshot."""
        from tracewrap.runtime.quiet.dated import denoise_levels

        with self._lock:
            due = {
                key: (reservoir.model, list(reservoir.rows))
                for key, reservoir in self._reservoirs.items()
                if reservoir.news >= min(MIN_NEWS, max(1, reservoir.seen))
            }
            for key in due:
                self._reservoirs[key].news = 0
        learned = {}
        for key, (model, rows) in due.items():
            since_s = self._since_s.get(key, 0.0)
            seen = [_observation(row) for row in [*rows, *self._shared.get(key, ())] if row[0] >= since_s]
            *before, newest = denoise_levels(seen, id=key, model=model)
            if newest.result.profile is None or newest.result.verdict not in ("ok", "not_identifiable"):
                continue
            learned[key] = newest.result.profile
            if newest.change is not None:  # calls of the old level say nothing of the new one
                self._since_s[key] = newest.change.since_day * DAY_S
                known = [level.result.profile for level in before if level.result.profile is not None]
                self._earlier[key] = (*self._earlier.get(key, ()), *known)[-MAX_EARLIER:]
        if learned:
            self._snapshot = MappingProxyType({**self._snapshot, **learned})

    def earlier(self) -> Mapping[str, tuple[RuntimeProfile, ...]]:
        """Profiles that held before a drift, oldest first, by deployment key; ``fit`` has the dates of their calls."""
        return dict(self._earlier)

    def start(self) -> None:
        """Begin refitting in the background."""
        self._stopped = False
        self._wake.clear()
        self._thread = threading.Thread(target=self._work, name="tracewrap-denoiser", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread; what was learned stays in the snapshot."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        self._thread = None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Leave the observations of this process in *folder*, whole or not at all, for the next process and for its siblings."""
        with self._lock:
            data = {
                "schema": SCHEMA,
                "saved_unix_s": time.time(),
                "deployments": {
                    key: {"model": reservoir.model, "rows": list(reservoir.rows), **self._drifted(key)}
                    for key, reservoir in self._reservoirs.items()
                },
            }
        if not data["deployments"]:
            return
        target = Path(folder) / f".denoiser-{os.getpid()}.json"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, to_json(data))
            _prune(Path(folder))
        except (OSError, TracewrapError) as error:
            logger.warning("denoiser state was not saved in %s (%s)", folder, error)

    def _drifted(self, key: str) -> dict[str, Any]:
        if key not in self._since_s:
            return {}
        earlier = [profile.to_dict() for profile in self._earlier.get(key, ())]
        return {"since_unix_s": self._since_s[key], "earlier": earlier}

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Take in what processes of this service have left in *folder*; unreadable files are passed over."""
        own = f".denoiser-{os.getpid()}.json"
        paths = [path for path in sorted(Path(folder).glob(".denoiser-*.json")) if path.name != own]
        self._read = {path.name: self._read[path.name] for path in paths if path.name in self._read}
        for path in paths:
            try:
                written = path.stat().st_mtime
                if path.name not in self._read or self._read[path.name][0] != written:
                    self._read[path.name] = (written, {})
                    self._read[path.name] = (written, self._taken(path))
            except (OSError, TracewrapError, KeyError, TypeError, ValueError, IndexError, AttributeError):
                logger.warning("denoiser state %s cannot be read; it is ignored", path)
        shared: dict[str, list[Row]] = {}
        for _, found in self._read.values():
            for key, rows in found.items():
                shared.setdefault(key, []).extend(rows)
        self._shared = {key: sorted(rows)[-MAX_CALLS:] for key, rows in shared.items()}

    def _taken(self, path: Path) -> dict[str, list[Row]]:
        """The observations in one state file, by deployment; each counts as news."""
        found: dict[str, list[Row]] = {}
        for key, entry in read_json(path)["deployments"].items():
            found[key] = [(float(r[0]), int(r[1]), int(r[2]), float(r[3]), r[4]) for r in entry["rows"]]
            if entry.get("since_unix_s", 0.0) > self._since_s.get(key, 0.0):
                self._since_s[key] = float(entry["since_unix_s"])
                self._earlier[key] = tuple(RuntimeProfile.from_dict(one, str(path)) for one in entry["earlier"])
            with self._lock:
                self._reservoirs.setdefault(key, Reservoir(str(entry["model"]))).news += MIN_NEWS
        return found

    def _work(self) -> None:
        for turn in itertools.count(1):
            if self._wake.wait(self._interval_s):
                return
            try:
                with undisturbed():
                    importlib.import_module("tracewrap.runtime.quiet.dated")
                self.refit()
                if self._folder is not None and turn % SHARE_EVERY == 0:
                    self.save(self._folder)
                    self.load(self._folder)
            except Exception:
                logger.warning("refitting denoised profiles failed", exc_info=True)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._reservoirs = {}
        self._read = {}
        self._thread = None


MAX_FILES = 32


def _prune(folder: Path) -> None:
    """Keep the newest states; a state file belongs to one process and outlives it."""
    files = sorted(folder.glob(".denoiser-*.json"), key=lambda path: path.stat().st_mtime)
    for path in files[:-MAX_FILES]:
        path.unlink(missing_ok=True)


def _observation(row: Row) -> Observation:
    from tracewrap.runtime.quiet.denoise import Observation

    return Observation(row[1], row[2], row[3], row[4], None, row[0])


__all__ = ["Denoiser", "Reservoir"]
