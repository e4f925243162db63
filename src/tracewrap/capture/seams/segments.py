"""The seam of kind ``segments``: a method that sends a request, with the SDK's own retries, and returns an object of the SDK's.

The object holds the answer's text in ``response_stream``, a list, or gives the chunks of a stream, parsed, by its method ``segments()``
or ``async_segments()``, which it is asked for once: then a reader stands between that and the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracewrap.capture.bodies import parsed, passing, passing_async, read_json_body
from tracewrap.capture.call import OpenCall, finish, leave
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import Make
from tracewrap.capture.seams.http import enter
from tracewrap.capture.seams.steps import before
from tracewrap.capture.seams.watch import VendorWatch
from tracewrap.capture.state import drop, state
from tracewrap.capture.streams import AsyncStreamReader, StreamReader


class SegmentsWatch(VendorWatch):
    """Round the method that sends."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        try:
            return enter(self.adapter, args, kwargs, self.is_async)
        except Exception:
            drop("request")
            return None

    def received(self, call: OpenCall, result: Any) -> None:
        """The answer has arrived, or the head of a stream."""
        now = perf_counter()
        leave(call)
        call.answered(result)
        answer = result.response_stream
        if isinstance(answer, list):
            content = str(answer[0]).encode("utf-8", "replace") if answer else b""
            if state.content:
                call.said = (parsed(content),)
            finish(call, read_json_body(call.adapter, content), ended=now)
        elif self.is_async:
            reader = AsyncStreamReader(call, result.async_segments())
            result.async_segments = [passing_async(reader)].pop  # asked for once; kept, it would be a circle
        else:
            plain = StreamReader(call, result.segments())
            result.segments = [passing(plain)].pop

    def unread(self, call: OpenCall, result: Any) -> None:
        """Reading *result* failed: its runtime is known all the same."""
        drop("response")


def tries(is_async: bool) -> tuple[str, Make]:
    """(method by which the SDK makes one try, maker of its replacement)."""
    return "_async_request_once" if is_async else "_request_once", before(_trying, is_async)


def _trying(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if call.client is args[0]:
        call.trying()
