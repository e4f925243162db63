"""Replacements that tell of a step of a call, before it runs or when it is over, and change nothing of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tracewrap.capture.call import OpenCall, running
from tracewrap.capture.patches import Make, Switch

Step = Callable[[OpenCall, tuple[Any, ...], Mapping[str, Any]], None]
"""(call, positional arguments with the object first, keyword arguments): what to note of a step of *call*."""


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


def after(step: Step, is_async: bool) -> Make:
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
