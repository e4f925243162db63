"""Where the time of a request passed on this side of the wire: waiting for a connection, connecting, sending, and the SDK's own work.

The HTTP libraries under the SDKs (httpcore, httpcore2) tell a request's ``trace`` extension what they do, as they do it. The last attempt's
request gets such a listener, which notes a clock reading an event and nothing else; what the readings mean is worked out when the call
is finished:

    SDK | handed over | connecting, TLS | sending | receive_response_headers | receive_response_body | SDK
    sdk |--- pool ----|---------- network ---------|------- waiting for the server (or for us: lag) -----| sdk

A listener costs some twenty microseconds, so most requests go without (``seams.entries``): where an open connection lies idle in the pool
and the request is small, nothing is waited for, connected or sent for long, and the times at which the request went and its answer came
tell the rest. Of two requests that saw the same idle connection the first to claim it goes without; where the other was sent at once, it
was faster, and nothing is known of the one that claimed.
A request that the program traces itself keeps the program's listener, and nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tracewrap import semconv
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.lag import THREADS, Blocks, LoopWatch, Seen, TrioWatch, enter_loop

_PROTOCOLS = ("http11.", "http2.")
_CONNECTING = tuple(
    (f"{prefix}.{step}.started", (f"{prefix}.{step}.complete", f"{prefix}.{step}.failed"))
    for prefix in ("connection", "proxy", "socks")
    for step in ("connect_tcp", "connect_unix_socket", "start_tls")
)
_SENDING = tuple(f"{protocol}send_request_headers.started" for protocol in _PROTOCOLS)
Span = tuple[float, float]

_NO_EVENTS: dict[str, float] = {}
_AT_ONCE_SHARE = 0.1
"""A request that got its connection in this share of its time so far did not wait for it."""


class Phases:
    """Clock readings of one attempt: when the request was ``handed`` to the HTTP library, its events since, if any were listened to,
    and when its answer, or the ``head`` of it, was ``received``.

    One is made a call on the caller's thread: what most calls do not set is the class's.
    """

    idle: Any = None
    """The open connection that lay idle for it; None where there was none, or none could be seen."""
    requests = 0
    """How many requests ``idle`` had carried by then."""
    rivals: Sequence[Phases] = ()
    """Requests that wanted ``idle`` too."""
    events: dict[str, float] = _NO_EVENTS
    """Of one that is listened to: name -> when."""
    queued = False
    """The loop's own thread pool, which looks names up, had a queue."""
    received: float | None = None
    head = False
    """The head of the answer alone was received: its body is read as its consumer wants it."""
    entered: float | None = None
    """When the library's pool was asked for a connection, where the program stands between it and the hand-over."""
    handed: float

    def overtaken(self) -> bool:
        """Whether a rival was sent by a connection that it neither waited for nor opened: the one that lay idle for both."""
        return any(rival.sent_at_once() for rival in list(self.rivals))

    def sent_at_once(self) -> bool:
        """Of one that was listened to: whether it got an open connection without waiting."""
        events = self.events
        sent = next((events[at] for at in _SENDING if at in events), None)
        if sent is None or any(started in events for started, _ in _CONNECTING):
            return False
        until = perf_counter() if self.received is None else self.received
        return sent - self.handed < _AT_ONCE_SHARE * (until - self.handed)


class Attempt(Protocol):
    """What is read here of a call in flight (``call.OpenCall``)."""

    attempt_started: float
    phases: Phases | None
    loop: LoopWatch | TrioWatch | None


class Intervals(NamedTuple):
    """One attempt as stretches of time, each (start, end)."""

    pool: Span
    network: list[Span]
    waiting: list[Span]
    working: list[Span]
    """The SDK's own work, before the hand-over and after the last byte."""


def listening() -> Phases:
    """Of a request that is handed over now and listened to."""
    phases = Phases()
    phases.events = {}
    phases.handed = perf_counter()
    return phases


def watch_lag(call: Attempt, phases: Phases, is_async: bool) -> None:
    """*call* is about to send what *phases* tell of: watch for lag until ``dismiss``."""
    THREADS.enter(call)
    if is_async and call.loop is None:
        loop = call.loop = enter_loop(call)
        if phases.idle is None and loop is not None:
            phases.queued = loop.has_queue()


def dismiss(call: Attempt) -> None:
    """*call* has ended: nothing need be watched for it."""
    if call.phases is not None:
        THREADS.calls.discard(id(call))
        if call.loop is not None:
            call.loop.calls.discard(id(call))


def put_phases(attributes: dict[str, Any], call: Attempt, ended: float) -> None:
    """Write where the last attempt of *call* passed on our side, in seconds; *ended*: ``perf_counter``'s reading at its end.

    ``client.pool``, ``client.sdk`` and ``network.seconds`` were measured. ``client.lag`` is what a blocked loop or starved
    threads can have cost at most: whether the answer lay there all that time, only the quiet day tells. Nothing is written
    where the HTTP library told nothing (a mock, a transport of the program's own), unless the call failed before it came to that.
    """
    phases = call.phases
    if phases is None:
        return
    started, blocks = call.attempt_started, THREADS.blocks if call.loop is None else call.loop.blocks
    if phases.idle is None:
        _put_listened(attributes, call, phases, ended, blocks)
        return
    # The server may have closed it, or a rival was faster: then the request went another way, and nobody listened.
    if phases.idle._request_count <= phases.requests or (phases.rivals and phases.overtaken()):
        return
    # What most calls come to: sent at once on an open connection, and mostly nothing was late.
    handed, head = phases.handed, phases.head
    answered = ended if phases.received is None else phases.received
    sdk_s, head_s = handed - started + (0.0 if head else ended - answered), 0.0
    if blocks.touch(started, ended):
        seen = blocks.within(started, ended)
        head_s, rest_s = seen.cost(handed, answered), seen.total(answered, ended)
        work_s = seen.total(started, handed) + (0.0 if head else rest_s)
        sdk_s = max(0.0, sdk_s - work_s)
        _put_lag(attributes, call, ended, head_s + work_s + (rest_s if head else 0.0))
    attributes[semconv.CLIENT_POOL] = attributes[semconv.NETWORK] = 0.0
    attributes[semconv.CLIENT_SDK] = sdk_s
    server_s = attributes.get(semconv.SERVER_PROCESSING)
    if server_s is not None:
        attributes[semconv.NETWORK_TRANSIT] = max(0.0, answered - handed - head_s - server_s)


def _put_listened(attributes: dict[str, Any], call: Attempt, phases: Phases, ended: float, blocks: Blocks) -> None:
    """What the events of an attempt tell."""
    if not phases.events and semconv.ERROR_TYPE not in attributes:
        return
    started = call.attempt_started
    parts = intervals(phases, started, ended, phases.head)
    touched = blocks.touch(started, ended)
    late = _late(phases, blocks.within(started, ended), parts, ended - started, phases.head) if touched else _NOT_LATE
    _put_parts(attributes, call, ended, parts, late)


def _put_lag(attributes: dict[str, Any], call: Attempt, ended: float, late_s: float) -> None:
    if late_s > 0.0:
        attributes[semconv.CLIENT_LAG] = late_s
        attributes[semconv.CLIENT_LAG_KIND] = _kind(call, ended)


def _put_parts(attributes: dict[str, Any], call: Attempt, ended: float, parts: Intervals, late: _Late) -> None:
    attributes[semconv.CLIENT_POOL] = max(0.0, _length(parts.pool) - late.pool_s)
    attributes[semconv.CLIENT_SDK] = max(0.0, sum(map(_length, parts.working)) - late.work_s)
    attributes[semconv.NETWORK] = max(0.0, sum(map(_length, parts.network)) - late.network_s)
    server_s = attributes.get(semconv.SERVER_PROCESSING)
    if server_s is not None and parts.waiting:
        attributes[semconv.NETWORK_TRANSIT] = max(0.0, _length(parts.waiting[0]) - late.head_s - server_s)
    _put_lag(attributes, call, ended, sum(late[:4]))


class _Late(NamedTuple):
    """What blocks can have cost each part of an attempt, in seconds. ``head_s``: of ``answer_s``, while waiting for the answer's head."""

    pool_s: float
    network_s: float
    work_s: float
    answer_s: float
    head_s: float


_NOT_LATE = _Late(0.0, 0.0, 0.0, 0.0, 0.0)


def _late(phases: Phases, blocks: Seen, parts: Intervals, attempt_s: float, stream: bool) -> _Late:
    """What *blocks* can have cost the *parts* of an attempt of *attempt_s*."""
    if not blocks.spans:
        return _NOT_LATE
    start, end = parts.working[0][0], parts.working[0][0] + attempt_s
    if phases.queued or 2.0 * blocks.total(start, end) > attempt_s:
        # of a process that hardly ran, short steps say nothing of the network
        pool_s, network_s = _length(parts.pool), sum(map(_length, parts.network))
    else:
        pool_s, network_s = blocks.cost(*parts.pool), sum(blocks.cost(*span) for span in parts.network)
    work_s = sum(blocks.total(*span) for span in parts.working)
    head_s = blocks.cost(*parts.waiting[0]) if parts.waiting else 0.0
    # of a stream, all blocks since its headers: the quiet day bounds them
    rest_s = sum((blocks.total if stream else blocks.cost)(*span) for span in parts.waiting[1:])
    return _Late(pool_s, network_s, work_s, head_s + rest_s, head_s)


def intervals(phases: Phases, started: float, ended: float, stream: bool) -> Intervals:
    """The attempt from *started* to *ended* as stretches of time. A step that never completed lasted until the end."""
    events = phases.events
    connecting = list(_connecting(events, ended))
    sending, sent = _of(events, "send_request_headers.started"), _of(events, "send_request_body.complete")
    began = min([ended, *(start for start, _ in connecting), *([] if sending is None else [sending])])
    network = [*connecting, *([] if sending is None else [(sending, ended if sent is None else sent)])]
    entered = phases.handed if phases.entered is None else min(phases.entered, began)
    working = [(started, entered)]
    waiting = []
    if sent is not None:
        headers = _of(events, "receive_response_headers.complete")
        waiting.append((sent, ended if headers is None else headers))
        if headers is not None:
            reading, read = _of(events, "receive_response_body.started"), _of(events, "receive_response_body.complete")
            wanted = _reading_from(phases, headers, reading)
            working.append((headers, wanted))
            waiting.append((wanted, ended if stream or read is None else read))
            if read is not None and not stream:
                working.append((read, ended))
    return Intervals((entered, began), network, waiting, working)


def _reading_from(phases: Phases, headers: float, reading: float | None) -> float:
    """When the body began to be waited for: a response's hooks and log line come before, its consumer after it was given out."""
    known = [at for at in (reading, phases.received) if at is not None]
    return max(headers, min(known)) if known else headers


def _kind(call: Attempt, ended: float) -> str:
    """``event_loop`` where the loop alone was held, ``threads`` where no thread of the process came to run."""
    if call.loop is None or (call.phases is not None and call.phases.queued):
        return "threads"
    attempt = call.attempt_started, ended
    starved_s, held_s = (blocks.within(*attempt).total(*attempt) for blocks in (THREADS.blocks, call.loop.blocks))
    return "threads" if 2.0 * starved_s > held_s else "event_loop"


def _length(span: Span) -> float:
    return max(0.0, span[1] - span[0])


def _of(events: Mapping[str, float], step: str) -> float | None:
    for protocol in _PROTOCOLS:
        at = events.get(protocol + step)
        if at is not None:
            return at
    return None


def _connecting(events: Mapping[str, float], ended: float) -> list[Span]:
    """Each step of connecting, name look-up and TLS included."""
    return [
        (events[started], next((events[end] for end in ends if end in events), ended))
        for started, ends in _CONNECTING
        if started in events
    ]
