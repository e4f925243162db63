"""Seams below an SDK's methods, where it hands a path and a body to its own HTTP layer: kinds ``http`` and ``managed``.

``http``: the layer returns the response, read. The SDK parses its JSON next, and we look at what it parsed instead of parsing it again.
``managed``: the layer returns a context manager of a response that is read in its block; nothing is sent before the block is entered,
so that is when the clock starts.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from tracewrap.capture.bodies import is_event_stream, tee
from tracewrap.capture.call import CURRENT, OpenCall, describe_status, fail, finish, leave, start
from tracewrap.capture.phases import attend
from tracewrap.capture.seams.split_calls import batch_call, note_part
from tracewrap.capture.seams.split_calls import maker as batch_maker
from tracewrap.capture.state import drop
from tracewrap.vendors.adapter import Adapter, Reply, Seam

Reference = weakref.ref[Any] | None
Make = Callable[[Any, Reference], Any]


def maker(adapter: Adapter, seam: Seam, gate: list[bool]) -> Make:
    """Maker of the replacement for the method of *seam*, of a class or (reference given) of an instance."""
    if seam.kind == "batched":
        return batch_maker(adapter, seam, gate)  # type: ignore[no-any-return]
    if seam.kind == "managed":
        return functools.partial(_managed, adapter, seam.is_async, gate)
    return functools.partial(_http_async if seam.is_async else _http, adapter, gate)


def _http(adapter: Adapter, gate: list[bool], original: Any, reference: Reference) -> Any:
    @functools.wraps(original)
    def request(*args: Any, **kwargs: Any) -> Any:
        if reference is not None:
            args = (reference(), *args)
        try:
            call = _enter(adapter, args, kwargs) if gate[0] else None
        except Exception:
            call = None
        if call is None:
            response = original(*args, **kwargs)
            with suppress(Exception):
                note_part(adapter, args, kwargs, response)
            return response
        try:
            response = original(*args, **kwargs)
        except BaseException as error:
            with suppress(Exception):
                leave(call)
                fail(call, error)
            raise
        with suppress(Exception):
            _read(call, response)
        return response

    return request


def _http_async(adapter: Adapter, gate: list[bool], original: Any, reference: Reference) -> Any:
    @functools.wraps(original)
    async def arequest(*args: Any, **kwargs: Any) -> Any:
        if reference is not None:
            args = (reference(), *args)
        try:
            call = _enter(adapter, args, kwargs) if gate[0] else None
        except Exception:
            call = None
        if call is None:
            response = await original(*args, **kwargs)
            with suppress(Exception):
                note_part(adapter, args, kwargs, response)
            return response
        try:
            response = await original(*args, **kwargs)
        except BaseException as error:
            with suppress(Exception):
                leave(call)
                fail(call, error)
            raise
        with suppress(Exception):
            _read(call, response)
        return response

    return arequest


def _managed(adapter: Adapter, is_async: bool, gate: list[bool], original: Any, reference: Reference) -> Any:
    @functools.wraps(original)
    def stream(*args: Any, **kwargs: Any) -> Any:
        if reference is not None:
            args = (reference(), *args)
        manager = original(*args, **kwargs)
        try:
            if gate[0]:
                begin = functools.partial(_enter, adapter, args, kwargs)
                manager.gen = (AsyncBlock if is_async else Block)(manager.gen, begin)
        except Exception:
            return manager
        return manager

    return stream


def _enter(adapter: Adapter, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
    """Begin recording; None: pass it through. A call within itself is its next attempt."""
    current = CURRENT.get()
    if current is not None and current.client is args[0]:
        if kwargs.get("retries"):
            current.attempt()
        return None
    found = adapter.sdk_arguments(args, kwargs) if adapter.sdk_arguments is not None else None
    if found is None or batch_call(args[0], found[1]) is not None:
        return None
    call = start(adapter, args[0], *found)
    if call is not None and adapter.sender is not None:
        _listen_below(getattr(args[0], adapter.sender))
    return call


def _listen_below(sender: Any) -> None:
    """See the requests that the SDK's HTTP client sends for a call of ours: it builds them itself, so its ``send`` is where they pass."""
    if "send" in vars(sender):
        return  # ours already, or the program's own
    send = type(sender).send
    alive, is_async = weakref.ref(sender), inspect.iscoroutinefunction(send)

    @functools.wraps(send)
    def sending(request: Any, *args: Any, **kwargs: Any) -> Any:
        with suppress(Exception):
            call = CURRENT.get()
            if call is not None:
                attend(call, request, is_async)
        return send(alive(), request, *args, **kwargs)

    sender.send = sending


def _read(call: OpenCall, response: Any) -> None:
    """The response of an ``http`` seam has arrived, whole."""
    now = perf_counter()
    leave(call)
    try:
        call.response = response
        if refused(call, response, now):
            return
        response.json = _SeenJson(call, now, weakref.ref(response))
    except Exception:
        drop("response")


def refused(call: OpenCall, response: Any, now: float) -> bool:
    """End *call* as an error if the status of *response* says so."""
    if response.status_code < 400:
        return False
    finish(call, Reply(), ended=now, outcome="error", described=describe_status(call.adapter, response.status_code))
    return True


class _SeenJson:
    """The ``json`` method of one response: reads what the SDK parses. The span ends with that, or with the response."""

    __slots__ = ("_call", "_ended", "_response")

    def __init__(self, call: OpenCall, ended: float, response: weakref.ref[Any]):
        self._call = call
        self._ended = ended
        self._response = response

    def __call__(self, **kwargs: Any) -> Any:
        response: Any = self._response()
        value: Any = type(response).json(response, **kwargs)
        with suppress(Exception):
            if self._call.live:
                self._finish(value)
        return value

    def _finish(self, value: Any) -> None:
        try:
            reply = self._call.adapter.read_response(value)
        except Exception:
            drop("reading an answer")
            reply = Reply()
        finish(self._call, reply, ended=self._ended)

    def __del__(self) -> None:
        with suppress(Exception):
            if self._call.live:
                finish(self._call, Reply(), ended=self._ended)


class Block:
    """The generator of a context manager, recorded: its first step sends the request, what it yields is the response."""

    __slots__ = ("begin", "inner")

    def __init__(self, inner: Any, begin: Callable[[], OpenCall | None]):
        self.inner = inner
        self.begin: Callable[[], OpenCall | None] | None = begin

    def __iter__(self) -> Block:
        return self

    def __next__(self) -> Any:
        begin, self.begin = self.begin, None
        try:
            call = begin() if begin is not None else None
        except Exception:
            call = None
        if call is None:
            return next(self.inner)
        try:
            response = next(self.inner)
        except BaseException as error:
            with suppress(Exception):
                leave(call)
                fail(call, error)
            raise
        with suppress(Exception):
            _opened(call, response, False)
        return response

    def throw(self, *error: Any) -> Any:
        """As a generator's."""
        return self.inner.throw(*error)

    def close(self) -> None:
        """As a generator's."""
        self.inner.close()


class AsyncBlock:
    """The async generator of a context manager, recorded."""

    __slots__ = ("begin", "inner")

    def __init__(self, inner: Any, begin: Callable[[], OpenCall | None]):
        self.inner = inner
        self.begin: Callable[[], OpenCall | None] | None = begin

    def __aiter__(self) -> AsyncBlock:
        return self

    async def __anext__(self) -> Any:
        begin, self.begin = self.begin, None
        try:
            call = begin() if begin is not None else None
        except Exception:
            call = None
        if call is None:
            return await anext(self.inner)
        try:
            response = await anext(self.inner)
        except BaseException as error:
            with suppress(Exception):
                leave(call)
                fail(call, error)
            raise
        with suppress(Exception):
            _opened(call, response, True)
        return response

    async def athrow(self, *error: Any) -> Any:
        """As an async generator's."""
        return await self.inner.athrow(*error)

    async def aclose(self) -> None:
        """As an async generator's."""
        await self.inner.aclose()


def _opened(call: OpenCall, response: Any, is_async: bool) -> None:
    """The response of a ``managed`` seam has its headers; its body is yet to come."""
    now = perf_counter()
    leave(call)
    call.response = response
    if not refused(call, response, now):
        tee(call, response, is_async=is_async, events=call.request.stream or is_event_stream(response))
