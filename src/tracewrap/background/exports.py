"""One exporter's own queue and thread: a receiver that is slow, down or refuses costs the others nothing, and what it loses is counted.

A batch that is worth trying again is kept and tried again, at first after half a second, at last every 30 s, for as long as the program
runs; meanwhile calls wait in the queue, and what finds it full is dropped. So a receiver that comes back gets what the queue kept.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan

from tracewrap import forks
from tracewrap.background.losses import Losses
from tracewrap.background.worker import Worker
from tracewrap.sinks.otlp import Delivery, Sender

logger = logging.getLogger("tracewrap")

Make = Callable[[], ReadableSpan]
"""Makes the span to export, on the exporting thread."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
_SUPPRESS = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


class Pace(NamedTuple):
    """How spans are collected for an exporter: queue length, spans a batch, seconds between batches."""

    limit: int = 20_000
    batch: int = 512
    linger_s: float = 5.0


def pace_of(queue_size: int, notes: list[str]) -> Pace:
    """How spans are collected: OTEL_BSP_* where they make sense, each that does not told in *notes*; *queue_size* where none is set."""
    usual = Pace(limit=queue_size)
    read = dict(_batch_variables(notes))
    limit = read.get("OTEL_BSP_MAX_QUEUE_SIZE", usual.limit)
    batch = read.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch)
    if batch > limit:
        notes.append(
            f"OTEL_BSP_MAX_QUEUE_SIZE={limit} is less than a batch of {batch}: batches of {limit} are exported"
        )
        batch = limit
    delay_ms = read.get("OTEL_BSP_SCHEDULE_DELAY")
    return Pace(limit, batch, usual.linger_s if delay_ms is None else delay_ms / 1000)


def _batch_variables(notes: list[str]) -> Iterator[tuple[str, int]]:
    for name in ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"):
        text = os.environ.get(name, "").strip()
        if text.isdigit() and 0 < int(text) < 2**31:
            yield name, int(text)
        elif text:
            notes.append(f"{name} is {text!r}, which is not used; set it to a whole number above 0")


class Export:
    """Sends spans to one place. *place*: its name among the losses."""

    def __init__(self, place: str, sender: Sender, losses: Losses, pace: Pace) -> None:
        self.place = place
        self._sender, self._losses = sender, losses
        self._worker: Worker[Make] = Worker(
            place,
            self._send,
            limit=pace.limit,
            batch=pace.batch,
            linger_s=pace.linger_s,
            refused=lambda count: losses.add(place, "queue_full", count),
        )
        self._reset()
        forks.in_child(self._reset)

    def _reset(self) -> None:
        self._ending = threading.Event()
        self._until = 0.0
        self._in_flight = 0

    def put(self, make: Make) -> None:
        """Queue a span."""
        self._worker.put(make)

    def start(self) -> None:
        """Start the thread now, while threads can still be started."""
        if not self._ending.is_set():
            self._ending = threading.Event()  # of the threads of now, which may be greenlets (gevent)
        self._worker.start()

    def hurry(self, last_until: float | None = None) -> None:
        """Begin to send what waits; *last_until*: the program ends, and waits until then at most."""
        if last_until is not None:
            self._until = last_until
            self._ending.set()
        self._worker.hurry()

    @property
    def here(self) -> bool:
        """Whether this very thread is sending."""
        return self._worker.here

    @property
    def waiting(self) -> int:
        """Spans that are not delivered yet."""
        return len(self._worker) + self._in_flight

    def flush(self, until: float) -> bool:
        """Send what waits until the monotonic clock says *until*; whether all was sent."""
        return self._worker.wait(until)

    def close(self, until: float) -> None:
        """Send what waits until *until*; count the rest as lost and stop. A receiver that is not there is not waited for."""
        self.hurry(until)
        self._worker.close()
        self._worker.wait(until)
        left = len(self._worker.take()) + self._in_flight
        if left:
            self._losses.add(self.place, "program_ended", left)
        else:
            self._sender.close()

    def _send(self, makes: Sequence[Make]) -> None:
        self._in_flight = len(makes)
        try:
            spans = [made for make in makes if (made := self._made(make)) is not None]
            for attempt in itertools.count():
                delivery = self._attempt(spans)
                if not delivery.lost:
                    return
                wait_s = delivery.retry_s
                if wait_s is None:
                    wait_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2**attempt)
                if not delivery.again or not self._worth(delivery, wait_s):
                    self._losses.add(self.place, delivery.reason, delivery.lost)
                    return
                self._losses.trouble(self.place, delivery.reason, self.waiting)
                if self._ending.is_set():
                    time.sleep(wait_s)
                else:
                    self._ending.wait(min(wait_s, LAST_RETRY_S))
        finally:
            self._in_flight = 0

    def _worth(self, delivery: Delivery, wait_s: float) -> bool:
        """Whether to try again: always while the program runs; when it ends, if the receiver is there and time is left."""
        if not self._ending.is_set():
            return True
        return delivery.reason.startswith("http_") and time.monotonic() + wait_s < self._until

    def _made(self, make: Make) -> ReadableSpan | None:
        try:
            return make()
        except Exception:  # noqa: BLE001 - one bad span does not cost the batch
            self._losses.add(self.place, "bad_span")
            return None

    def _attempt(self, spans: Sequence[ReadableSpan]) -> Delivery:
        token = otel_context.attach(otel_context.set_value(_SUPPRESS, True))
        try:
            return self._sender.send(spans)
        except Exception:
            logger.debug("export to %s failed", self.place, exc_info=True)
            return Delivery(len(spans), "error")
        finally:
            otel_context.detach(token)


def wait_all(exports: Sequence[Export], until: float, close: bool) -> None:
    """Flush or close *exports* side by side: all are told to begin before the first is waited for."""
    for export in exports:
        export.hurry(until if close else None)
    for export in exports:
        if close:
            export.close(until)
        else:
            export.flush(until)
