"""Denoiser: learns denoised profiles in the background from the calls that pass.

``observe`` runs on the thread that brings the calls and only sets their numbers aside. A daemon thread puts them where they belong, refits
what has news, publishes an immutable snapshot, and leaves what it saw in the span log's folder, where other processes find it.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tracewrap import systems
from tracewrap.forks import undisturbed
from tracewrap.learn.reservoir import MAX_CALLS, Reservoir
from tracewrap.learn.shared_files import Learned, SharedFiles
from tracewrap.records import Call, deployment_key
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quiet.drift import DAY_S
from tracewrap.runtime.quiet.usable import Row, usable_call, usable_row
from tracewrap.semconv import (  # by name: looked up for every call
    ACCEPTED_PREDICTION,
    CACHE_READ,
    CONSUMER,
    ERROR_TYPE,
    INPUT_TOKENS,
    OPENAI_SERVICE_TIER,
    OPERATION,
    OUTCOME,
    OUTPUT_TOKENS,
    PROCESSED_INPUT,
    PROCESSED_OUTPUT,
    PROVIDER,
    REGION,
    REQUEST_MODEL,
    REQUEST_STREAM,
    RESPONSE_MODEL,
    RETRY,
    RUNTIME_RAW,
    SERVER_ADDRESS,
    SERVER_PORT,
    SERVICE_TIER,
    SPEED,
    TIME_TO_FIRST_CHUNK,
    USAGE_SOURCE,
)

if TYPE_CHECKING:
    from tracewrap.runtime.quiet.dated import Level

logger = logging.getLogger("tracewrap")

MAX_DEPLOYMENTS = 10_000
MAX_KEY = 1_000
"""Characters of a deployment's name; longer names are no deployments."""
MOST_WAITING = 1024
"""Calls set aside at which the background thread puts them away before its next refit; at twice as many whoever brings the next does."""
REFIT_INTERVAL_S = 30.0
MIN_NEWS = 10
SHARE_EVERY = 10
MAX_EARLIER = 20
"""Profiles of earlier levels kept per deployment."""
STALE_DAYS = 14.0
"""Days after its newest call from which a profile is stale."""
_Named = tuple[str, str | None, int | None, str | None, str, bool, str | None, str | None, str | None]
"""A deployment by the parts of its key: a look-up by them takes a third of the time of making the key."""
_BELIEVED = ("ok", "not_identifiable", "few_hours", None)


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
        self._files = SharedFiles()
        self._reservoirs: dict[str, Reservoir] = {}
        self._by_name: dict[_Named, Reservoir] = {}
        self._waiting: deque[tuple[_Named, Row]] = deque()
        self._shared: dict[str, list[Row]] = {}
        self._snapshot: Mapping[str, RuntimeProfile] = MappingProxyType({})
        self._earlier: dict[str, tuple[RuntimeProfile, ...]] = {}
        self._since_s: dict[str, float] = {}
        self._failed: set[str] = set()
        self._lock = threading.Lock()
        self._dice = random.Random(seed)
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._thread: systems.OwnThread | None = None
        self._stopped = True
        self.dropped = 0
        """Calls of deployments beyond ``MAX_DEPLOYMENTS``, or with names beyond ``MAX_KEY``."""
        systems.at_fork(after_in_child=self._after_fork)

    def observe(self, call: Call) -> None:
        """Take note of a call; bounded, no estimate here."""
        row = usable_call(call)
        if row is not None:
            server = call.server_address, call.server_port
            chosen = call.service_tier, call.speed, call.region
            self._take((call.provider, *server, call.model, call.operation, call.stream, *chosen), row)

    def observe_attributes(self, attributes: Mapping[str, Any], start_time_ns: int) -> None:
        """Take note of a call by the attributes that tracewrap writes on its span, without the records between."""
        read = attributes.get
        if ERROR_TYPE in attributes or read(OUTCOME, "complete") != "complete":
            return
        if read(USAGE_SOURCE) != "reported":
            return
        operation = read(OPERATION, "")
        row = usable_row(
            operation,
            start_time_ns,
            read(RUNTIME_RAW),
            read(PROCESSED_INPUT, read(INPUT_TOKENS)),
            read(PROCESSED_OUTPUT, read(OUTPUT_TOKENS)),
            read(CACHE_READ),
            read(ACCEPTED_PREDICTION),
            read(TIME_TO_FIRST_CHUNK),
            read(RETRY),
            read(CONSUMER),
        )
        if row is None:
            return
        named = (
            attributes[PROVIDER],
            read(SERVER_ADDRESS),
            read(SERVER_PORT),
            read(RESPONSE_MODEL) or read(REQUEST_MODEL),
            operation,
            REQUEST_STREAM in attributes,
            read(SERVICE_TIER, read(OPENAI_SERVICE_TIER)),
            read(SPEED),
            read(REGION),
        )
        self._take(named, row)

    def _take(self, named: _Named, row: Row) -> None:
        if self._thread is None and not self._stopped:
            self.start()
        waiting = self._waiting
        waiting.append((named, row))
        if len(waiting) >= MOST_WAITING:
            if self._thread is None or len(waiting) >= 2 * MOST_WAITING:
                self._put_away()
            elif not self._wake.is_set():
                self._wake.set()

    def _put_away(self) -> None:
        """Every call set aside so far goes to its deployment's reservoir."""
        waiting = self._waiting
        with self._lock:
            for _ in range(len(waiting)):
                named, row = waiting.popleft()
                reservoir = self._by_name.get(named)
                if reservoir is None:
                    reservoir = self._reservoir(deployment_key(*named), named[3] or "")
                    if reservoir is None:
                        self.dropped += 1
                        continue
                    if len(self._by_name) < MAX_DEPLOYMENTS:
                        self._by_name[named] = reservoir
                reservoir.add(row, self._dice)

    def _reservoir(self, key: str, model: str) -> Reservoir | None:
        found = self._reservoirs.get(key)
        if found is None and len(key) <= MAX_KEY and len(self._reservoirs) < MAX_DEPLOYMENTS:
            found = self._reservoirs[key] = Reservoir(model)
        return found

    def snapshot(self) -> Mapping[str, RuntimeProfile]:
        """Denoised profiles by deployment key; the same object until there are newer ones."""
        return self._snapshot

    def earlier(self) -> Mapping[str, tuple[RuntimeProfile, ...]]:
        """Profiles that held before a drift, oldest first, by deployment key; ``fit`` has the dates of their calls."""
        return dict(self._earlier)

    def refit(self) -> None:
        """Refit every deployment with news and publish the next snapshot; one that cannot be fitted does not stop the others."""
        with undisturbed():  # a fork waits until the imports are whole
            from tracewrap.runtime.quiet.dated import denoise_levels

        self._put_away()
        with self._lock:
            due = [key for key, one in self._reservoirs.items() if one.news >= min(MIN_NEWS, max(1, one.seen))]
        learned = {}
        for key in due:
            with self._lock:
                reservoir = self._reservoirs[key]
                rows, reservoir.news = list(reservoir.rows()), 0
            try:
                levels = denoise_levels(self._observations(key, rows), id=key, model=reservoir.model)
                profile = self._taken(key, levels)
            except Exception:  # noqa: BLE001 - the other deployments are learned all the same
                self._report(key)
                continue
            if profile is not None:
                learned[key] = profile
        stale = self._newly_stale(learned)
        if learned or stale:
            self._snapshot = MappingProxyType({**self._snapshot, **stale, **learned})

    def _observations(self, key: str, rows: list[Row]) -> Any:
        from tracewrap.runtime.quiet.usable import Observation

        since_s, shared = self._since_s.get(key, 0.0), self._shared.get(key, [])
        if len(rows) + len(shared) > 2 * MAX_CALLS:
            shared = random.Random(key).sample(shared, max(MAX_CALLS, 2 * MAX_CALLS - len(rows)))
        return [Observation.of_row(row) for row in (*rows, *shared) if row.start_time_s >= since_s]

    def _taken(self, key: str, levels: list[Level]) -> RuntimeProfile | None:
        """The profile to publish for *key*: the newest level's, unless what is published is to be believed and this is not."""
        *before, newest = levels
        profile = newest.result.profile
        if profile is None:
            return None
        published = self._snapshot.get(key)
        if newest.result.verdict not in _BELIEVED and published is not None and published.verdict in _BELIEVED:
            return None
        if newest.change is not None:  # calls of the old level say nothing of the new one
            self._since_s[key] = newest.change.since_day * DAY_S
            known = [level.result.profile for level in before if level.result.profile is not None]
            self._earlier[key] = (*self._earlier.get(key, ()), *known)[-MAX_EARLIER:]
        return profile

    def _newly_stale(self, learned: Mapping[str, RuntimeProfile]) -> dict[str, RuntimeProfile]:
        """Published profiles that have become too old, saying so."""
        oldest = time.time() - STALE_DAYS * DAY_S
        return {
            key: dataclasses.replace(profile, verdict="stale")
            for key, profile in self._snapshot.items()
            if key not in learned
            and profile.verdict != "stale"
            and 0.0 < float(profile.fit.get("until_unix_s", 0.0)) < oldest
        }

    def _report(self, key: str) -> None:
        if key not in self._failed:
            self._failed.add(key)
            logger.warning("no denoised profile could be learned of %s", key[:200], exc_info=True)

    def start(self) -> None:
        """Begin refitting in the background: at once where calls of earlier processes were found."""
        self._stopped = False
        # Made now: threads may have become greenlets since (gevent), and a lock from before would stop them all.
        self._wake = threading.Event()
        if not self._lock.locked():
            self._lock = threading.Lock()
        self._thread = systems.OwnThread("denoiser", self._work)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the background thread, for which it waits *timeout_s* at most; what was learned stays in the snapshot."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._thread = None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Leave the observations of this process in *folder*, whole or not at all, for the next process and for its siblings."""
        self._put_away()
        with self._lock:
            held = {key: (one.model, list(one.rows())) for key, one in self._reservoirs.items() if len(one)}
        self._files.save(
            folder,
            {
                key: Learned(model, rows, self._since_s.get(key, 0.0), self._earlier.get(key, ()))
                for key, (model, rows) in held.items()
            },
        )

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Take in what processes of this service have left in *folder*; unreadable files are passed over."""
        for key, learned in self._files.load(folder):
            if learned.since_s > self._since_s.get(key, 0.0):
                self._since_s[key], self._earlier[key] = learned.since_s, learned.earlier
            with self._lock:
                reservoir = self._reservoir(key, learned.model)
                if reservoir is not None:
                    reservoir.news += len(learned.rows)
        self._shared = self._files.known()

    def _work(self) -> None:
        wait_s = 0.0 if self._shared else self._interval_s
        for turn in itertools.count(1):
            if not self._slept(wait_s):
                return
            wait_s = self._interval_s
            try:
                self.refit()
                if self._folder is not None and turn % SHARE_EVERY == 0:
                    self.save(self._folder)
                    self.load(self._folder)
            except Exception:
                logger.warning("refitting denoised profiles failed", exc_info=True)
            systems.out_of_sight()

    def _slept(self, wait_s: float) -> bool:
        """Whether there is more to do after so many seconds, in which calls that crowd are put away; False, at once, when stopped."""
        until_s = time.monotonic() + wait_s
        while self._wake.wait(max(0.0, until_s - time.monotonic())):
            self._wake.clear()  # before looking: a stop meanwhile sets it again
            if self._stopped:
                return False
            self._put_away()
        return not self._stopped

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._reservoirs, self._by_name, self._waiting = {}, {}, deque()
        self._files = SharedFiles()
        self._thread = (
            None  # started by the child's first call: under gevent starting one here would run the program twice
        )


__all__ = ["MAX_CALLS", "Denoiser", "Reservoir"]
