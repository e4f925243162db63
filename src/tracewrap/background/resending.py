"""Recorded calls sent again as spans with their estimates, to a receiver that did not get them, or got them with other estimates.

One batch is under way at a time, so memory does not grow with the source; a batch that cannot be delivered now is tried again; what was
delivered is marked after every batch, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from tracewrap import semconv, systems
from tracewrap.background.spans import readable
from tracewrap.errors import ConfigurationError
from tracewrap.estimate.live_join import LiveJoin
from tracewrap.records import Call, CallRecord
from tracewrap.sinks.otlp import Delivery, Sender

BATCH = 512
"""Spans in one request."""
TRIES = 6
FIRST_TRIES = 2
"""Of a receiver that took nothing so far: its address may be wrong."""
_LONGEST_WAIT_S = 30.0
_SCHEMA = "tracewrap.export/1"

Key = tuple[int, str, str]
"""Start, trace id, span id: the order in which calls are sent."""


@dataclass(slots=True)
class Resent:
    """What became of the calls: ``skipped`` had been delivered by an earlier run, ``lost`` counts the others by reason."""

    calls: int = 0
    delivered: int = 0
    skipped: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    """Why the rest was not sent."""


class Mark:
    """A file that holds up to which call all was delivered to one receiver; ConfigurationError where it is another's, or none."""

    def __init__(self, path: Path, receiver: str) -> None:
        self._path, self._receiver = path, receiver
        self.after: Key | None = None
        if not path.exists():
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            start_ns, trace_id, span_id = held["after"]
            known = (held["schema"], held["receiver"])
            self.after = (int(start_ns), str(trace_id), str(span_id))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path}: no mark of an export ({error}); name another file, or remove it"
            ) from None
        if known != (_SCHEMA, receiver):
            raise ConfigurationError(f"{path}: marks an export to {known[1]}, not to {receiver}; name another file")

    def put(self, key: Key) -> None:
        """All up to *key* was delivered."""
        self.after = key
        text = json.dumps({"schema": _SCHEMA, "receiver": self._receiver, "after": key})
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_text(text + "\n", encoding="utf-8")
            systems.replace(beside, self._path)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written ({error.strerror}); name another file") from None


def resend(
    calls: Iterable[Call],
    join: LiveJoin,
    sender: Sender,
    *,
    mark: Mark | None = None,
    batch: int = BATCH,
    wait: Callable[[float], object] = time.sleep,
    progress: Callable[[Resent], object] = lambda _: None,
) -> Resent:
    """Send *calls*, which are in order of ``Key``, with what *join* estimates; stops where a batch is refused and stays refused."""
    done, after = Resent(), None if mark is None else mark.after
    for part in _parts(calls, done, after, batch):
        tries = TRIES if done.delivered else FIRST_TRIES
        delivery = _delivered(sender, [_span(call, join) for call in part], tries, wait)
        if delivery.again or delivery.lost == len(part):
            done.stopped = delivery.reason or "unreachable"
            return done
        done.delivered += len(part) - delivery.lost
        if delivery.lost:
            done.lost[delivery.reason] += delivery.lost
        if mark is not None:
            mark.put(_key(part[-1]))
        progress(done)
    return done


def _parts(calls: Iterable[Call], done: Resent, after: Key | None, size: int) -> Iterator[list[Call]]:
    part: list[Call] = []
    for call in calls:
        done.calls += 1
        if after is not None and _key(call) <= after:
            done.skipped += 1
            continue
        part.append(call)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _key(call: Call) -> Key:
    return (call.start_time_ns, call.trace_id, call.span_id)


def _delivered(sender: Sender, spans: list[ReadableSpan], tries: int, wait: Callable[[float], object]) -> Delivery:
    delivery = sender.send(spans)
    for attempt in range(1, tries):
        if not delivery.again:
            break
        wait(min(delivery.retry_s or 0.5 * 2**attempt, _LONGEST_WAIT_S))
        delivery = sender.send(spans)
    return delivery


def _span(call: Call, join: LiveJoin) -> ReadableSpan:
    """The span of *call* as a program with today's profiles would have exported it; under the scope of whoever recorded it first: ours."""
    facts = semconv.call_attributes(call)
    attributes = join.joined(dict(facts), call.start_time_ns, lambda: call) or facts
    seconds = (call.raw_runtime_s or 0.0) + (call.consumer_s or 0.0)
    resource: Mapping[str, str] = {} if call.service_name is None else {semconv.SERVICE_NAME: call.service_name}
    record = CallRecord(
        trace_id=int(call.trace_id, 16),
        span_id=int(call.span_id, 16),
        parent_span_id=None if not call.parent_span_id else int(call.parent_span_id, 16),
        sampled=True,
        trace_state=None,
        program_span=False,
        resource=resource,
        name=" ".join(word for word in (call.operation, call.request_model or call.response_model) if word),
        start_time_ns=call.start_time_ns,
        end_time_ns=call.start_time_ns + round(seconds * 1e9),
        attributes=attributes,
        failure=(call.error_type or "") if call.outcome == "error" else None,
    )
    return readable(record, attributes, Resource(resource))
