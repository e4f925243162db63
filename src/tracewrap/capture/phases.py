"""Where the time of a request passed on this side of the wire: waiting for a connection, connecting, sending, and the SDK's own work.

The HTTP libraries under the SDKs (httpcore, httpcore2) tell a request's ``trace`` extension what they do, as they do it. The last attempt's
request gets such a listener, which notes a clock reading an event and nothing else; what the readings mean is worked out when the call
is finished:

    SDK | handed over | connecting, TLS | sending | receive_response_headers | receive_response_body | SDK
    sdk |--- pool ----|---------- network ---------|------- waiting for the server (or for us: lag) -----| sdk

A listener costs some twenty microseconds, so most requests go without: where an open connection lies idle in the pool and the request is
small, nothing is waited for, connected or sent for long, and the times at which the request went and its answer came tell the rest.
A request that the program traces itself keeps the program's listener, and nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from tracewrap import semconv
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.lag import THREADS, Blocks, LoopWatch, running_loop_watch

_PROTOCOLS = ("http11.", "http2.")
_CONNECTING = tuple(
    (f"{prefix}.{step}.started", (f"{prefix}.{step}.complete", f"{prefix}.{step}.failed"))
    for prefix in ("connection", "proxy", "socks")
    for step in ("connect_tcp", "connect_unix_socket", "start_tls")
)
Span = tuple[float, float]


_SMALL_BYTES = 65_536
"""A request up to this size is sent at once: it fits into the system's buffers."""


class Phases:
    """Clock readings of one attempt: when the request was ``handed`` to the HTTP library, its events since, if any were listened to,
    and when its answer (of a stream: the head of it) was ``received``."""

    __slots__ = ("at_once", "events", "handed", "queued", "received")

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        """An open connection lay idle for it."""
        self.queued = False
        """The loop's own thread pool, which looks names up, had a queue."""
        self.events: dict[str, float] = {}
        self.received: float | None = None
        self.handed = perf_counter()


class Attempt(Protocol):
    """What is read here of a call in flight (``call.OpenCall``)."""

    attempt_started: float
    phases: Phases | None
    loop: LoopWatch | None


class Intervals(NamedTuple):
    """One attempt as stretches of time, each (start, end)."""

    pool: Span
    network: list[Span]
    waiting: list[Span]
    working: list[Span]
    """The SDK's own work, before the hand-over and after the last byte."""


def attend(call: Attempt, request: Any, is_async: bool, sender: Any) -> None:
    """The next attempt of *call* is about to be sent as *request* by *sender*, an httpx or httpx2 client or transport: listen to it
    where that tells something, and watch for lag until ``dismiss``."""
    phases = Phases(at_once=True) if _goes_at_once(request, sender) else listen(request, is_async)
    if phases is None:
        return
    call.phases = phases
    THREADS.enter(call)
    if is_async and call.loop is None:
        call.loop = running_loop_watch()
        if call.loop is not None:
            call.loop.enter(call)
            phases.queued = not phases.at_once and call.loop.has_queue()


def dismiss(call: Attempt) -> None:
    """*call* has ended: nothing need be watched for it."""
    if call.phases is not None:
        THREADS.leave(call)
        if call.loop is not None:
            call.loop.leave(call)


def _goes_at_once(request: Any, sender: Any) -> bool:
    """Whether *request* is small and an open connection lies idle; False where that cannot be seen."""
    try:
        if len(request.content) > _SMALL_BYTES or "trace" in request.extensions:
            return False
        transport = getattr(sender, "_transport", sender)
        if getattr(sender, "_mounts", None):
            return False  # which transport, and so which pool, is its own business
        host, pool = request.url.raw_host, transport._pool
        for connection in pool._connections:
            if connection.is_idle() and not connection.has_expired() and connection._origin.host == host:
                # It looks idle until the request that was given it takes it up.
                return not any(waiting.connection is connection for waiting in pool._requests)
        return False
    except (AttributeError, RuntimeError):  # another library's insides; a body that is not read yet
        return False


def listen(request: Any, is_async: bool) -> Phases | None:
    """Put a listener on *request*; None where the program has its own."""
    extensions = request.extensions
    if "trace" in extensions:
        return None
    phases = Phases()
    events = phases.events
    if is_async:

        async def note_async(event: str, _: Mapping[str, Any]) -> None:
            events[event] = perf_counter()

        extensions["trace"] = note_async
    else:

        def note(event: str, _: Mapping[str, Any]) -> None:
            events[event] = perf_counter()

        extensions["trace"] = note
    return phases


def put_phases(attributes: dict[str, Any], call: Attempt, ended: float, stream: bool) -> None:
    """Write where the last attempt of *call* passed on our side, in seconds; *ended*: ``perf_counter``'s reading at its end.

    ``client.pool``, ``client.sdk`` and ``network.seconds`` were measured. ``client.lag`` is what a blocked loop or starved
    threads can have cost at most: whether the answer lay there all that time, only the quiet day tells. Nothing is written
    where the HTTP library told nothing (a mock, a transport of the program's own), unless the call failed before it came to that.
    """
    phases = call.phases
    if phases is None or not (phases.events or phases.at_once or semconv.ERROR_TYPE in attributes):
        return
    blocks = THREADS.blocks if call.loop is None else call.loop.blocks
    if phases.at_once and semconv.SERVER_PROCESSING not in attributes and not blocks.touch(call.attempt_started, ended):
        attributes[semconv.CLIENT_POOL] = attributes[semconv.NETWORK] = 0.0
        after_s = 0.0 if stream or phases.received is None else ended - phases.received
        attributes[semconv.CLIENT_SDK] = phases.handed - call.attempt_started + after_s
        return
    parts = intervals(phases, call.attempt_started, ended, stream)
    pool_s, network_s = _length(parts.pool), sum(map(_length, parts.network))
    if phases.queued or 2.0 * blocks.total(call.attempt_started, ended) > ended - call.attempt_started:
        late_pool_s, late_network_s = (
            pool_s,
            network_s,
        )  # of a process that hardly ran, short steps say nothing of the network
    else:
        late_pool_s, late_network_s = blocks.cost(*parts.pool), sum(blocks.cost(*span) for span in parts.network)
    late_work_s = sum(blocks.total(*span) for span in parts.working)
    late_s = late_pool_s + late_network_s + late_work_s + _late_answer_s(blocks, parts.waiting, stream)
    attributes[semconv.CLIENT_POOL] = max(0.0, pool_s - late_pool_s)
    attributes[semconv.CLIENT_SDK] = max(0.0, sum(map(_length, parts.working)) - late_work_s)
    attributes[semconv.NETWORK] = max(0.0, network_s - late_network_s)
    server_s = attributes.get(semconv.SERVER_PROCESSING)
    if server_s is not None and parts.waiting:
        head_s = _length(parts.waiting[0]) - blocks.cost(*parts.waiting[0])
        attributes[semconv.NETWORK_TRANSIT] = max(0.0, head_s - server_s)
    if late_s > 0.0:
        attributes[semconv.CLIENT_LAG] = late_s
        attributes[semconv.CLIENT_LAG_KIND] = _kind(call, ended)


def intervals(phases: Phases, started: float, ended: float, stream: bool) -> Intervals:
    """The attempt from *started* to *ended* as stretches of time. A step that never completed lasted until the end."""
    events = phases.events
    if phases.at_once:
        answered = ended if phases.received is None else phases.received
        after = (answered, ended)
        begun = (phases.handed, answered)
        known = ([begun, after], []) if stream else ([begun], [after])
        return Intervals((phases.handed, phases.handed), [], known[0], [(started, phases.handed), *known[1]])
    connecting = list(_connecting(events, ended))
    sending, sent = _of(events, "send_request_headers.started"), _of(events, "send_request_body.complete")
    began = min([ended, *(start for start, _ in connecting), *([] if sending is None else [sending])])
    network = [*connecting, *([] if sending is None else [(sending, ended if sent is None else sent)])]
    working = [(started, phases.handed)]
    waiting = []
    if sent is not None:
        headers = _of(events, "receive_response_headers.complete")
        waiting.append((sent, ended if headers is None else headers))
        if headers is not None and stream:
            waiting.append((headers, ended))
        elif headers is not None:
            reading, read = _of(events, "receive_response_body.started"), _of(events, "receive_response_body.complete")
            waiting.append((headers if reading is None else reading, ended if read is None else read))
            if read is not None:
                working.append((read, ended))
    return Intervals((phases.handed, began), network, waiting, working)


def _late_answer_s(blocks: Blocks, waiting: list[Span], stream: bool) -> float:
    """What blocks can have cost while waiting for the server: of a stream, all of them since its headers; the quiet day bounds it."""
    if not waiting:
        return 0.0
    if stream and len(waiting) > 1:
        return blocks.cost(*waiting[0]) + blocks.total(*waiting[1])
    return sum(blocks.cost(*span) for span in waiting)


def _kind(call: Attempt, ended: float) -> str:
    """``event_loop`` where the loop alone was held, ``threads`` where no thread of the process came to run."""
    if call.loop is None or (call.phases is not None and call.phases.queued):
        return "threads"
    starved_s = THREADS.blocks.total(call.attempt_started, ended)
    return "threads" if 2.0 * starved_s > call.loop.blocks.total(call.attempt_started, ended) else "event_loop"


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
