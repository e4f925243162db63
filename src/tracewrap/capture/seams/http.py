"""Seams below an SDK's methods, where it hands a path and a body to its own HTTP layer: kinds ``http`` and ``managed``.

``http``: the layer returns the response, read. The SDK parses its JSON next, and we look at what it parsed instead of parsing it again.
``managed``: the layer returns a context manager of a response that is read in its block; nothing is sent before the block is entered,
so that is when the clock starts.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tracewrap.capture.bodies import kind_of, tee
from tracewrap.capture.call import OpenCall, describe_status, finish, leave, running, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import Make, Switch, patch
from tracewrap.capture.seams.connector import listen_to_connectors
from tracewrap.capture.seams.entries import attend
from tracewrap.capture.seams.split_calls import batch_call, note_part
from tracewrap.capture.seams.steps import before
from tracewrap.capture.seams.watch import VendorWatch, watched
from tracewrap.capture.state import drop, state
from tracewrap.vendors.adapter import Adapter, Reply


def managed(adapter: Adapter, is_async: bool) -> Make:
    """Maker of the replacement for a method that returns a context manager of the response."""

    def make(original: Any, switch: Switch) -> Any:
        @functools.wraps(original)
        def stream(*args: Any, **kwargs: Any) -> Any:
            manager = original(*args, **kwargs)
            with suppress(Exception):
                if switch.admits(args[0]):
                    watch = BlockWatch(adapter, is_async, functools.partial(enter, adapter, args, kwargs, is_async))
                    manager.gen = (AsyncBlock if is_async else Block)(manager.gen, watch)
            return manager

        return stream

    return make


class ResponseWatch(VendorWatch):
    """Round a method that returns the HTTP response, read."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        return enter(self.adapter, args, kwargs, self.is_async)

    def received(self, call: OpenCall, result: Any) -> None:
        """The response has arrived, whole."""
        now = perf_counter()
        leave(call)
        try:
            call.answered(result)
            if refused(call, result, now):
                return
            result.json = _SeenJson(call, now, weakref.ref(result))
        except Exception:
            drop("response")

    def passed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """It may be part of a call that was split into several requests."""
        note_part(self.adapter, args, kwargs, result)


def enter(adapter: Adapter, args: tuple[Any, ...], kwargs: dict[str, Any], is_async: bool) -> OpenCall | None:
    """Begin recording; None: pass it through. A call within itself is its next attempt."""
    current = running()
    if current is not None and current.client is args[0]:
        if kwargs.get("retries"):
            current.attempt()
        return None
    found = adapter.sdk_arguments(args, kwargs) if adapter.sdk_arguments is not None else None
    if found is None or batch_call(adapter, args[0], found[1]) is not None:
        return None
    call = start(adapter, args[0], *found)
    if is_async:
        listen_to_connectors()
    sender = getattr(args[0], _sender_of(adapter, is_async), None)
    if call is not None and sender is not None:
        step = _SENDING[inspect.iscoroutinefunction(type(sender).send)]
        patch(type(sender), "send", before(step), adapter.name, everyone=True, purpose="attend")
    return call


def _sender_of(adapter: Adapter, is_async: bool) -> str:
    return (adapter.async_sender if is_async else None) or adapter.sender or ""


def _sending(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, is_async: bool) -> None:
    """The SDK's HTTP client sends a request: it builds it itself, so this is where it passes."""
    if call.sent < 0:
        return  # one of several requests, side by side
    if getattr(call.client, _sender_of(call.adapter, is_async), None) is args[0]:
        attend(call, args[1] if len(args) > 1 else kwargs["request"], is_async, args[0])


_SENDING = {is_async: functools.partial(_sending, is_async=is_async) for is_async in (False, True)}


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
            if state.content:
                self._call.said = (value,)
            reply = self._call.adapter.read_response(value)
        except Exception:
            drop("reading an answer")
            reply = Reply()
        finish(self._call, reply, ended=self._ended)

    def __del__(self) -> None:
        with suppress(Exception):
            if self._call.live:
                finish(self._call, Reply(), ended=self._ended)


class BlockWatch(VendorWatch):
    """Round the first step of a context manager's generator, which sends the request and yields the response."""

    def __init__(self, adapter: Adapter, is_async: bool, enter: Callable[[], OpenCall | None]) -> None:
        super().__init__(adapter, is_async)
        self._enter = enter

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """The block is entered: nothing was sent before."""
        return self._enter()

    def received(self, call: OpenCall, result: Any) -> None:
        """The response has its headers; its body is yet to come."""
        now = perf_counter()
        leave(call)
        call.answered(result)
        if not refused(call, result, now):
            kind = kind_of(result)
            tee(call, result, is_async=self.is_async, kind="events" if kind == "json" and call.request.stream else kind)


class Block:
    """The generator of a context manager, recorded."""

    __slots__ = ("_first", "inner")

    def __init__(self, inner: Any, watch: BlockWatch):
        self.inner = inner
        self._first: Any = watched(functools.partial(next, inner), watch)

    def __iter__(self) -> Block:
        return self

    def __next__(self) -> Any:
        first, self._first = self._first, None
        return next(self.inner) if first is None else first()

    def throw(self, *error: Any) -> Any:
        """As a generator's."""
        return self.inner.throw(*error)

    def close(self) -> None:
        """As a generator's."""
        self.inner.close()


class AsyncBlock:
    """The async generator of a context manager, recorded."""

    __slots__ = ("_first", "inner")

    def __init__(self, inner: Any, watch: BlockWatch):
        self.inner = inner
        self._first: Any = watched(functools.partial(anext, inner), watch)

    def __aiter__(self) -> AsyncBlock:
        return self

    async def __anext__(self) -> Any:
        first, self._first = self._first, None
        return await (anext(self.inner) if first is None else first())

    async def athrow(self, *error: Any) -> Any:
        """As an async generator's."""
        return await self.inner.athrow(*error)

    async def aclose(self) -> None:
        """As an async generator's."""
        await self.inner.aclose()
