"""The SDK's own steps round each attempt of a call: the pause before it, the request about to be sent, the response received."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tracewrap.capture import tracing
from tracewrap.capture.call import OpenCall, running
from tracewrap.capture.patches import Make, Switch
from tracewrap.capture.phases import attend
from tracewrap.capture.seams.connector import listen_to_connectors

Step = Callable[[OpenCall, tuple[Any, ...], Mapping[str, Any]], None]
"""(call, positional arguments with the object first, keyword arguments): what to note of a step of *call*."""


def steps(is_async: bool) -> tuple[tuple[str, Make], ...]:
    """(method of an SDK's client class, maker of its replacement)."""
    return (
        ("_sleep_for_retry", _after(_paused, is_async)),
        ("_process_response", before(_responded)),
        ("_prepare_request", _after(_prepared_async if is_async else _prepared, is_async)),
    )


def before(step: Step, is_async: bool = False) -> Make:
    """Maker of a replacement that tells *step* of each run before it. *is_async*: SDKs look whether the method is a coroutine function."""

    def make(original: Any, switch: Switch) -> Any:
        @functools.wraps(original)
        async def told_async(*args: Any, **kwargs: Any) -> Any:
            try:
                _tell(step, args, kwargs)
            except Exception:
                pass
            return await original(*args, **kwargs)

        @functools.wraps(original)
        def told(*args: Any, **kwargs: Any) -> Any:
            try:
                _tell(step, args, kwargs)
            except Exception:
                pass
            return original(*args, **kwargs)

        return told_async if is_async else told

    return make


def _after(step: Step, is_async: bool) -> Make:
    """Maker of a replacement that tells *step* of each run when it is over. The two forms differ by ``await`` alone."""

    def make(original: Any, switch: Switch) -> Any:
        @functools.wraps(original)
        async def told_async(*args: Any, **kwargs: Any) -> Any:
            result = await original(*args, **kwargs)
            try:
                _tell(step, args, kwargs)
            except Exception:
                return result
            return result

        @functools.wraps(original)
        def told(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            try:
                _tell(step, args, kwargs)
            except Exception:
                return result
            return result

        return told_async if is_async else told

    return make


def _tell(step: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    call = running()
    if call is not None:
        step(call, args, kwargs)


def _paused(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The pause between two attempts is over."""
    call.attempt()


def _responded(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The SDK looks at the response of an attempt: its headers are the call's."""
    call.answered(kwargs.get("response"))


def _prepared(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The SDK's last look at a request before it hands it to its HTTP library; a span of its own is open by now."""
    if call.standing is None:
        call.standing = tracing.lend_current()
    attend(call, args[1] if len(args) > 1 else kwargs["request"], False, args[0]._client)


def _prepared_async(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """``_prepared`` of an asynchronous SDK."""
    if call.standing is None:
        call.standing = tracing.lend_current()
    attend(call, args[1] if len(args) > 1 else kwargs["request"], True, args[0]._client)
    listen_to_connectors()
