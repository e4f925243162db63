"""Background: the queue of recorded calls and what happens to each of them.

A call is joined, written to the span log, learned from, counted in metrics, shown, and exported if its trace is sampled.

put (caller's thread) -> queue -> one thread, in small batches: join -> span log, metrics, terminal
                                                                  \\-> each exporter's own queue and thread: sampled calls only
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span

from tracewrap import forks, semconv
from tracewrap.background import spans
from tracewrap.background.exports import Export, wait_all
from tracewrap.background.losses import Losses
from tracewrap.background.program import Program
from tracewrap.background.worker import Worker
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.records import CallRecord
from tracewrap.sinks import SpanLog, Terminal
from tracewrap.sinks.metrics import Metrics

logger = logging.getLogger("tracewrap")

BATCH = 256
LINGER_S = 0.2
"""A call is on disk so long after it ended: what kill -9 can cost."""
BREATH = 8
"""After so many calls the thread lets the program's threads run: some 0.4 ms of work."""
BREATH_S = 5e-5
NOTE_EVERY_S = 60.0
ANSWERS_KEPT = 10_000


@dataclass(slots=True, kw_only=True)
class Sinks:
    """Where calls go. ``shared_place``: the exporter whose receiver the program's own provider may export to as well."""

    span_log: SpanLog | None = None
    sampled_only: bool = False
    metrics: Metrics | None = None
    terminal: Terminal | None = None
    exports: list[Export] = field(default_factory=list)
    shared: Export | None = None
    shared_url: str | None = None
    naming: str = "latest"
    """Whose names exported spans have."""


class Background:
    """Takes recorded calls (``put``) until it is closed. *own*: the resource of calls whose record names none;
    *begun* is told of each span that the program's provider begins."""

    def __init__(
        self,
        join: LiveJoin,
        sinks: Sinks,
        losses: Losses,
        own: Resource,
        queue_size: int,
        begun: Callable[[Span], None],
    ) -> None:
        self._join, self._sinks, self._own = join, sinks, own
        self.losses = losses
        self.program = Program(self, sinks.shared_url, begun)
        self._closing = False
        self._noted_s = 0.0
        self._worker: Worker[CallRecord | ReadableSpan] = Worker(
            "calls",
            self._work,
            limit=queue_size,
            batch=BATCH,
            linger_s=LINGER_S,
            refused=lambda count: losses.add("span_log", "queue_full", count),
        )
        self.first_call: Callable[[], None] | None = None
        """Called with the first call of a process, on its thread; a forked child's first call too."""
        self._started = False
        self._answered: dict[str, None] = {}
        """Ids of the last answers that capture recorded."""
        self._sampling = False
        """A call of this process was not sampled: those that are exported are a sample."""
        self._reset()
        forks.in_child(self._reset)

    def _reset(self) -> None:
        self._started = False
        self._noted_s = time.monotonic()

    def put(self, record: CallRecord) -> None:
        """Take a finished call, on the caller's thread: never blocks, never raises."""
        if not self._started:
            self._started = True
            if self.first_call is not None:
                self.first_call()
            for export in self._sinks.exports:
                export.start()
        self._worker.put(record)

    put_record = put

    def put_span(self, span: ReadableSpan) -> None:
        """Any other span of the program's provider: logged and exported as it is, but not twice to one receiver."""
        if self._sinks.span_log is not None:
            self._worker.put(span)
        for export in self._targets(program_span=True):
            export.put(lambda: span)

    @property
    def waiting(self) -> bool:
        """Whether something would be lost if the process ended now."""
        return not self._worker.idle or any(export.waiting for export in self._sinks.exports)

    @property
    def here(self) -> bool:
        """Whether this very thread is at work on calls, so that it must not be asked to finish them."""
        return self._worker.here or any(export.here for export in self._sinks.exports)

    def flush(self, until: float) -> bool:
        """Deliver what was put, until the monotonic clock says *until*; whether everything was delivered."""
        self._worker.drain(until)
        wait_all(self._sinks.exports, until, close=False)
        if self._sinks.metrics is not None:
            self._sinks.metrics.force_flush(max(1, int((until - time.monotonic()) * 1000)))
        self._note_losses(now=True)
        return not self.waiting

    def close(self, until: float) -> None:
        """Deliver what was put until *until*, count what is left as lost and write that down; later calls are worked on at once."""
        self._closing = True
        self._worker.close()
        self._worker.drain(until)
        wait_all(self._sinks.exports, until, close=True)
        left = self._worker.take()
        if left:
            self.losses.add("span_log", "program_ended", len(left))
        if self._sinks.metrics is not None:
            self._sinks.metrics.shutdown(max(0.0, until - time.monotonic()))
        self._note_losses(now=True)

    def _targets(self, program_span: bool) -> Sequence[Export]:
        shared = self._sinks.shared
        if program_span and shared is not None and self.program.shared:
            return [export for export in self._sinks.exports if export is not shared]
        return self._sinks.exports

    def _work(self, batch: list[CallRecord | ReadableSpan]) -> None:
        others = [one for one in batch if isinstance(one, ReadableSpan)]
        written: list[tuple[str, str]] = []
        shown: list[tuple[str, dict[str, Any]]] = []
        for start in range(0, len(batch), BREATH):
            with forks.undisturbed():
                if start == 0:
                    self.program.look()
                for record in batch[start : start + BREATH]:
                    if isinstance(record, ReadableSpan):
                        continue
                    try:
                        self._one(record, written, shown)
                    except Exception:
                        self.losses.add("span_log", "bad_call")
                        logger.debug("a call could not be written", exc_info=True)
            if not self._closing:
                time.sleep(BREATH_S)
        if written and self._sinks.span_log is not None:
            self._write(self._sinks.span_log, written)
        if others and self._sinks.span_log is not None:
            self._sinks.span_log.export(others)
        if self._sinks.terminal is not None:
            self._sinks.terminal.show(shown)
        self._note_losses()

    def _one(self, record: CallRecord, written: list[tuple[str, str]], shown: list[tuple[str, dict[str, Any]]]) -> None:
        if self._told_again(record):
            return
        known = record.attributes
        if record.content is not None:
            known = {**known, **self._content(record.content)}
        attributes = dict(known)
        joined = self._join.joined(
            attributes, record.start_time_ns, lambda: spans.call_of_record(record, known, self._own)
        )
        attributes = attributes if joined is None else joined
        sinks = self._sinks
        self._sampling = self._sampling or not record.sampled
        marked = attributes | {semconv.SAMPLED: True} if self._sampling else attributes
        if sinks.span_log is not None and (record.sampled or not sinks.sampled_only):
            written.append(sinks.span_log.encoded(record, marked if sinks.sampled_only else attributes))
        if sinks.metrics is not None:
            seconds = (record.end_time_ns - record.start_time_ns) / 1e9
            sinks.metrics.record(attributes, seconds, spans.context_of(record), record.chunk_gaps_s)
        shown.append((record.name, attributes))
        if record.sampled:
            for export in self._targets(record.program_span):
                export.put(lambda: spans.readable(record, marked, self._own, sinks.naming))

    def _told_again(self, record: CallRecord) -> bool:
        """Whether *record* is another library's of an answer that capture recorded: it is exported as it is, and no second call.

        Its span was begun after the answer, or not where the call was made: only the answer's id tells that they are one.
        """
        answer = record.attributes.get(semconv.RESPONSE_ID)
        if not isinstance(answer, str):
            return False
        if not isinstance(record, spans.SpanRecord):
            self._answered[answer] = None
            if len(self._answered) > ANSWERS_KEPT:
                del self._answered[next(iter(self._answered))]
            return False
        if answer not in self._answered:
            return False
        if record.sampled:
            for export in self._targets(program_span=True):
                export.put(lambda: record.span)
        return True

    @staticmethod
    def _content(content: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Message content, written here for the caller; none where it fails: the call is kept."""
        try:
            return content()
        except Exception:
            logger.debug("message content could not be written", exc_info=True)
            return {}

    def _write(self, log: SpanLog, written: list[tuple[str, str]]) -> None:
        try:
            log.write(written)
        except OSError as error:
            self.losses.add("span_log", _reason(error), len(written))

    def _note_losses(self, now: bool = False) -> None:
        """Say what was lost: in the log, and as a record in the span log once there is room."""
        self.losses.log(now and self._closing)
        clock = time.monotonic()
        if self._sinks.span_log is None or not (now or clock - self._noted_s >= NOTE_EVERY_S):
            return
        lost, since_ns = self.losses.unwritten()
        if not lost:
            return
        self._noted_s = clock
        try:
            rows = [(place, reason, count) for (place, reason), count in lost.items()]
            self._sinks.span_log.write_losses(rows, since_ns)
        except OSError:
            self.losses.not_written(lost, since_ns)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no_space"
    return "not_writable"


def enrich_inline(join: LiveJoin, program: Program | None) -> Any:
    """Joins on the caller's thread before the span ends: always (*program* None), or where the program exports to our receiver itself."""

    def enrich(span: Any, attributes: dict[str, Any]) -> dict[str, Any]:
        if program is not None and not program.look():
            return {}
        known = {**(getattr(span, "attributes", None) or {}), **attributes}
        joined = join.joined(known, getattr(span, "start_time", None) or 0, lambda: None)
        return known if joined is None else joined

    return enrich
