"""A vendor on loopback that answers word for word what it is told: any body, in any pieces, with any headers, cut off or not.

with CannedVendor(canned({"id": "c", "choices": [], "usage": None})) as vendor:
    client = openai.OpenAI(base_url=vendor.url + "/v1", api_key="k")
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Canned:
    """One answer. ``pieces`` are HTTP chunks; ``cut``: the connection ends in the middle of the body."""

    pieces: tuple[bytes, ...]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    cut: bool = False


def canned(body: Any, **more: Any) -> Canned:
    """A JSON answer; bytes and text as they are."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"content-type": "application/json"} | more.pop("headers", {})
    return Canned((data,), headers, **more)


def streamed(events: Sequence[Any], *, done: bool = True, **more: Any) -> Canned:
    """An event stream: a piece an event. Events with a ``type`` are named, bytes and text go out as they are."""
    pieces = [one if isinstance(one, bytes) else one.encode() if isinstance(one, str) else _sse(one) for one in events]
    headers = {"content-type": "text/event-stream"} | more.pop("headers", {})
    return Canned((*pieces, b"data: [DONE]\n\n") if done else tuple(pieces), headers, **more)


def _sse(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if isinstance(event.get("type"), str) else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


class CannedVendor:
    """The server; a context manager. Answers are given in turn, the last one for ever."""

    def __init__(self, *answers: Canned) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads, self._server.vendor = True, self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> CannedVendor:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        """Answer with the next canned answer."""
        vendor: CannedVendor = self.server.vendor  # type: ignore[attr-defined]
        vendor.paths.append(self.path)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = vendor.answers.pop(0) if len(vendor.answers) > 1 else vendor.answers[0]
        self.send_response(answer.status)
        for name, value in {**answer.headers, "transfer-encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in answer.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        if answer.cut:
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST
