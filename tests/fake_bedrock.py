"""Amazon Bedrock on loopback, as botocore speaks to it: converse and invoke, whole and in Amazon's event streams."""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "tok tok"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 8, "totalTokens": 16, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 0},
    "metrics": {"latencyMs": 7},
}  # fmt: skip
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("messageStart", {"role": "assistant"}),
    *[("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "tok "}})] * 4,
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": CONVERSED["usage"], "metrics": {"latencyMs": 7}}),
]
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "tok"}],
    "usage": {"input_tokens": 3, "output_tokens": 8, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0},
}  # fmt: skip
METRICS = {"inputTokenCount": 3, "outputTokenCount": 8, "invocationLatency": 9, "firstByteLatency": 4}
CLAUDE: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}},
    *[{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "tok "}}] * 4,
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 8}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS},
]  # fmt: skip
LLAMA: list[dict[str, Any]] = [
    *[{"generation": "tok ", "prompt_token_count": None, "generation_token_count": 1, "stop_reason": None}] * 4,
    {"generation": "", "generation_token_count": 5, "stop_reason": "stop", "amazon-bedrock-invocationMetrics": METRICS},
]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request: an error *status*; an *exception* event, or a connection dropped, after so many events."""

    status: int = 200
    exception_after: int | None = None
    cut_after: int | None = None


class FakeBedrock:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.paths: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> FakeBedrock:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeBedrock

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame of ``application/vnd.amazon.eventstream``; header names get their colon here."""
    head = b""
    for name, value in headers.items():
        key = ":" + name.replace("_", "-")
        head += bytes([len(key)]) + key.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
    prelude = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    whole = prelude + zlib.crc32(prelude).to_bytes(4, "big") + head + payload
    return whole + zlib.crc32(whole).to_bytes(4, "big")


def frames(path: str) -> list[bytes]:
    """The event stream that *path* is answered with."""
    if path.endswith("/converse-stream"):
        return [_event(kind, payload) for kind, payload in EVENTS]
    chunks = LLAMA if "llama" in path else CLAUDE
    return [_event("chunk", {"bytes": base64.b64encode(json.dumps(chunk).encode()).decode()}) for chunk in chunks]


def _event(kind: str, payload: Mapping[str, Any]) -> bytes:
    return frame(json.dumps(payload).encode(), event_type=kind, content_type="application/json", message_type="event")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        """Answer one call."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        fake = self.server.fake
        fake.paths.append(self.path)
        fault = fake.faults.popleft() if fake.faults else Fault()
        if fault.status >= 400:
            kind = "ThrottlingException" if fault.status == 429 else "ValidationException"
            self._json(fault.status, {"message": "asked to fail"}, {"x-amzn-ErrorType": kind})
        elif self.path.endswith("stream"):
            self._stream(fault)
        elif self.path.endswith("/converse"):
            self._json(200, CONVERSED, {})
        elif "embed" in self.path:
            counted = {"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-invocation-latency": "7"}
            self._json(200, {"embeddings": [[0.5]]}, counted)
        else:
            self._json(200, MESSAGE, {"x-amzn-bedrock-invocation-latency": "7"})

    def _head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "x-amzn-requestid": "req_1", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _json(self, status: int, payload: Any, headers: Mapping[str, str]) -> None:
        data = json.dumps(payload).encode()
        self._head(status, "application/json", {"content-length": str(len(data)), **headers})
        self.wfile.write(data)

    def _stream(self, fault: Fault) -> None:
        self._head(200, "application/vnd.amazon.eventstream", {"transfer-encoding": "chunked"})
        for number, data in enumerate(frames(self.path)):
            if fault.cut_after == number:
                self.close_connection = True
                return
            if fault.exception_after == number:
                kinds = {"exception_type": "throttlingException", "content_type": "application/json"}
                data = frame(b'{"message":"asked to fail"}', message_type="exception", **kinds)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")
