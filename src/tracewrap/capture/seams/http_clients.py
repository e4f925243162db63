"""The HTTP clients that are looked at without an SDK: where each sends, and how it is watched there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from tracewrap.capture.seams.other_clients import AiohttpWatch, RequestsWatch
from tracewrap.capture.seams.transports import TransportWatch
from tracewrap.capture.seams.watch import Watch


class Sender(NamedTuple):
    """The method by which *cls* of *module* sends. ``name``: what users call the library, ``instrument(name)``, ``tracewrap-name``.

    ``whole``: ``instrument`` looks at it; other methods only where an object of their class was wrapped.
    """

    name: str
    module: str
    cls: str
    method: str
    is_async: bool
    watch: Callable[[bool], Watch]
    whole: bool = True


SENDERS: tuple[Sender, ...] = (
    *(
        sender
        for module in ("httpx", "httpx2")
        for sender in (
            Sender("httpx", module, "Client", "send", False, TransportWatch),
            Sender("httpx", module, "AsyncClient", "send", True, TransportWatch),
            Sender("httpx", module, "BaseTransport", "handle_request", False, TransportWatch, False),
            Sender("httpx", module, "AsyncBaseTransport", "handle_async_request", True, TransportWatch, False),
        )
    ),
    Sender("requests", "requests", "Session", "send", False, RequestsWatch),
    Sender("aiohttp", "aiohttp", "ClientSession", "_request", True, AiohttpWatch),
)
NAMES = tuple(dict.fromkeys(sender.name for sender in SENDERS))


def senders_of(client: object) -> list[Sender]:
    """By which methods an HTTP client or transport sends; empty for anything else."""
    found = []
    for sender in SENDERS:
        cls = getattr(sys.modules.get(sender.module), sender.cls, None)
        if cls is not None and isinstance(client, cls):
            found.append(sender)
    return found
