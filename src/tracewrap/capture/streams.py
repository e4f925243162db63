"""Reading a stream as it passes, without changing it: the consumer keeps the SDK's own object.

An SDK stream iterates over its ``_iterator``; we put a reader round that iterator and hook ``close`` of the HTTP response, so
that every end (exhausted, closed, broken, cancelled, abandoned) finishes the span exactly once. Per chunk: two clock
reads and an append; what the chunks say is read once, at the end. Every few chunks those that carry text alone are let go.

The consumer's time: while the server is still generating, a busy consumer delays nothing. A read that has to wait shows that the server
was behind until then, so only the consumer's time since the last such read can have delayed the end; only that is taken off. On a busy
machine a read of what is there can take as long as a short wait: against much consumer's time one short wait proves nothing, several do.
"""

from __future__ import annotations

import _thread
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tracewrap import systems
from tracewrap.capture import stream_usage
from tracewrap.capture.call import OpenCall, finish, outcome_of
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.hidden import has_hidden_shape
from tracewrap.capture.state import drop, state
from tracewrap.records import Outcome
from tracewrap.vendors.adapter import Reply

WAITED_S = 0.001
"""A read that takes longer had to wait for the server; parsing what is there takes a tenth of it."""
_PROVES = 0.05
"""A wait of this share of the consumer's time before it shows that the server was behind."""
_PROVE = 3
"""As many shorter ones show it too."""
_FOLDED_EVERY = 16
_LAST_CHUNKS = 4
_MAX_NOTABLE = 64
_MAX_GAPS = 10_000
_MAX_CONTENT_CHUNKS = 50_000

_open: weakref.WeakSet[Reader] = weakref.WeakSet()
"""Readers whose stream may not have ended."""


def any_open() -> bool:
    """Whether a stream is being read."""
    return any(reader.call.live for reader in list(_open))


def end_open() -> None:
    """The program ends: a stream that is still open is a partial call, not a lost one."""
    for reader in list(_open):
        try:
            reader.end("partial", reader.left)
        except Exception:
            drop("a stream that was open at the end")


def _forget_in_child() -> None:
    """The streams that were open before a fork are the parent's calls."""
    for reader in list(_open):
        reader.call.live.clear()
    _open.clear()


systems.at_fork(after_in_child=_forget_in_child)


class Reader:
    """What a passing stream tells: first chunk, notable and last chunks, count, times. Base of the sync and async readers.

    ``left``: when the consumer was last handed control; time from there to its next read is the consumer's.
    ``consumer``: that time, summed since the last read that had to wait.
    """

    __slots__ = (
        "__weakref__",
        "all",
        "before_first",
        "call",
        "consumer",
        "count",
        "first",
        "first_at",
        "gaps",
        "gone",
        "hides",
        "iterator",
        "kept",
        "left",
        "notable",
        "reading",
        "waits",
    )

    def __init__(self, call: OpenCall, iterator: Any, hides: Callable[[Any], bool] | None = None):
        self.call = call
        self.iterator = iterator
        self.hides = hides
        self.first: Any = None
        self.kept: list[Any] = []
        self.notable: list[Any] = []
        self.count = 0
        self.first_at: float | None = None
        self.consumer = 0.0
        self.waits = 0
        self.before_first = 0.0
        self.gaps: list[float] | None = [] if state.chunk_gaps else None
        self.all: list[Any] | None = [] if state.content else None
        """Chunks let go of, where message content is wanted."""
        self.reading = False
        self.gone = False
        if call.phases is not None:
            call.phases.head = True
        self.left = perf_counter()
        _open.add(self)

    @property
    def untouched(self) -> bool:
        """Whether nobody has begun to read, and this reader is the one to."""
        return not (self.reading or self.count or self.gone) and bool(self.call.live)

    def give_way(self) -> None:
        """The answer is read by another reader: nothing that happens here ends the call."""
        self.gone = True
        _open.discard(self)

    def stopped(self, entered: float, error: BaseException) -> None:
        """The read that began at *entered* raised *error*: the stream is exhausted, cancelled or broken."""
        self.reading = False
        if isinstance(error, StopIteration | StopAsyncIteration):
            self.end("complete", self.left)  # the last chunk received was its end
        else:
            now = perf_counter()
            self.count_consumer(entered, now)
            self.end(outcome_of(error), now, error)

    def count_consumer(self, entered: float, now: float) -> None:
        """The consumer had control until a read began, at *entered*; it brought something, or failed, at *now*."""
        held, wait = self.consumer + (entered - self.left), now - entered
        if wait > WAITED_S:
            self.waits += 1
            if wait > _PROVES * held or self.waits >= _PROVE:
                held, self.waits = 0.0, 0
        self.consumer = held

    def note_gap(self, entered: float, now: float, left: float, last: float) -> None:
        """A chunk after that of *last* came by the read from *entered* to *now*; the consumer had control from *left* on.

        When a chunk came that the consumer was too busy to read, nobody knows.
        """
        gaps = self.gaps
        if gaps is not None and len(gaps) < _MAX_GAPS and (now - entered > WAITED_S or entered - left <= WAITED_S):
            gaps.append(now - last)

    def closed(self) -> None:
        """The HTTP response was closed: by the consumer before the end, or by the SDK while we read (then the read's own end follows)."""
        if not self.reading:
            self.end("partial", self.left)

    def end(self, outcome: Outcome, ended: float, error: BaseException | None = None) -> None:
        """Finish the span with what was seen; a second end is ignored."""
        if self.gone or not self.call.live:
            return
        try:
            reply = self.reply()
            if self.all is not None:
                self.call.said = self.said()
        except Exception:
            drop("reading a stream's chunks")
            reply = Reply()
        whole = outcome == "complete" or self.saw_end_mark
        if outcome == "partial" and (reply.finish_reasons or reply.outcome == "error"):
            outcome = "complete"  # the model had finished; only the end-of-stream mark was left unread
        finish(
            self.call,
            reply,
            ended=ended,
            outcome=outcome,
            error=error,
            first_chunk=self.first_at,
            consumer_s=self.consumer,
            consumer_before_first_s=self.before_first,
            chunk_gaps_s=self.gaps or (),
        )
        if whole and self.call.request.asks_usage is not None and self.call.asked is None:
            stream_usage.seen(self.call, reply.usage is not None and reply.usage.source == "reported")

    @property
    def saw_end_mark(self) -> bool:
        """Whether the server said that the stream is whole, which its consumer may take for the end of reading."""
        return False

    def reply(self) -> Reply:
        """What the chunks say."""
        self.fold()
        return self.call.adapter.read_stream(self.first, self.notable + self.kept, self.count)

    def said(self) -> Callable[[], Sequence[Any]]:
        """What gives all chunks, for those who want message content; it holds nothing else."""
        return [*(self.all or ()), *self.kept].copy

    def fold(self) -> None:
        """Let go of the chunks that carry text alone, but the last ones; of endless notable ones keep the first and the last."""
        older, self.kept = self.kept[:-_LAST_CHUNKS], self.kept[-_LAST_CHUNKS:]
        if self.all is not None and len(self.all) < _MAX_CONTENT_CHUNKS:
            self.all += older
        is_notable = self.call.adapter.is_notable
        self.notable += [chunk for chunk in older if is_notable(chunk)]
        if len(self.notable) > _MAX_NOTABLE:
            self.notable[8 : len(self.notable) - _MAX_NOTABLE + 8] = []

    def __del__(self) -> None:
        try:
            if self.call.live and not self.gone:
                _end_abandoned(self)
        except Exception:
            return


def _end_abandoned(reader: Reader) -> None:
    """End an abandoned stream's span from a finalizer.

    A finalizer can run inside any allocation, so inside a lock that ending a span would take again: end it on a bare thread and
    wait only briefly, which is long enough unless this very thread holds such a lock.
    """
    gate = _thread.allocate_lock()
    gate.acquire()

    def work() -> None:
        try:
            reader.end("partial", reader.left)
        except Exception:
            drop("abandoned stream")
        finally:
            gate.release()

    _thread.start_new_thread(work, ())
    gate.acquire(timeout=0.2)


class StreamReader(Reader):
    """Iterator around an SDK stream's iterator."""

    __slots__ = ()

    def __iter__(self) -> StreamReader:
        return self

    def __next__(self) -> Any:
        while True:
            self.reading = True
            entered = perf_counter()
            try:
                chunk = self.iterator.__next__()
            except BaseException as error:
                with suppress(Exception):
                    self.stopped(entered, error)
                raise
            self.reading = False
            now = perf_counter()
            try:
                self.count_consumer(entered, now)
            except Exception:
                self.consumer = 0.0
            if self.gaps is not None and self.count:
                self.note_gap(entered, now, self.left, self.left)
            self.left = now
            if not self.count:
                self.first, self.first_at, self.before_first = chunk, now, self.consumer
            self.count += 1
            self.kept.append(chunk)
            if len(self.kept) > _FOLDED_EVERY:
                with suppress(Exception):
                    self.fold()
            if self.hides is None:
                return chunk
            try:
                if not self.hides(chunk):
                    return chunk
            except Exception:
                if not has_hidden_shape(self.call.adapter, chunk):
                    return chunk

    def close(self) -> None:
        """As a generator's close."""
        self.iterator.close()
        with suppress(Exception):
            self.closed()


class AsyncStreamReader(Reader):
    """Async iterator around an SDK stream's async iterator."""

    __slots__ = ()

    def __aiter__(self) -> AsyncStreamReader:
        return self

    async def __anext__(self) -> Any:
        while True:
            self.reading = True
            entered = perf_counter()
            try:
                chunk = await self.iterator.__anext__()
            except BaseException as error:
                with suppress(Exception):
                    self.stopped(entered, error)
                raise
            self.reading = False
            now = perf_counter()
            try:
                self.count_consumer(entered, now)
            except Exception:
                self.consumer = 0.0
            if self.gaps is not None and self.count:
                self.note_gap(entered, now, self.left, self.left)
            self.left = now
            if not self.count:
                self.first, self.first_at, self.before_first = chunk, now, self.consumer
            self.count += 1
            self.kept.append(chunk)
            if len(self.kept) > _FOLDED_EVERY:
                with suppress(Exception):
                    self.fold()
            if self.hides is None:
                return chunk
            try:
                if not self.hides(chunk):
                    return chunk
            except Exception:
                if not has_hidden_shape(self.call.adapter, chunk):
                    return chunk

    async def aclose(self) -> None:
        """As an async generator's aclose."""
        await self.iterator.aclose()
        with suppress(Exception):
            self.closed()


def hook_close(response: Any, reader: Reader) -> None:
    """Tell *reader* when the HTTP *response* is closed, whoever closes it; the response keeps its type and identity."""
    # Weakly: the response must not keep alive a stream that its consumer has dropped.
    reference = weakref.ref(reader)

    def closed() -> None:
        with suppress(Exception):
            alive = reference()
            if alive is not None:
                alive.closed()

    if hasattr(response, "aclose"):
        aclose = response.aclose

        async def closing_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await aclose(*args, **kwargs)
            finally:
                closed()

        response.aclose = closing_async
    if hasattr(response, "close"):
        close = response.close

        def closing(*args: Any, **kwargs: Any) -> Any:
            try:
                return close(*args, **kwargs)
            finally:
                closed()

        response.close = closing
