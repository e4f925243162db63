"""The SDK's own steps round each attempt of a call: the pause before it, the request about to be sent, the response received."""

from __future__ import annotations

import functools
import weakref
from contextlib import suppress
from typing import Any

from tracewrap.capture.call import CURRENT
from tracewrap.capture.phases import attend

Reference = weakref.ref[Any] | None


def counting(is_async: bool, original: Any, reference: Reference) -> Any:
    """The SDK's pause between two attempts: when it is over, the next attempt begins."""
    if is_async:

        async def async_pause(*args: Any, **kwargs: Any) -> Any:
            result = await original(*(args if reference is None else (reference(), *args)), **kwargs)
            with suppress(Exception):
                _next_attempt()
            return result

        return async_pause

    def pause(*args: Any, **kwargs: Any) -> Any:
        result = original(*(args if reference is None else (reference(), *args)), **kwargs)
        with suppress(Exception):
            _next_attempt()
        return result

    return pause


def _next_attempt() -> None:
    call = CURRENT.get()
    if call is not None:
        call.attempt()


def seeing_response(original: Any, reference: Reference) -> Any:
    """The SDK looks at the response of an attempt: its headers are the call's."""

    @functools.wraps(original)
    def process_response(*args: Any, **kwargs: Any) -> Any:
        call = CURRENT.get()
        if call is not None:
            call.response = kwargs.get("response")
        if reference is not None:
            return original(reference(), *args, **kwargs)
        return original(*args, **kwargs)

    return process_response


def attending(is_async: bool, original: Any, reference: Reference) -> Any:
    """The SDK's last look at a request before it hands it to its HTTP library, once an attempt."""
    if is_async:

        @functools.wraps(original)
        async def prepare_async(*args: Any, **kwargs: Any) -> Any:
            result = await original(*(args if reference is None else (reference(), *args)), **kwargs)
            with suppress(Exception):
                _attend(args, kwargs, True)
            return result

        return prepare_async

    @functools.wraps(original)
    def prepare(*args: Any, **kwargs: Any) -> Any:
        result = original(*(args if reference is None else (reference(), *args)), **kwargs)
        with suppress(Exception):
            _attend(args, kwargs, False)
        return result

    return prepare


def _attend(args: tuple[Any, ...], kwargs: dict[str, Any], is_async: bool) -> None:
    call = CURRENT.get()
    if call is not None:
        attend(call, args[-1] if args else kwargs["request"], is_async)
