"""A call's request on its way to the HTTP library: what will tell when it got there, and where it waited.

Where an open connection lies idle in the pool and the request is small, nothing is waited for, connected or sent for long, and nobody need
listen. Two threads can see the same idle connection: the first to claim it goes without a listener, the others listen.
Hooks, authentication, a client or transport of the program's own, a handler of the log line of each request: what they take is the
program's, neither a wait for a connection nor the provider's. Where there are any, the library's pool tells when a request reaches it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from tracewrap.capture.call import OpenCall
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import patch
from tracewrap.capture.phases import Phases, listening, watch_lag
from tracewrap.capture.seams.steps import before

_LOGGERS = {
    f"{library}.{module}": logging.getLogger(library)
    for library in ("httpx", "httpx2")
    for module in ("_client", "_transports.default")
}
"""Modules of the libraries' own methods, and who logs what they send."""
_SMALL_BYTES = 65_536
"""A request up to this size is sent at once: it fits into the system's buffers."""
_FRESH_S = 1.0
"""A connection that was used this short a time ago is not asked whether the server has closed it since: that is seen afterwards."""
_CLAIMS = "_tracewrap_claims"
"""Attribute of a connection: by how many requests it had carried, the rivals of the one that claims it then."""
_OLD_CLAIMS = 8
_first_claims: dict[int, dict[int, list[Phases]]] = {}
"""Claims on connections that have no such attribute yet."""


def attend(call: OpenCall, request: Any, is_async: bool, sender: Any) -> None:
    """The next attempt of *call* is about to be sent as *request* by *sender*, an httpx or httpx2 client or transport.

    What listens, where that tells something, and watches for lag does so until the call is dismissed.
    """
    straight = _goes_straight(sender, is_async)
    phases = _at_once(request, is_async, sender) if straight else _listen(request, is_async)
    if phases is None:
        return
    call.phases = phases
    watch_lag(call, phases, is_async)
    if not straight:
        pool = getattr(getattr(sender, "_transport", sender), "_pool", None)
        if pool is not None:
            method = "handle_async_request" if is_async else "handle_request"
            patch(type(pool), method, _ENTER[is_async], call.adapter.name, everyone=True, purpose="entry")


def _goes_straight(sender: Any, is_async: bool) -> bool:
    """Whether nothing of the program's stands between *sender* and its pool.

    Hooks, authentication, methods of its own, the log line that both libraries write of every request: what those take is told from
    the server's time by listening only.
    """
    try:
        transport = getattr(sender, "_transport", None)
        if transport is not None:
            hooks, send = sender._event_hooks, type(sender).send.__module__
            if sender._auth is not None or hooks["request"] or hooks["response"] or send not in _LOGGERS:
                return False
        else:
            transport = sender
        handle = type(transport).handle_async_request if is_async else type(transport).handle_request
        library = handle.__module__
        return library in _LOGGERS and not _LOGGERS[library].isEnabledFor(logging.INFO)
    except (AttributeError, KeyError, TypeError):  # another library's insides
        return False


def _at_once(request: Any, is_async: bool, sender: Any) -> Phases | None:
    """Phases of *request* where it is small and an open connection lies idle for it; else, or where none can be seen, it is listened to."""
    lost: list[list[Phases]] = []
    try:
        if "trace" in request.extensions or len(request._content) > _SMALL_BYTES or getattr(sender, "_mounts", None):
            return _listen(
                request, is_async
            )  # of several transports, which one and so which pool it takes is its own business
        pool = getattr(sender, "_transport", sender)._pool
        host, now = request.url.raw_host, monotonic()
        for connection in pool._connections:
            inner = connection._connection
            if inner is None or connection._origin.host != host:
                continue
            expires = inner._expire_at  # None while it is at work
            was_used_now = (
                expires is not None and now < expires and now - (expires - inner._keepalive_expiry) < _FRESH_S
            )
            if was_used_now or (connection.is_idle() and not connection.has_expired()):
                # It looks idle until the request that was given it takes it up.
                if pool._requests and any(waiting.connection is connection for waiting in pool._requests):
                    break
                phases = Phases()
                rivals = _claim(inner, phases)
                if rivals is None:
                    phases.handed = perf_counter()
                    return phases
                lost.append(rivals)
    except (AttributeError, RuntimeError, TypeError):  # another library's insides; a body that is not read yet
        pass
    return _listen(request, is_async, lost)


def _claim(connection: Any, phases: Phases) -> list[Phases] | None:
    """Claim the idle *connection* for *phases*; else the rivals of who has it."""
    claims = getattr(connection, _CLAIMS, None)
    if claims is None:
        claims = _claims_on(connection)
    mine: list[Phases] = []
    requests = connection._request_count
    found: list[Phases] = claims.setdefault(requests, mine)
    if len(claims) > _OLD_CLAIMS:
        for earlier in list(claims):
            if earlier < requests:
                claims.pop(earlier, None)
    if found is not mine:
        return found
    phases.idle, phases.requests, phases.rivals = connection, requests, mine
    return None


def _claims_on(connection: Any) -> dict[int, list[Phases]]:
    """The one place for claims on *connection*, whoever else makes it now; its ``__dict__`` is not asked for, which would slow it."""
    made = _first_claims.setdefault(id(connection), {})
    claims: dict[int, list[Phases]] = getattr(
        connection, _CLAIMS, made
    )  # it is set before it is taken from the first ones
    setattr(connection, _CLAIMS, claims)
    _first_claims.pop(id(connection), None)
    return claims


def _listen(request: Any, is_async: bool, lost: Sequence[list[Phases]] = ()) -> Phases | None:
    """Put a listener on *request*; None where the program has its own. *lost*: the rivals of connections that another has claimed."""
    extensions = request.extensions
    if "trace" in extensions:
        return None
    phases = listening()
    for rivals in lost:
        rivals.append(phases)
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


def _entered(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The library's pool is asked for a connection; of several requests of one attempt (to log in, say) the last one is the call's."""
    if call.phases is not None:
        call.phases.entered = perf_counter()


_ENTER = {is_async: before(_entered, is_async) for is_async in (False, True)}
