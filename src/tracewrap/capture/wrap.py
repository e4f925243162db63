"""wrap(client), instrument(), uninstrument(): putting the recorder at the seams that the vendors name.

``wrap`` sets attributes on one client and returns that client; ``instrument`` sets them on the SDK's classes, now or when they are
imported, and ``uninstrument`` takes them off again. What the SDK returns is handed on: same object, same exception.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeVar

from tracewrap.capture import import_hook, layers
from tracewrap.capture.bodies import is_event_stream, read_json_body, tee
from tracewrap.capture.call import OpenCall, fail, finish, leave, start
from tracewrap.capture.seams import attempts, transports
from tracewrap.capture.seams import http as http_seams
from tracewrap.capture.seams.vendor_batches import watched
from tracewrap.capture.state import drop, logger, state
from tracewrap.capture.streams import AsyncStreamReader, StreamReader, hook_close, without_usage, without_usage_async
from tracewrap.errors import UnsupportedClientError
from tracewrap.vendors import adapters
from tracewrap.vendors.adapter import Adapter, Request, Seam
from tracewrap.vendors.providers import STREAM_USAGE_PROVIDERS

Client = TypeVar("Client")
Reference = weakref.ref[Any] | None
Make = Callable[[Any, Reference], Any]
_MARK = "__tracewrap_original__"
_patched: list[tuple[type, str, Any, Any, str]] = []
"""(class, attribute, what stood in the class's own __dict__ or _ABSENT, our replacement, vendor)."""
_gates: list[tuple[str, list[bool]]] = []
"""A switch per patched seam: a replacement that somebody else has wrapped stays in place but records nothing once it is off."""
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_ABSENT = object()
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

    No names: every known vendor, but those that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS lists (``tracewrap-openai``, ``tracewrap`` or ``*``).
    """
    try:
        for adapter, seam in _seams():
            if adapter.provider not in vendors if vendors else _is_disabled(adapter.provider):
                continue
            module = seam.target.partition(":")[0]
            if module in sys.modules:
                _patch_class(adapter, seam)
            else:
                import_hook.after_import(module, functools.partial(_patch_class, adapter, seam))
    except Exception:
        drop("instrument")


def _is_disabled(vendor: str) -> bool:
    named = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    return bool(named & {"*", "tracewrap", f"tracewrap-{vendor}"})


def uninstrument(*vendors: str) -> None:
    """Undo ``instrument``: every class attribute is again what it was. Clients wrapped one by one stay wrapped."""
    mine = [seam for adapter, seam in _seams() if not vendors or adapter.provider in vendors]
    import_hook.forget({seam.target.partition(":")[0] for seam in mine})
    layers.remove(vendors)
    for vendor, gate in _gates:
        gate[0] = gate[0] and bool(vendors) and vendor not in vendors
    _gates[:] = [entry for entry in _gates if entry[1][0]]
    kept = []
    for entry in reversed(_patched):
        cls, name, original, ours, vendor = entry
        if vendors and vendor not in vendors:
            kept.append(entry)
        elif cls.__dict__.get(name) is not ours:
            continue  # somebody patched over us and calls ours, which records nothing any more
        elif original is _ABSENT:
            delattr(cls, name)
        else:
            setattr(cls, name, original)
    _patched[:] = reversed(kept)


def instrumented() -> tuple[str, ...]:
    """Names of the class attributes that ``instrument`` replaced, for the doctor."""
    return tuple(f"{cls.__module__}.{cls.__qualname__}.{name}" for cls, name, *_ in _patched)


def _wrap_known(client: object) -> bool:
    """Wrap *client* at every seam of its class; False when it has none."""
    known = [(adapter, seam) for adapter, seam in _seams() if _is_instance(client, seam.client or seam.target)]
    for adapter, seam in known:
        _note_unrecorded(adapter)
        _wrap_instance(operator.attrgetter(seam.via)(client) if seam.via and seam.client else client, adapter, seam)
    senders = [] if known else transports.senders_of(client)
    for method, make in senders:
        if not hasattr(vars(client).get(method), _MARK):
            _replace(client, method, make)
    return bool(known or senders)


def _refuse(client: object) -> None:
    name = f"{type(client).__module__}.{type(client).__qualname__}"
    vendors = ", ".join(sorted({(seam.client or seam.target).replace(":", ".") for _, seam in _seams()}))
    raise UnsupportedClientError(
        f"wrap() does not know {name}; it wraps {vendors} and httpx or httpx2 clients and transports"
    )


def _seams() -> Iterator[tuple[Adapter, Seam]]:
    for adapter in adapters():
        for seam in adapter.seams:
            yield adapter, seam


def _note_unrecorded(adapter: Adapter) -> None:
    """Say once a process what of *adapter*'s SDK is not recorded."""
    if adapter.unrecorded and adapter.provider not in _noted:
        _noted.add(adapter.provider)
        logger.info("%s: recorded, but never %s", adapter.provider, adapter.unrecorded)


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
    if cls is None or any(entry[0] is cls and entry[1] == seam.method for entry in _patched):
        return
    _note_unrecorded(adapter)
    gate = [True]
    _gates.append((adapter.provider, gate))
    for name, make in _replacements(adapter, seam, gate):
        original = getattr(cls, name, None)
        if original is not None and not layers.insert(cls, name, make, adapter.provider):
            ours = make(original, None)
            _patched.append((cls, name, cls.__dict__.get(name, _ABSENT), ours, adapter.provider))
            setattr(cls, name, ours)


def _replacements(adapter: Adapter, seam: Seam, gate: list[bool]) -> Iterator[tuple[str, Make]]:
    """(attribute, maker of its replacement) of one seam. ``gate[0]`` False: pass through, record nothing."""
    if seam.kind == "options":
        yield seam.method, functools.partial(_recording, adapter, seam, gate)
        yield "_sleep_for_retry", functools.partial(attempts.counting, seam.is_async)
        yield "_process_response", attempts.seeing_response
        yield "_prepare_request", functools.partial(attempts.attending, seam.is_async)
    else:
        yield seam.method, http_seams.maker(adapter, seam, gate)


def _wrap_instance(client: Any, adapter: Adapter, seam: Seam) -> None:
    if hasattr(vars(client).get(seam.method), _MARK):
        return
    replacements = list(_replacements(adapter, seam, [True]))
    if seam.kind == "options":
        replacements += [("copy", _wrapping_copies), ("with_options", _wrapping_copies)]
    for name, make in replacements:
        if hasattr(client, name):
            _replace(client, name, make)


def _replace(client: Any, name: str, make: Make) -> None:
    """Put our replacement of a method on one instance, which is held weakly, so that wrapping does not keep it alive."""
    own = vars(client).get(name)  # somebody else's instance patch, which ours then calls
    original = getattr(type(client), name) if own is None else functools.partial(_without_client, own)
    ours = make(original, weakref.ref(client))
    setattr(ours, _MARK, own)
    setattr(client, name, ours)


def _without_client(own: Callable[..., Any], _: Any, *args: Any, **kwargs: Any) -> Any:
    return own(*args, **kwargs)


# The outermost guards below are bare: whatever of ours is broken, the guard's own helper included, the call goes through.
# The makers serve classes and instances. Of a class (``reference`` None) the replacement is a function whose first argument
# is the client; of an instance it is a function without that argument, which finds the client through a weak reference.


def _wrapping_copies(original: Any, reference: Reference) -> Any:
    @functools.wraps(original)
    def copy(*args: Any, **kwargs: Any) -> Any:
        made = original(*(args if reference is None else (reference(), *args)), **kwargs)
        with suppress(Exception):
            wrap(made)
        return made

    return copy


def _recording(adapter: Adapter, seam: Seam, gate: list[bool], original: Any, reference: Reference) -> Any:
    """*original*, recorded. The two forms differ by ``await`` alone."""
    if seam.is_async:

        @functools.wraps(original)
        async def arequest(*args: Any, **kwargs: Any) -> Any:
            if reference is not None:
                args = (reference(), *args)
            try:
                call = _enter(adapter, args, kwargs) if gate[0] else None
            except Exception:
                call = None
            if call is None:
                result = await original(*args, **kwargs)
                return watched(adapter, args[0], result, True) if gate[0] and adapter.read_line else result
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                with suppress(Exception):
                    _exit_failed(call, error)
                raise
            try:
                _exit_received(call, result, True)
            except Exception:
                _unread(call, result, True)
            return result

        return arequest

    @functools.wraps(original)
    def request(*args: Any, **kwargs: Any) -> Any:
        if reference is not None:
            args = (reference(), *args)
        try:
            call = _enter(adapter, args, kwargs) if gate[0] else None
        except Exception:
            call = None
        if call is None:
            result = original(*args, **kwargs)
            return watched(adapter, args[0], result, False) if gate[0] and adapter.read_line else result
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            with suppress(Exception):
                _exit_failed(call, error)
            raise
        try:
            _exit_received(call, result, False)
        except Exception:
            _unread(call, result, False)
        return result

    return request


def _unread(call: OpenCall, result: Any, is_async: bool) -> None:
    """Reading *result* failed. If we asked its stream for a usage chunk, the consumer must still not see that chunk."""
    try:
        if call.hidden_usage:
            result._iterator = (without_usage_async if is_async else without_usage)(result._iterator)
        drop("response")
    except Exception:
        pass


def _enter(adapter: Adapter, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
    """Begin recording a ``request(client, cast_to, options, ...)``; None: pass it through."""
    try:
        options = args[2] if len(args) > 2 else kwargs.get("options")
        if options is None or (options.method != "post" and options.method.lower() != "post"):
            return None
        call = start(adapter, args[0], options.url, options.json_data, options)
        if call is not None and call.request.asks_usage is not None and call.span.is_recording():
            _ask_usage(call, options)
    except Exception:
        drop("request")
        return None
    return call


def _ask_usage(call: OpenCall, options: Any) -> None:
    """Make the stream report its usage, where the server is known to support it and the extra chunk can be hidden."""
    headers = options.headers if isinstance(options.headers, dict) else {}
    raw = any(str(name).lower() == "x-stainless-raw-response" for name in headers)
    if raw or not _accepts_stream_usage(call):
        return
    options.json_data = {**options.json_data, **(call.request.asks_usage or {})}
    call.hidden_usage = True
    call.started = call.attempt_started = perf_counter()


def _accepts_stream_usage(call: OpenCall) -> bool:
    if state.stream_usage != "auto":
        return state.stream_usage == "always"
    return call.endpoint.local or call.endpoint.provider in STREAM_USAGE_PROVIDERS


def _exit_failed(call: OpenCall, error: BaseException) -> None:
    try:
        leave(call)
        fail(call, error)
    except Exception:
        drop("failed request")


def _exit_received(call: OpenCall, result: Any, is_async: bool) -> None:
    now = perf_counter()
    leave(call)
    _received(call, result, now, is_async)


def _received(call: OpenCall, result: Any, now: float, is_async: bool) -> None:
    """Read *result* by its kind: an SDK stream, a raw response, or the parsed answer."""
    fields = getattr(result, "__dict__", None) or {}
    if "response" in fields and hasattr(result, "__stream__"):
        hides = call.adapter.hides_chunk if call.hidden_usage else None
        reader = (AsyncStreamReader if is_async else StreamReader)(call, result._iterator, hides)
        hook_close(result.response, reader)
        result._iterator = reader
    elif "http_response" in fields or "_raw_response" in fields:
        _received_raw(call, result.http_response, now, is_async)
    else:
        finish(call, call.adapter.read_response(result), ended=now)


def _received_raw(call: OpenCall, response: Any, now: float, is_async: bool) -> None:
    """A raw response: read already (``with_raw_response``) or yet to be read by the consumer."""
    if hasattr(response, "_content"):
        if is_event_stream(response):
            tee(call, response, is_async=is_async)
        else:
            finish(call, read_json_body(call.adapter, response.content), ended=now)
    else:
        tee(call, response, is_async=is_async)


__all__ = ["Request", "instrument", "instrumented", "uninstrument", "wrap"]
