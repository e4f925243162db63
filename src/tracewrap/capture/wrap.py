"""wrap(client), instrument(), uninstrument(): putting the recorder at the seams that the vendors name.

Both replace methods of the SDK's classes: ``wrap`` for one client, which it marks and returns, ``instrument`` for every client, now or
when the SDK is imported; ``uninstrument`` puts them back. What the SDK returns is handed on: same object, same exception.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from tracewrap.capture import import_hook, other_instrumentors, patches
from tracewrap.capture.patches import MARK, Make, Switch, mark, patch
from tracewrap.capture.seams import transports
from tracewrap.capture.seams.attempts import steps
from tracewrap.capture.seams.http import ResponseWatch, managed
from tracewrap.capture.seams.http_clients import NAMES, SENDERS, Sender, senders_of
from tracewrap.capture.seams.operations import OperationWatch
from tracewrap.capture.seams.sdk import RequestWatch
from tracewrap.capture.seams.segments import SegmentsWatch, tries
from tracewrap.capture.seams.split_calls import SplitWatch
from tracewrap.capture.seams.watch import Watch, watched
from tracewrap.capture.state import drop, logger
from tracewrap.errors import UnsupportedClientError
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter, Seam

Client = TypeVar("Client")
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_noted: set[str] = set()


def wrap(client: Client) -> Client:
    """Record the calls of *client* from now on, and of the copies its ``with_options()`` makes; returns *client* itself.

    Wrapping twice changes nothing. Raises UnsupportedClientError for an object that no vendor adapter knows.
    """
    try:
        if not _wrap_known(client):
            _refuse(client)
    except UnsupportedClientError:
        raise
    except Exception:
        drop("wrap")
    return client


def instrument(*vendors: str) -> None:
    """Record the calls of every client of the SDKs of *vendors*, present and future, installed or imported later. Idempotent.

    No names: every known vendor, and ``httpx``, ``requests``, ``aiohttp``: what is sent to a known endpoint by a client of theirs without
    one of these SDKs; but those that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS lists (``tracewrap-openai``, ``tracewrap`` or ``*``).
    """
    try:
        wanted = [name for name in NAMES if (name in vendors if vendors else not _is_disabled(name))]
        by_http = [adapter.name for adapter in adapters() if adapter.name in vendors and not adapter.seams]
        transports.look_for(
            [adapter.name for adapter in adapters() if not _is_disabled(adapter.name)] if wanted else by_http
        )
        _instrument_http(wanted or (["httpx"] if by_http else []))
        for adapter, seam in _seams():
            if adapter.name not in vendors if vendors else _is_disabled(adapter.name):
                continue
            module = seam.target.partition(":")[0]
            import_hook.after_import(module, seam, functools.partial(_patch_class, adapter, seam))
            if module in sys.modules:
                _patch_class(adapter, seam)
    except Exception:
        drop("instrument")


def _instrument_http(names: Iterable[str]) -> None:
    """Look at what every HTTP client of the libraries *names* sends, imported now or later."""
    for sender in SENDERS:
        if sender.name in names and sender.whole:
            import_hook.after_import(sender.module, sender, functools.partial(_patch_http, sender))
            if sender.module in sys.modules:
                _patch_http(sender)


def _patch_http(sender: Sender) -> None:
    cls = _resolve(f"{sender.module}:{sender.cls}")
    if cls is not None:
        patch(cls, sender.method, _watching(sender.watch(sender.is_async)), sender.name, everyone=True)


def _is_disabled(vendor: str) -> bool:
    named = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    return bool(named & {"*", "tracewrap", f"tracewrap-{vendor}"})


def uninstrument(*vendors: str) -> None:
    """Undo ``instrument``: every class attribute is again what it was. Clients wrapped one by one stay wrapped."""
    modules = {seam.target.partition(":")[0] for adapter, seam in _seams() if adapter.name in vendors}
    modules |= {sender.module for sender in SENDERS if sender.name in vendors}
    if not vendors or not set(NAMES).isdisjoint(vendors):
        transports.look_for_none()
    import_hook.forget(modules if vendors else None)
    other_instrumentors.remove(vendors)
    patches.switch_off(vendors)


def instrumented() -> tuple[str, ...]:
    """Names of the class attributes that ``instrument`` replaced, for the doctor."""
    return patches.patched_for_everyone()


def _wrap_known(client: object) -> bool:
    """Wrap *client* at every seam of its class; False when it has none."""
    known = [(adapter, seam) for adapter, seam in _seams() if _is_instance(client, seam.client or seam.target)]
    for adapter, seam in known:
        if adapter.refuses is not None and (other := adapter.refuses(client)) is not None:
            raise UnsupportedClientError(f"wrap() was given {other}")
        _note_unrecorded(adapter)
        owner = operator.attrgetter(seam.via)(client) if seam.via and seam.client else client
        _wrap_owner(owner, adapter.name, _replacements(adapter, seam))
    senders = [] if known else senders_of(client)
    inner = [] if known or senders else _http_clients_of(client)
    for one in inner:
        wrap(one)
    for sender in senders:
        _wrap_owner(client, "", [(sender.method, _watching(sender.watch(sender.is_async)))])
    return bool(known or senders or inner)


def _http_clients_of(client: object) -> list[object]:
    """The HTTP clients of a client of an SDK without seams, which is read as bare HTTP."""
    known = [
        vias for adapter in adapters() for target, vias in adapter.http_clients.items() if _is_instance(client, target)
    ]
    found = [operator.attrgetter(via)(client) for vias in known for via in vias]
    return [one for one in found if one is not None]


def _wrap_owner(owner: Any, vendor: str, replacements: Iterable[tuple[str, Make]]) -> None:
    """Record what *owner* does: replace the methods of its class and mark it."""
    for name, make in replacements:
        own = vars(owner).get(name)
        if own is None:
            patch(type(owner), name, make, vendor, everyone=False)
        elif not hasattr(own, MARK):
            _replace_own(owner, name, own, make)
    mark(owner)


def _replace_own(owner: Any, name: str, own: Any, make: Make) -> None:
    """Somebody has put *own* on the object itself, where the class's method is not looked for: ours goes over it and calls it."""
    alive = weakref.ref(owner)

    def without_owner(_: Any, *args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    switch = Switch()
    switch.everyone = True
    over = make(functools.wraps(own)(without_owner), switch)

    def method(*args: Any, **kwargs: Any) -> Any:
        return over(alive(), *args, **kwargs)

    setattr(method, MARK, True)
    setattr(owner, name, method)


def _refuse(client: object) -> None:
    name = f"{type(client).__module__}.{type(client).__qualname__}"
    known = {seam.client or seam.target for _, seam in _seams()} | {one for a in adapters() for one in a.http_clients}
    vendors = ", ".join(sorted(target.replace(":", ".") for target in known))
    raise UnsupportedClientError(
        f"wrap() does not know {name}; it wraps {vendors}, httpx or httpx2 clients and transports, and sessions of requests and aiohttp"
    )


def _seams() -> Iterator[tuple[Adapter, Seam]]:
    for adapter in adapters():
        for seam in adapter.seams:
            yield adapter, seam


def _note_unrecorded(adapter: Adapter) -> None:
    """Say once a process what of *adapter*'s SDK is not recorded."""
    if adapter.unrecorded and adapter.name not in _noted:
        _noted.add(adapter.name)
        logger.info("%s: recorded, but never %s", adapter.name, adapter.unrecorded)


def _resolve(target: str) -> type | None:
    """The class *target* names, if its module has been imported."""
    module, _, name = target.partition(":")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _is_instance(client: object, target: str) -> bool:
    cls = _resolve(target)
    return cls is not None and isinstance(client, cls)


def _patch_class(adapter: Adapter, seam: Seam) -> None:
    cls = _resolve(seam.target)
    if cls is None:
        return
    _note_unrecorded(adapter)
    for name, make in _replacements(adapter, seam):
        patch(cls, name, make, adapter.name, everyone=True)


def _replacements(adapter: Adapter, seam: Seam) -> Iterator[tuple[str, Make]]:
    """(attribute, maker of its replacement) of one seam."""
    if seam.kind == "options":
        yield seam.method, _watching(RequestWatch(adapter, seam.is_async))
        yield from steps(seam.is_async)
        yield from ((name, _wrapping_copies) for name in ("copy", "with_options"))
    elif seam.kind == "batched":
        yield seam.method, _watching(SplitWatch(adapter, seam.is_async, seam.via))
    elif seam.kind == "managed":
        yield seam.method, managed(adapter, seam.is_async)
    elif seam.kind == "operation":
        yield seam.method, _watching(OperationWatch(adapter, seam.is_async))
    elif seam.kind == "segments":
        yield seam.method, _watching(SegmentsWatch(adapter, seam.is_async))
        yield tries(seam.is_async)
    else:
        yield seam.method, _watching(ResponseWatch(adapter, seam.is_async))


def _watching(watch: Watch) -> Make:
    return functools.partial(_watched, watch)


def _watched(watch: Watch, original: Any, switch: Switch) -> Any:
    return watched(original, watch, switch)


def _wrapping_copies(original: Any, switch: Switch) -> Any:
    """A copy that a marked client makes of itself is recorded too."""

    @functools.wraps(original)
    def copy(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        with suppress(Exception):
            if MARK in vars(args[0]):
                wrap(made)
        return made

    return copy
