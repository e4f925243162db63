"""The one guard round every recorded method: begin before it, then read its result or its failure, and never touch the call itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tracewrap.capture.call import OpenCall, fail, leave
from tracewrap.capture.patches import Switch
from tracewrap.vendors.adapter import Adapter


class Watch:
    """What one seam does round a call. Any of it may fail: the call goes through and its result is handed on as it is."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call is about to be made: what to record it with, or None to let it pass."""
        raise NotImplementedError

    def received(self, call: Any, result: Any) -> None:
        """The call returned *result*."""
        raise NotImplementedError

    def failed(self, call: OpenCall, error: BaseException) -> bool:
        """The call raised *error*; whether it is to be made once more, because what we added to it was the reason."""
        leave(call)
        fail(call, error)
        return False

    def unread(self, call: Any, result: Any) -> None:
        """``received`` itself failed."""

    def passed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """A call that is not recorded returned *result*."""


class VendorWatch(Watch):
    """A watch at a seam of one vendor's SDK."""

    def __init__(self, adapter: Adapter, is_async: bool) -> None:
        super().__init__(is_async)
        self.adapter = adapter


def watched(original: Any, watch: Watch, switch: Switch | None = None) -> Any:
    """*original*, watched; with a *switch*, its first argument is the object it belongs to. The two forms differ by ``await`` alone."""
    begin, again, read = _guards(watch, switch)

    @functools.wraps(original)
    async def called_async(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        while True:
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                if again(call, error):
                    continue
                raise
            return read(call, args, kwargs, result)

    @functools.wraps(original)
    def called(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        while True:
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if again(call, error):
                    continue
                raise
            return read(call, args, kwargs, result)

    return called_async if watch.is_async else called


def _guards(watch: Watch, switch: Switch | None) -> tuple[Any, Any, Any]:
    """(begin, again, read): *watch* behind guards, made once so that whatever of ours breaks later, the call goes through."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return watch.begin(args, kwargs) if switch is None or switch.admits(args[0]) else None
        except Exception:
            return None

    def again(call: Any, error: BaseException) -> bool:
        try:
            return call is not None and watch.failed(call, error)
        except Exception:
            return False

    def read(call: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        try:
            if call is not None:
                watch.received(call, result)
            elif switch is None or switch.admits(args[0]):
                watch.passed(args, kwargs, result)
        except Exception:
            with suppress(Exception):
                if call is not None:
                    watch.unread(call, result)
        return result

    return begin, again, read
