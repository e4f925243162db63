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
from collections.abc import Iterable, Mapping
from typing import Any

from tracewrap.capture.bodies import Body, kind_of, tee
from tracewrap.capture.call import OpenCall, Server, finish, leave, running, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import MARK
from tracewrap.capture.seams.connector import listen_to_connectors
from tracewrap.capture.seams.entries import attend
from tracewrap.capture.seams.http import refused
from tracewrap.capture.seams.split_calls import is_part
from tracewrap.capture.seams.watch import Watch
from tracewrap.capture.state import drop
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter

_looked_for: set[str] = set()


def look_for(vendors: Iterable[str]) -> None:
    """Requests in the wire formats of *vendors* are looked at whatever client sends them; others where their client was wrapped."""
    _looked_for.update(vendors)


def look_for_none() -> None:
    """As before any ``look_for``."""
    _looked_for.clear()


def begin_request(owner: object, request: Any) -> OpenCall | None:
    """Begin recording *request*, one of httpx or httpx2 or like it. None: no inference call, or part of one that is being recorded."""
    if request.method != "POST":
        return None
    path = request.url.path
    known = [adapter for adapter in adapters() if path.rstrip("/").endswith(adapter.endpoints)]
    if MARK not in getattr(owner, "__dict__", ()):
        known = [adapter for adapter in known if adapter.name in _looked_for]
    if not known or is_part(owner):
        return None
    current = running()
    if current is not None:
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
    given = getattr(request, "parsed", None)
    if type(given) is dict:
        return given
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
            if self.is_async:
                listen_to_connectors()
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
