"""Bare HTTP: httpx and httpx2 clients and transports, sync and async, for whatever speaks one of the known wire formats.

    client = tracewrap.wrap(httpx.Client())                                  # the same client
    client = httpx2.Client(transport=tracewrap.wrap(httpx2.HTTPTransport()))  # or one layer below it
    tracewrap.instrument("httpx")                                             # every client of both libraries

A request is looked at only if its URL ends like an inference endpoint and its body is JSON that asks a model something; everything else
passes untouched. Bodies are read as their consumer reads them. Below an SDK call that is being recorded, a request is one more attempt
of that call and no span of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tracewrap.capture.bodies import Body, kind_of, tee
from tracewrap.capture.call import CURRENT, OpenCall, Server, finish, leave, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import MARK
from tracewrap.capture.phases import attend
from tracewrap.capture.seams.http import refused
from tracewrap.capture.seams.split_calls import is_part
from tracewrap.capture.seams.watch import Watch
from tracewrap.capture.state import drop
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter

NAME = "httpx"
"""What users call it: ``instrument(NAME)``, ``tracewrap-httpx``."""
LIBRARIES = ("httpx", "httpx2")
_SENDERS = (
    ("Client", "send", False),
    ("AsyncClient", "send", True),
    ("BaseTransport", "handle_request", False),
    ("AsyncBaseTransport", "handle_async_request", True),
)


_left_out: frozenset[str] = frozenset()


def leave_out(vendors: Iterable[str]) -> None:
    """Requests in the wire formats of *vendors* are not looked at, but where their client was wrapped: its user wants that."""
    global _left_out
    _left_out = frozenset(vendors)


def senders_of(client: object) -> list[tuple[str, bool]]:
    """(method, whether it is async) by which an HTTP client or transport sends; empty for anything else."""
    found = []
    for module in LIBRARIES:
        for name, method, is_async in _SENDERS:
            cls = getattr(sys.modules.get(module), name, None)
            if cls is not None and isinstance(client, cls):
                found.append((method, is_async))
    return found


def begin_request(owner: object, request: Any) -> OpenCall | None:
    """Begin recording *request*, an httpx or httpx2 one. None: no inference call, or part of one that is being recorded."""
    if request.method != "POST":
        return None
    path = request.url.path
    known = [adapter for adapter in adapters() if path.rstrip("/").endswith(adapter.endpoints)]
    if _left_out and MARK not in getattr(owner, "__dict__", ()):
        known = [adapter for adapter in known if adapter.name not in _left_out]
    if not known or is_part(owner):
        return None
    current = CURRENT.get()
    if current is not None and current.live:
        current.sending(request)
        return None
    body = _body_of(request)
    asked = [adapter for adapter in known if body is not None and _asks(adapter, path, body)]
    if not asked:
        return None
    return _start(asked, owner, request, body)


def _start(known: list[Adapter], owner: object, request: Any, body: Any) -> OpenCall | None:
    for adapter in known:
        call = start(adapter, Server(request.url), request.url.path, body)
        if call is not None:
            call.client = owner
            return call
    return None


def _asks(adapter: Adapter, path: str, body: Mapping[str, Any]) -> bool:
    """Whether *body* asks a model something, in the wire format of *adapter*."""
    if not any(name in body for name in adapter.marker_fields or adapter.prompt_fields):
        return False
    named = "model" in body or any(part in path for part in adapter.models_in_path)
    return named or path.endswith(adapter.modelless_endpoints)


def _body_of(request: Any) -> dict[str, Any] | None:
    """The JSON object *request* carries; None if it carries something else or streams its body."""
    try:
        body = json.loads(request.content)
    except Exception:  # a streamed body is not read for us
        return None
    return body if type(body) is dict else None


class TransportWatch(Watch):
    """Round a client's ``send`` or a transport's ``handle_request`` and ``handle_async_request``."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        request = args[1] if len(args) > 1 else kwargs["request"]
        call = begin_request(args[0], request)
        if call is not None:
            attend(call, request, self.is_async, args[0])
        return call

    def received(self, call: OpenCall, result: Any) -> None:
        """The headers of the response are here; perhaps its body too."""
        try:
            now = perf_counter()
            leave(call)
            call.answered(result)
            if refused(call, result, now):
                return
            kind = kind_of(result)
            if hasattr(result, "_content"):
                body = Body(call.adapter, kind=kind)
                body.feed(result.content)
                reply = body.reply()
                call.said = body.said()
                finish(call, reply, ended=now)
            else:
                tee(call, result, is_async=self.is_async, kind=kind)
        except Exception:
            drop("response")
