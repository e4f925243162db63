"""A program that streams with the SDK and reads the bytes of ``stream.response`` itself, to relay them: they are read as they pass.

The SDK reads the same bytes in the end, but from within a read of its own stream's reader; any other read is the program's. It gets what
it would get without tracewrap: of a stream that was asked for its usage, the event that brings it is taken out.
"""

from __future__ import annotations

import json
import re
import weakref
from typing import Any

from tracewrap.capture.bodies import decoder_of, tee
from tracewrap.capture.call import OpenCall
from tracewrap.capture.hidden import stripped
from tracewrap.capture.state import drop
from tracewrap.capture.streams import Reader
from tracewrap.vendors.adapter import Adapter

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_END = 4
_MAX_HELD_BYTES = 64 * 1024
"""An event that brings usage alone is a tenth of a kilobyte; of a longer one nothing is held back."""


class WithoutUsage:
    """An event stream without the events that exist only because usage was asked for; every other byte passes, an event at a time."""

    __slots__ = ("_adapter", "_held", "_searched")

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._held = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> bytes:
        """What may pass now that *data* came."""
        self._held += data
        passed = bytearray()
        begin = 0
        for end in _EVENT_END.finditer(self._held, self._searched):
            event = bytes(self._held[begin : end.end()])
            begin = end.end()
            if not self._is_hidden(event):
                passed += event
        del self._held[:begin]
        if len(self._held) > _MAX_HELD_BYTES:
            passed += self._held
            self._held.clear()
        self._searched = max(0, len(self._held) - _LONGEST_END + 1)
        return bytes(passed)

    def close(self) -> bytes:
        """What is left of a stream that ended within an event."""
        rest = bytes(self._held)
        self._held.clear()
        self._searched = 0
        return b"" if self._is_hidden(rest) else rest

    def _is_hidden(self, event: bytes) -> bool:
        if b'"usage"' not in event or self._adapter.hides_chunk is None:
            return False
        lines = [line[5:].strip() for line in event.splitlines() if line[:5] == b"data:"]
        try:
            chunk = json.loads(b"\n".join(lines))
            return isinstance(chunk, dict) and self._adapter.hides_chunk(chunk)
        except (ValueError, RecursionError):
            return False
        except Exception:
            return not stripped(self._adapter, event)


def watch_relay(reader: Reader, response: Any, *, is_async: bool) -> None:
    """Read the body of *response* by its bytes as soon as somebody other than *reader*, which reads the SDK's stream of it, begins to."""
    # Weakly: the response must not keep alive a stream that its consumer has dropped.
    reference = weakref.ref(reader)
    prefix = "a" if is_async else ""
    for name in (f"{prefix}iter_bytes", f"{prefix}iter_raw"):
        method = getattr(response, name, None)
        if method is not None:
            setattr(response, name, _watched(method, reference, response, is_async))


def _watched(method: Any, reference: weakref.ref[Reader], response: Any, is_async: bool) -> Any:
    name = method.__name__

    def read(*args: Any, **kwargs: Any) -> Any:
        reader = reference()
        if reader is None or not reader.untouched:
            return method(*args, **kwargs)
        try:
            reader.give_way()
            _relay(reader.call, response, is_async, name)
            found = getattr(response, name)
        except Exception:
            drop("a relayed stream")
            found = method
        return found(*args, **kwargs)

    return read


def _relay(call: OpenCall, response: Any, is_async: bool, name: str) -> None:
    without = WithoutUsage(call.adapter) if call.asked is not None else None
    if name.endswith("iter_raw") and decoder_of(response) is not None:
        without = None  # encoded: no event can be taken out of these bytes
    tee(call, response, is_async=is_async, without=without)
