"""Bare HTTP by requests and aiohttp, read as that by httpx is: for known endpoints, bodies as they pass, nothing changed.

requests: ``Session.send``; a streamed body is read as ``iter_content`` hands it on, which everything else of a response uses, or as
the program itself reads ``response.raw``, which is how relays copy an answer.
aiohttp: ``ClientSession._request``; the body is read as it arrives, in the buffer that the response's reader fills, so that no consumer
of it, however it reads, is in between: a runtime ends with the last bytes that came.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tracewrap.capture.bodies import Body, ByteReader, decoder_of, kind_of, passing, tee_method
from tracewrap.capture.call import OpenCall, fail, finish, leave, outcome_of
from tracewrap.capture.clock import perf_counter
from tracewrap.capture.encodings import unreadable
from tracewrap.capture.seams.connector import listen_to_connectors
from tracewrap.capture.seams.http import refused
from tracewrap.capture.seams.transports import begin_request
from tracewrap.capture.seams.watch import Watch
from tracewrap.capture.state import drop, state
from tracewrap.capture.streams import hook_close
from tracewrap.records import Outcome
from tracewrap.vendors.adapter import Reply


class _Url(str):
    """A URL with its path, as httpx has it."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """The path alone."""
        return urlsplit(self).path


class _Sent:
    """A request as ``begin_request`` reads it. ``parsed``: its JSON, where the program gave that; ``content``: its bytes."""

    __slots__ = ("content", "method", "parsed", "url")

    def __init__(self, method: str, url: object, content: object, parsed: object = None) -> None:
        self.method, self.url, self.content, self.parsed = method.upper(), _Url(url), content, parsed


class RequestsWatch(Watch):
    """Round ``requests.Session.send``."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        request = args[1] if len(args) > 1 else kwargs["request"]
        return begin_request(args[0], _Sent(request.method or "", request.url, request.body))

    def received(self, call: OpenCall, result: Any) -> None:
        """The headers of the response are here; its body too, unless it is to be streamed."""
        try:
            now = perf_counter()
            leave(call)
            call.answered(result)
            if refused(call, result, now):
                return
            kind = kind_of(result)
            if isinstance(result._content, bytes):
                body = Body(call.adapter, kind=kind)
                body.feed(result._content)
                reply = body.reply()
                call.said = body.said()
                finish(call, reply, ended=now)
            else:
                reader = tee_method(call, result, "iter_content", kind=kind, decode=_bytes)
                _tee_raw(reader, result)
        except Exception:
            drop("response")


def _tee_raw(reader: ByteReader, response: Any) -> None:
    """Read what the program takes from ``response.raw``, urllib3's response, while ``iter_content`` does not."""
    raw = response.raw
    whole, chunks = decoder_of(response), getattr(raw, "read_chunked", None)

    def unpacker(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[bytes], bytes] | None:
        unpacked = args[1] if len(args) > 1 else kwargs.get("decode_content")
        return None if (raw.decode_content if unpacked is None else unpacked) else whole

    def reads(method: Callable[..., Any], to_the_end: bool) -> Callable[..., Any]:
        def read(*args: Any, **kwargs: Any) -> Any:
            if reader.iterator is not None:
                return method(*args, **kwargs)
            reader.reading, entered = True, perf_counter()
            try:
                data = method(*args, **kwargs)
            except BaseException as error:
                with suppress(Exception):
                    reader.stopped(entered, error)
                raise
            with suppress(Exception):
                amount = args[0] if args else kwargs.get("amt")
                reader.decode = unpacker(args, kwargs)
                if data:
                    reader.passed(entered, data)
                if (to_the_end and amount is None) or (not data and amount != 0) or _is_read(raw):
                    reader.stopped(entered, StopIteration())
            return data

        return read

    def read_chunked(*args: Any, **kwargs: Any) -> Any:
        iterator = chunks(*args, **kwargs)  # type: ignore[misc]
        if reader.iterator is not None:
            return iterator
        reader.iterator, reader.decode = iterator, unpacker(args, kwargs)
        return passing(reader)

    raw.read, raw.read1 = reads(raw.read, True), reads(raw.read1, False)
    if chunks is not None:
        raw.read_chunked = read_chunked
    hook_close(raw, reader)


def _is_read(raw: Any) -> bool:
    """Whether all of a body was handed out: ``stream`` asks no further then."""
    wire, unpacked = raw._fp, getattr(raw, "_decoded_buffer", ())
    ended = wire is None or (wire.isclosed() if hasattr(wire, "isclosed") else wire.closed)
    return ended and not len(unpacked) and not getattr(getattr(raw, "_decoder", None), "has_unconsumed_tail", False)


def _bytes(data: Any) -> bytes:
    """*data*, which ``iter_content`` may have decoded."""
    return data.encode() if isinstance(data, str) else bytes(data)


class AiohttpWatch(Watch):
    """Round ``aiohttp.ClientSession._request``."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCall | None:
        """Begin recording; None: pass it through."""
        session, method, url = args[:3] if len(args) > 2 else (args[0], kwargs["method"], kwargs["str_or_url"])
        if str(method).upper() != "POST":
            return None
        listen_to_connectors()
        return begin_request(session, _Sent(method, session._build_url(url), kwargs.get("data"), kwargs.get("json")))

    def received(self, call: OpenCall, result: Any) -> None:
        """The headers of the response are here; some of its body, or none yet."""
        now = perf_counter()
        leave(call)
        call.answered(_Answered(result.status, result.headers))
        if not refused(call, call.response, now):
            _Arrivals.watch(call, result)

    def failed(self, call: OpenCall, error: BaseException) -> bool:
        """The request failed, or its status was to be an error."""
        leave(call)
        fail(call, error)
        return False

    def unread(self, call: OpenCall, result: Any) -> None:
        """Its buffer is not as we know it: what is known is that it was answered."""
        finish(call, Reply(), ended=perf_counter())
        drop("response")


class _Answered:
    """Status and headers of a response, as httpx names them."""

    __slots__ = ("headers", "status_code")

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status_code, self.headers = status, headers


class _Arrivals:
    """What arrives of one body, and when. Ends once: with the body, or when the response is closed or dropped before."""

    __slots__ = ("body", "call", "decode", "error", "event_at", "first_at", "gaps", "last_at")

    def __init__(self, call: OpenCall, response: Any) -> None:
        self.call = call
        self.body = Body(call.adapter, kind=kind_of(response))
        unpacked = getattr(response._session, "_auto_decompress", True)
        self.decode = None if unpacked else decoder_of(response)
        self.first_at: float | None = None
        self.event_at = self.last_at = perf_counter()
        self.gaps: list[float] | None = [] if state.chunk_gaps else None
        self.error: Callable[[], BaseException | None] = response.content.exception

    @classmethod
    def watch(cls, call: OpenCall, response: Any) -> None:
        """Read the body of *response* from now on."""
        arrivals = cls(call, response)
        content = response.content
        buffer = _Buffer()
        buffer.arrivals = arrivals
        for data in content._buffer:
            buffer.append(data)
        content._buffer = buffer
        content.on_eof(arrivals.whole)
        for name in ("close", "release"):
            setattr(response, name, _before(weakref.ref(response), name, arrivals.left))

    def came(self, data: bytes) -> None:
        """*data* arrived."""
        now = self.last_at = perf_counter()
        before = self.body.count
        self.body.feed(data if self.decode is None else self.decode(data))
        if self.body.count == before:
            return
        if self.first_at is None:
            self.first_at = now
        elif self.gaps is not None:
            self.gaps.append(now - self.event_at)
        self.event_at = now

    def whole(self) -> None:
        """The last byte has arrived."""
        with suppress(Exception):
            self.end("complete")

    def left(self) -> None:
        """Nobody will read on: the connection broke, or the program has enough."""
        with suppress(Exception):
            if self.call.live:
                error, leaving = self.error(), sys.exc_info()[1]
                if error is None and isinstance(leaving, asyncio.CancelledError):
                    error = leaving  # its block is left because its task is cancelled
                self.end("partial" if error is None else outcome_of(error), error)

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Finish the call with what was seen."""
        if not self.call.live:
            return
        reply = Reply() if self.decode is unreadable else self.body.reply()
        self.call.said = self.body.said()
        if outcome == "partial" and (reply.finish_reasons or reply.outcome == "error"):
            outcome = "complete"  # the model had finished; only the end of the stream was left unread
        streamed = self.call.request.stream
        finish(
            self.call,
            reply,
            ended=self.last_at,
            outcome=outcome,
            error=error,
            first_chunk=self.first_at if streamed else None,
            chunk_gaps_s=(self.gaps or ()) if streamed else (),
        )

    def __del__(self) -> None:
        self.left()


class _Buffer(deque[bytes]):
    """What has arrived and is yet to be read; who takes from it takes nothing from what we see."""

    arrivals: _Arrivals

    def append(self, data: bytes) -> None:
        """More has arrived."""
        super().append(data)
        with suppress(Exception):
            self.arrivals.came(data)


def _before(owner: weakref.ref[Any], name: str, first: Callable[[], None]) -> Any:
    """*first*, and then the method *name* of *owner*'s class. Weakly: a response that is dropped gives its connection back at once."""

    def called(*args: Any, **kwargs: Any) -> Any:
        first()  # before the response tells its reader that it was closed
        alive: Any = owner()
        return getattr(type(alive), name)(alive, *args, **kwargs)

    return called
