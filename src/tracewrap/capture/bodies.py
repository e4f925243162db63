"""Reading HTTP bodies as they pass: JSON answers and event streams, for raw responses and for bare transports.

Bytes are handed on untouched. Of an event stream the first, the notable and the last events are kept; a JSON body or an event is kept
whole up to ``events.MAX_EVENT_BYTES``, beyond that its beginning and its end, and usage is looked for there. Memory is bounded.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Literal, Protocol

from tracewrap.capture.call import OpenCall
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.encodings import decoder, unreadable
from tracewrap.capture.events import EDGE_BYTES, MAX_EVENT_BYTES, AmazonEvents, Bounded, Parser, ServerSentEvents
from tracewrap.capture.hidden import stripped, stripping
from tracewrap.capture.state import state
from tracewrap.capture.streams import AsyncStreamReader, Reader, StreamReader, hook_close
from tracewrap.vendors.adapter import Adapter, Reply

Kind = Literal["json", "events", "frames"]
_IDLE = re.compile(rb'"(?:type|event)"\s*:\s*"(?:ping|keep-?alive|heartbeat)"')
"""Events that only keep the connection open."""
_IDLE_BYTES = 200


_BLANK = b"\xef\xbb\xbf \t\r\n"
_JSON_STARTS = b'{["'
"""With what a JSON answer begins; a line of an event stream does not."""


class Body:
    """An incremental reader of one answer: feed it bytes, ask it for the Reply at the end.

    ``count``: events with data seen, keep-alives aside; of a JSON body, 1 from its beginning on.
    """

    __slots__ = (
        "_adapter",
        "_all",
        "_all_bytes",
        "_first",
        "_latest",
        "_notable",
        "_parser",
        "_unsaid",
        "_whole",
        "count",
        "ended",
        "failed",
    )

    def __init__(self, adapter: Adapter, *, kind: Kind):
        self._adapter = adapter
        self._parser: Parser | None = None
        if kind != "json":
            self._parser = (ServerSentEvents if kind == "events" else AmazonEvents)(self._take)
        self._whole = Bounded()
        self._first: bytes | None = None
        self._notable: deque[tuple[int, bytes]] = deque(maxlen=64)
        self._latest: deque[tuple[int, bytes]] = deque(maxlen=4)
        self._all: list[bytes] | None = [] if state.content else None
        self._all_bytes = 0
        self.ended = False
        """Its end mark was seen."""
        self.failed = False
        """An event named ``error`` was seen."""
        self._unsaid = False
        """It looks like events, and nobody said so."""
        self.count = 0

    def feed(self, data: bytes) -> None:
        """Take the next decoded bytes of the body."""
        if self._parser is None and not self.count and (begun := data.lstrip(_BLANK)):
            if begun[0] in _JSON_STARTS:
                self.count = 1
            else:
                self._parser, self._unsaid = ServerSentEvents(self._take), True
        if self._parser is not None:
            self._parser.feed(data)
        else:
            self._whole.add(data)

    def _take(self, data: bytes, name: bytes) -> None:
        """One event."""
        data = data.strip()
        if data in self._adapter.end_marks:
            self.ended = True
        if data[:1] != b"{" or (len(data) < _IDLE_BYTES and _IDLE.search(data)):
            return
        if name == b"error":
            self.failed = True
            if b'"error"' not in data[:EDGE_BYTES]:
                data = b'{"type":"error","error":' + data + b"}"
        if self._first is None:
            self._first = data
        self.count += 1
        marks = self._adapter.marks
        if marks.search(data[:EDGE_BYTES]) or (len(data) > EDGE_BYTES and marks.search(data[-EDGE_BYTES:])):
            self._notable.append((self.count, data))
        self._latest.append((self.count, data))
        if self._all is not None:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        """Keep *data* for those who want message content, as far as there is room."""
        self._all_bytes += len(data)
        if self._all is not None and self._all_bytes <= MAX_EVENT_BYTES:
            self._all.append(data)

    def said(self) -> Callable[[], list[Any]]:
        """What gives the answer, or all events of it; nothing where message content is not wanted."""
        return partial(_all_parsed, tuple(self._all or ()))

    def reply(self) -> Reply:
        """What the body says; an empty Reply when it is no JSON."""
        if self._parser is None:
            whole = self._whole.take()
            if self._all is not None:
                self._keep(whole)
            return read_json_body(self._adapter, whole)
        self._parser.close()
        if self._unsaid and not self.count:
            return Reply()
        kept = dict(sorted({**dict(self._notable), **dict(self._latest)}.items()))
        chunks = {number: parsed(data) for number, data in kept.items()}
        first = chunks.get(1) if 1 in chunks else None if self._first is None else parsed(self._first)
        reply = self._adapter.read_stream(first, list(chunks.values()), self.count)
        if self.ended and reply.outcome == "partial":
            reply = reply._replace(outcome=None)
        return reply


def _all_parsed(pieces: tuple[bytes, ...]) -> list[Any]:
    return [parsed(data) for data in pieces]


def parsed(data: bytes) -> Any:
    """The JSON value *data*; of one too long to be kept or parsed, what its edges tell; {} for what is none."""
    if len(data) > 16 * EDGE_BYTES:
        return edges(data)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return edges(data) if len(data) >= 2 * EDGE_BYTES else {}


_NAMES = re.compile(rb'"(type|object|id|model|status|service_tier)"\s*:\s*"([^"\\]{1,256})"')
_ENDS = re.compile(rb'"(stop_reason|finish_reason)"\s*:\s*"([^"\\]{1,64})"')
_USAGE = re.compile(rb'"(usage)"\s*:\s*\{')


def edges(data: bytes) -> dict[str, Any]:
    """What the beginning and the end of a long answer or event tell: names, why it ended, usage.

    Text inside of it cannot be taken for a key: its quotes are escaped.
    """
    head, tail = data[:EDGE_BYTES], data[-EDGE_BYTES:]
    found: dict[str, Any] = {}
    for match in _NAMES.finditer(head):
        found.setdefault(match.group(1).decode(), match.group(2).decode("utf-8", "replace"))
    for part in (head, tail):
        for match in _ENDS.finditer(part):
            reason = match.group(2).decode("utf-8", "replace")
            found |= {"stop_reason": reason} if match.group(1) == b"stop_reason" else _choice(reason)
        for match in _USAGE.finditer(part):
            with suppress(ValueError, RecursionError):
                text = part[match.end() - 1 :].decode("utf-8", "replace")
                found["usage"] = json.JSONDecoder().raw_decode(text)[0]
    if str(found.get("type", "")).startswith("response."):
        return {"type": found["type"], "response": found}
    return found


def _choice(reason: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": reason}]}


def read_json_body(adapter: Adapter, content: bytes) -> Reply:
    """The Reply in a whole JSON body, or in one that lists the chunks of a stream; empty when it is neither."""
    value = parsed(content)
    if isinstance(value, list) and value:
        return adapter.read_stream(value[0], value, len(value))
    return adapter.read_response(value) if isinstance(value, dict) and value else Reply()


def read_paid(adapter: Adapter, response: Any) -> Reply | None:
    """What the HTTP *response* says whose answer the SDK could not make sense of; None where there is no such answer."""
    content = getattr(response, "_content", None)
    if getattr(response, "status_code", 0) != 200 or not isinstance(content, bytes) or kind_of(response) != "json":
        return None
    return read_json_body(adapter, content)


class _BodyReader(Reader):
    """What byte readers add to stream readers: the bytes are fed to a Body, which knows the answer."""

    __slots__ = ("body", "decode", "event_at")

    body: Body
    decode: Callable[[bytes], bytes] | None
    event_at: float
    """When an event last came."""

    @property
    def saw_end_mark(self) -> bool:
        return self.body.ended

    def reply(self) -> Reply:
        return Reply() if self.decode is unreadable else self.body.reply()

    def said(self) -> Callable[[], list[Any]]:
        return self.body.said()

    def passed(self, entered: float, data: bytes) -> None:
        """The read that began at *entered* brought *data*."""
        now = perf_counter()
        self.reading = False
        self.count_consumer(entered, now)
        before, left, self.left = self.body.count, self.left, now
        try:
            self.body.feed(data if self.decode is None else self.decode(data))
        except Exception:
            return
        if self.gaps is not None and self.body.count > before:
            if before:
                self.note_gap(entered, now, left, self.event_at)
            self.event_at = now
        if self.first_at is None and self.body.count:
            self.first_at, self.before_first = now, self.consumer


class ByteReader(_BodyReader, StreamReader):
    """Iterator of body bytes that feeds a Body."""

    __slots__ = ()

    def __next__(self) -> Any:
        self.reading = True
        entered = perf_counter()
        try:
            data = self.iterator.__next__()
        except BaseException as error:
            with suppress(Exception):
                self.stopped(entered, error)
            raise
        with suppress(Exception):
            self.passed(entered, data)
        return data


class AsyncByteReader(_BodyReader, AsyncStreamReader):
    """Async iterator of body bytes that feeds a Body."""

    __slots__ = ()

    async def __anext__(self) -> Any:
        self.reading = True
        entered = perf_counter()
        try:
            data = await self.iterator.__anext__()
        except BaseException as error:
            with suppress(Exception):
                self.stopped(entered, error)
            raise
        with suppress(Exception):
            self.passed(entered, data)
        return data


def kind_of(response: Any) -> Kind:
    """Whether an httpx or httpx2 *response* carries events, Amazon's frames, or one JSON value."""
    said = str(response.headers.get("content-type", ""))
    if "amazon.eventstream" in said:
        return "frames"
    return "events" if "event-stream" in said or "ndjson" in said or "stream+json" in said else "json"


class Filter(Protocol):
    """Takes bytes of a body out on their way to the consumer."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now that *data* came."""

    def close(self) -> bytes:
        """What may pass of the rest."""


def tee(
    call: OpenCall, response: Any, *, is_async: bool, kind: Kind | None = None, without: Filter | None = None
) -> None:
    """Read the body of *response* as its consumer reads it, decoded or raw; the span ends with the body, or when the response is closed.

    *without*: what the consumer does not get to see of it.
    """
    reader = (AsyncByteReader if is_async else ByteReader)(call, None)
    reader.body, reader.decode = Body(call.adapter, kind=kind or kind_of(response)), None
    handed_on: Any = passing_async if is_async else passing
    prefix = "a" if is_async else ""
    bytes_of, raw_of = getattr(response, f"{prefix}iter_bytes"), getattr(response, f"{prefix}iter_raw", None)

    def iter_bytes(*args: Any, **kwargs: Any) -> Any:
        iterator = bytes_of(*args, **kwargs)
        try:
            reader.iterator = iterator
            return handed_on(reader, without)
        except Exception:
            return iterator if without is None else stripping(call.adapter, iterator, is_async)

    def iter_raw(*args: Any, **kwargs: Any) -> Any:
        iterator = raw_of(*args, **kwargs)  # type: ignore[misc]
        try:
            if reader.iterator is not None:
                return iterator  # from within iter_bytes, which is read already
            reader.decode = decoder_of(response)
            reader.iterator = iterator
            return handed_on(reader, without)
        except Exception:
            return iterator

    setattr(response, f"{prefix}iter_bytes", iter_bytes)
    if raw_of is not None:
        setattr(response, f"{prefix}iter_raw", iter_raw)
    hook_close(response, reader)


def tee_method(call: OpenCall, response: Any, name: str, *, kind: Kind, decode: Callable[[Any], bytes]) -> ByteReader:
    """``tee`` of a response whose body is handed on by the method *name*; *decode*: what makes its pieces bytes. Gives the reader."""
    reader = ByteReader(call, None)
    reader.body, reader.decode = Body(call.adapter, kind=kind), decode
    method = getattr(response, name)

    def iterate(*args: Any, **kwargs: Any) -> Any:
        iterator = method(*args, **kwargs)
        try:
            reader.iterator, reader.decode = iterator, decode
            return passing(reader)
        except Exception:
            return iterator

    setattr(response, name, iterate)
    hook_close(response, reader)
    return reader


def decoder_of(response: Any) -> Callable[[bytes], bytes] | None:
    """What makes the raw bytes of *response* its content; None: they are it."""
    return decoder(str(response.headers.get("content-encoding", "")))


def passing(reader: StreamReader, without: Filter | None = None) -> Iterator[Any]:
    """A generator of what *reader* reads, where the SDK expects one; closing it closes the SDK's."""
    try:
        if without is None:
            yield from reader
            return
        for data in reader:
            try:
                passed = without.feed(data)
            except Exception:
                passed = stripped(reader.call.adapter, data)
            if passed:
                yield passed
        try:
            rest = without.close()
        except Exception:
            rest = b""
        if rest:
            yield rest
    finally:
        reader.iterator.close()


async def passing_async(reader: AsyncStreamReader, without: Filter | None = None) -> AsyncIterator[Any]:
    """An async generator of what *reader* reads, where the SDK expects one; closing it closes the SDK's."""
    try:
        async for data in reader:
            try:
                passed = data if without is None else without.feed(data)
            except Exception:
                passed = stripped(reader.call.adapter, data)
            if passed or without is None:
                yield passed
        try:
            rest = b"" if without is None else without.close()
        except Exception:
            rest = b""
        if rest:
            yield rest
    finally:
        await reader.aclose()
