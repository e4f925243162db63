"""The seam of kind ``operation``: botocore's one method for every operation of every service, called with its name and parameters.

It retries by itself and returns the answer parsed; what streams, and what a model was invoked for, comes as an object that reads the
raw body of the HTTP response when its consumer does. A tap on that raw body reads along; the objects are botocore's own. Another
service's operation costs one look at its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from tracewrap.capture.bodies import Body, ByteReader, passing
from tracewrap.capture.call import OpenCall, finish, leave, start
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.patches import patch
from tracewrap.capture.seams.steps import before
from tracewrap.capture.seams.watch import VendorWatch
from tracewrap.capture.state import drop, state


class OperationWatch(VendorWatch):
    """Round the method that runs an operation."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        try:
            found = self.adapter.sdk_arguments(args, kwargs) if self.adapter.sdk_arguments is not None else None
            if found is None:
                return None
            call = start(self.adapter, args[0], *found)
            if call is not None and self.adapter.sender is not None:
                sender = type(getattr(args[0], self.adapter.sender))
                patch(sender, "_send", before(_trying), self.adapter.name, everyone=True, purpose="try")
        except Exception:
            drop("operation")
            return None
        return call

    def received(self, call: OpenCall, result: Any) -> None:
        """The answer is here, or the head of one whose body is read later."""
        now = perf_counter()
        leave(call)
        call.answered(_Head(result["ResponseMetadata"]))
        body = next((value for value in result.values() if hasattr(value, "_raw_stream")), None)
        if body is None:
            if state.content:
                call.said = (result,)
            finish(call, call.adapter.read_response(result), ended=now)
            return
        reader = ByteReader(call, None)
        reader.body = Body(call.adapter, kind="frames" if call.request.stream else "json")
        reader.decode = None
        body._raw_stream = Tap(body._raw_stream, reader)

    def unread(self, call: OpenCall, result: Any) -> None:
        """Reading *result* failed: the consumer reads it as it is."""
        drop("response")


class _Head:
    """What is read of a response's head."""

    __slots__ = ("headers",)

    def __init__(self, metadata: Any):
        self.headers: Mapping[str, str] = metadata.get("HTTPHeaders") or {}


def _trying(call: OpenCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A request is about to be sent: by this call's client, not for the credentials that it needs."""
    if getattr(call.client, call.adapter.sender or "", None) is args[0]:
        call.trying()


class Tap:
    """The raw body of a response, read along. All else is the raw body's own."""

    def __init__(self, raw: Any, reader: ByteReader):
        self._raw = raw
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read(self, amt: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """As the raw body's."""
        entered = perf_counter()
        try:
            data = self._raw.read(amt, *args, **kwargs)
        except BaseException as error:
            self._stopped(entered, error)
            raise
        self._passed(entered, data)
        if amt is None or (amt > 0 and not data):
            self._stopped(entered, StopIteration())
        return data

    def readinto(self, buffer: Any) -> Any:
        """As the raw body's."""
        entered = perf_counter()
        try:
            size = self._raw.readinto(buffer)
        except BaseException as error:
            self._stopped(entered, error)
            raise
        self._passed(entered, bytes(memoryview(buffer)[:size]))
        if not size and len(buffer):
            self._stopped(entered, StopIteration())
        return size

    def readlines(self, *args: Any) -> Any:
        """As the raw body's."""
        entered = perf_counter()
        lines = self._raw.readlines(*args)
        self._passed(entered, b"".join(lines))
        self._stopped(entered, StopIteration())
        return lines

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As the raw body's, which is a generator."""
        return self._passing(self._raw.stream(*args, **kwargs))

    def close(self) -> None:
        """As the raw body's."""
        try:
            self._raw.close()
        finally:
            with suppress(Exception):
                self._reader.closed()

    def __enter__(self) -> Tap:
        self._raw.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        try:
            return self._raw.__exit__(*error)
        finally:
            with suppress(Exception):
                self._reader.closed()

    def __iter__(self) -> Iterator[Any]:
        return self._passing(iter(self._raw))

    def _passing(self, inner: Iterator[Any]) -> Iterator[Any]:
        """*inner*, whose items are pieces of the body, read along."""
        try:
            self._reader.iterator = inner
            return self._until_failed(passing(self._reader))
        except Exception:
            return inner

    def _until_failed(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for data in pieces:
            self._failed()
            yield data

    def _failed(self) -> None:
        """An exception among the events ends the call: botocore raises it, reads no further and closes nothing."""
        with suppress(Exception):
            if self._reader.body.failed:
                self._reader.end("complete", self._reader.left)

    def _passed(self, entered: float, data: bytes) -> None:
        with suppress(Exception):
            if data:
                self._reader.passed(entered, data)
        self._failed()

    def _stopped(self, entered: float, error: BaseException) -> None:
        with suppress(Exception):
            self._reader.stopped(entered, error)
