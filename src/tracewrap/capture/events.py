"""Events out of bytes: server-sent events by the specification, JSON lines, and Amazon's binary event stream.

A parser is fed the bytes as they come, in pieces of any size; its work is linear in their number, whatever the pieces are. It calls
``take(data, name)`` for each event with data, as soon as the event is whole. Memory is bounded: of an event longer than
``MAX_EVENT_BYTES`` the beginning and the end are kept, which is where a vendor's answer says what is wanted here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Protocol

MAX_EVENT_BYTES = 4 * 1024 * 1024
EDGE_BYTES = 64 * 1024

Take = Callable[[bytes, bytes], None]


class Parser(Protocol):
    """Bytes in, events out."""

    def feed(self, data: bytes) -> None:
        """Take the next decoded bytes of the body."""

    def close(self) -> None:
        """No more bytes will come: an event that lacks only its end is taken."""


class Bounded:
    """Bytes gathered in pieces; beyond *limit* only their beginning and their end are kept, and ``cut`` says so."""

    __slots__ = ("_limit", "_parts", "_size", "cut")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit
        self.cut = False

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, data: bytes) -> None:
        """Take another piece."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            self._parts = [whole[:EDGE_BYTES], whole[-EDGE_BYTES:]]
            self._size, self.cut = sum(map(len, self._parts)), True

    def take(self) -> bytes:
        """All that was kept; nothing is kept from here on."""
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._size = [], 0
        return whole


class ServerSentEvents:
    """The event stream of the HTML standard: comments, several data lines, CR, LF and CRLF, a byte order mark, cut anywhere.

    A line that is itself a JSON object is an event too (JSON lines).
    """

    __slots__ = ("_begun", "_data", "_line", "_name", "_skips_newline", "_take")

    def __init__(self, take: Take) -> None:
        self._take = take
        self._line = Bounded()
        self._data = Bounded()
        self._name = b""
        self._begun = False
        self._skips_newline = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._skips_newline and data:  # the second half of a CRLF
            self._skips_newline = False
            if data[:1] == b"\n":
                data = data[1:]
        if not data:
            return
        lines = data.splitlines(keepends=True)
        self._skips_newline = data[-1:] == b"\r"
        rest = None if lines[-1][-1:] in (b"\n", b"\r") else lines.pop()
        for line in lines:
            if self._line:
                self._line.add(line)
                line = self._line.take()
            self._read(line.rstrip(b"\r\n"))
        if rest is not None:
            self._line.add(rest)

    def close(self) -> None:
        """The stream has ended: what was not ended by an empty line ends here."""
        if self._line:
            self._read(self._line.take())
        self._read(b"")

    def _read(self, line: bytes) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                self._take(self._data.take(), self._name)
            self._name = b""
        elif line[:1] == b"{":
            self._take(line, b"")
        elif line[:5] == b"data:" or line == b"data":
            if self._data:
                self._data.add(b"\n")
            self._data.add(line[6:] if line[5:6] == b" " else line[5:])
        elif line[:6] == b"event:":
            self._name = line[6:].strip()


class AmazonEvents:
    """``application/vnd.amazon.eventstream``: frames of a length, headers and a payload; Bedrock's payloads hold the vendor's event."""

    __slots__ = ("_missing", "_pieces", "_take")

    def __init__(self, take: Take) -> None:
        self._take = take
        self._pieces = Bounded()
        self._missing = 0
        """Bytes that the next look needs; so that a frame in small pieces is joined once."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pieces.add(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        held = self._pieces.take()
        at = 0
        while len(held) - at >= 12:
            total = int.from_bytes(held[at : at + 4], "big")
            if total < 16:
                return  # no such frame: what follows cannot be found
            if len(held) - at < total:
                self._missing = total - (len(held) - at)
                break
            self._frame(held[at : at + total])
            at += total
        else:
            self._missing = 12 - (len(held) - at)
        if at < len(held):
            self._pieces.add(held[at:])

    def close(self) -> None:
        """A frame that is not whole is none."""

    def _frame(self, frame: bytes) -> None:
        size = int.from_bytes(frame[4:8], "big")
        headers, payload = frame[12 : 12 + size], frame[12 + size : -4]
        if b":exception-type" in headers or b":error-code" in headers:
            kind = _header(headers, b":exception-type") or _header(headers, b":error-code") or "_OTHER"
            self._take(json.dumps({"type": "error", "error": {"type": kind}}).encode(), b"error")
            return
        try:
            inner = json.loads(payload).get("bytes")
            self._take(payload if inner is None else base64.b64decode(inner), b"")
        except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError):
            return


def _header(headers: bytes, name: bytes) -> str | None:
    """A text header of a frame."""
    at = headers.find(name)
    if at < 0:
        return None
    at += len(name) + 1
    size = int.from_bytes(headers[at : at + 2], "big")
    return headers[at + 2 : at + 2 + size].decode("utf-8", "replace") or None
