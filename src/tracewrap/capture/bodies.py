"""Reading HTTP bodies as they pass: JSON answers and server-sent events, for raw responses and for bare transports.

Bytes are handed on untouched. Of an event stream only the first and the last events are kept, so memory is bounded; a JSON body is kept
up to ``MAX_JSON_BYTES``, beyond which its usage is absent.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from tracewrap.capture.call import OpenCall
from tracewrap.capture.streams import AsyncStreamReader, Reader, StreamReader, hook_close
from tracewrap.vendors.adapter import KEPT_CHUNKS, Adapter, Reply

MAX_JSON_BYTES = 16 * 1024 * 1024
_MAX_LINE_BYTES = 4 * 1024 * 1024


class Body:
    """An incremental reader of one answer: feed it bytes, ask it for the Reply at the end."""

    __slots__ = ("_adapter", "_count", "_events", "_first", "_kept", "_lost", "_parts", "_rest", "_size")

    def __init__(self, adapter: Adapter, *, events: bool):
        self._adapter = adapter
        self._events = events
        self._parts: list[bytes] = []
        self._size = 0
        self._lost = False
        self._rest = b""
        self._first: bytes | None = None
        self._kept: deque[bytes] = deque(maxlen=KEPT_CHUNKS)
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Take the next decoded bytes of the body."""
        if not self._events:
            self._size += len(data)
            if self._size > MAX_JSON_BYTES:
                self._lost, self._parts = True, []
            else:
                self._parts.append(data)
            return
        lines = (self._rest + data).splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._rest = lines.pop() if len(lines[-1]) < _MAX_LINE_BYTES else b""
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        """One line: an event's data (SSE) or a bare JSON line (Cohere v1)."""
        if line.startswith(b"data:"):
            line = line[5:]
        elif not line.startswith(b"{"):
            return
        line = line.strip()
        if not line or line == b"[DONE]":
            return
        if self._first is None:
            self._first = line
        self._count += 1
        self._kept.append(line)

    def reply(self) -> Reply:
        """What the body says; an empty Reply when it is no JSON."""
        if not self._events:
            return Reply() if self._lost else read_json_body(self._adapter, b"".join(self._parts))
        if self._rest:
            self._take(self._rest)
            self._rest = b""
        if self._first is None:
            return Reply()
        return self._adapter.read_stream(_parse(self._first), [_parse(line) for line in self._kept], self._count)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return {}


def read_json_body(adapter: Adapter, content: bytes) -> Reply:
    """The Reply in a whole JSON body; empty when it is none."""
    parsed = _parse(content)
    return adapter.read_response(parsed) if isinstance(parsed, dict) and parsed else Reply()


class _BodyReader(Reader):
    """What byte readers add to stream readers: the bytes are fed to a Body, which knows the answer."""

    __slots__ = ("body",)

    body: Body

    def reply(self) -> Reply:
        return self.body.reply()


class ByteReader(_BodyReader, StreamReader):
    """Iterator of body bytes that feeds a Body."""

    __slots__ = ()

    def __next__(self) -> Any:
        data = super().__next__()
        with suppress(Exception):
            self.body.feed(data)
        return data


class AsyncByteReader(_BodyReader, AsyncStreamReader):
    """Async iterator of body bytes that feeds a Body."""

    __slots__ = ()

    async def __anext__(self) -> Any:
        data = await super().__anext__()
        with suppress(Exception):
            self.body.feed(data)
        return data


def is_event_stream(response: Any) -> bool:
    """Whether an httpx or httpx2 *response* carries events rather than one JSON value."""
    kind = str(response.headers.get("content-type", ""))
    return "event-stream" in kind or "ndjson" in kind or "stream+json" in kind


def tee(call: OpenCall, response: Any, *, is_async: bool, events: bool | None = None) -> None:
    """Read the body of *response* as its consumer reads it; the span ends with the body, or when the response is closed."""
    body = Body(call.adapter, events=is_event_stream(response) if events is None else events)
    if is_async:
        _tee_async(call, response, body)
    else:
        _tee_sync(call, response, body)


def _tee_sync(call: OpenCall, response: Any, body: Body) -> None:
    original = response.iter_bytes
    reader = ByteReader(call, None)
    reader.body = body

    def iter_bytes(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        iterator: Iterator[bytes] = original(*args, **kwargs)
        try:
            reader.iterator = iterator
            return _passing(reader)
        except Exception:
            return iterator

    response.iter_bytes = iter_bytes
    hook_close(response, reader)


def _passing(reader: ByteReader) -> Iterator[bytes]:
    """A generator, as ``iter_bytes`` returns; closing it closes the SDK's."""
    try:
        yield from reader
    finally:
        reader.iterator.close()


def _tee_async(call: OpenCall, response: Any, body: Body) -> None:
    original = response.aiter_bytes
    reader = AsyncByteReader(call, None)
    reader.body = body

    def aiter_bytes(*args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        iterator: AsyncIterator[bytes] = original(*args, **kwargs)
        try:
            reader.iterator = iterator
            return _passing_async(reader)
        except Exception:
            return iterator

    response.aiter_bytes = aiter_bytes
    hook_close(response, reader)


async def _passing_async(reader: AsyncByteReader) -> AsyncIterator[bytes]:
    """An async generator, as ``aiter_bytes`` returns; closing it closes the SDK's."""
    try:
        async for data in reader:
            yield data
    finally:
        await reader.iterator.aclose()
