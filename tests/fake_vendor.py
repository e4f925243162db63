"""A vendor on loopback: one HTTP server that speaks the wire formats of OpenAI, Anthropic, Cohere, Google and Ollama, plain and streamed.

It takes exactly T(p, o) = overhead + p * prompt_s_per_token + (o - 1) * d0 + d1 * (o - 1) * (p + o / 2) seconds (plus ``noise``) to
answer p input and o output tokens, so whatever measures it knows the truth. Faults are asked for one request at a time
(``vendor.fail_next(...)``) or by the request itself (header ``x-fault``, a JSON object with Fault's fields).

    with FakeVendor(Timing(overhead_s=0.01)) as vendor:
        client = openai.OpenAI(base_url=vendor.openai_url, api_key="k")
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fake_google as google
import fake_ollama as ollama
import fake_wire as wire
from fake_wire import Answer, Asked

Events = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds an answer takes; all zero by default. ``prompt_time`` (p -> seconds) replaces the linear prompt term.

    ``noise``: seconds to seconds, for example ``lambda s: s * rng.lognormvariate(0, 0.1)``.
    """

    overhead_s: float = 0.0
    prompt_s_per_token: float = 0.0
    seconds_per_output_token: float = 0.0
    d1: float = 0.0
    prompt_time: Callable[[int], float] | None = None
    noise: Callable[[float], float] | None = None

    def seconds(self, p: int, o: int) -> float:
        """T(p, o), without noise."""
        prompt = self.prompt_time(p) if self.prompt_time is not None else p * self.prompt_s_per_token
        if o < 1:
            return self.overhead_s + prompt
        rest = (o - 1) * self.seconds_per_output_token + self.d1 * (o - 1) * (p + o / 2)
        return self.overhead_s + prompt + rest


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request.

    ``status``: answer with this error; ``headers``: extra headers; ``cut_after``: drop the connection after so many stream events (0: in
    the middle of a plain answer); ``delay_s``: wait before answering; ``chunk_delay_s``: wait before each event.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


SLOW_ANSWER_S = 0.2
"""What the vendor of the fixture ``slow`` takes to answer."""


class FakeVendor:
    """The server; a context manager. ``requests`` holds what came in, ``answer`` what goes out."""

    def __init__(self, timing: Timing | None = None, answer: Answer | None = None) -> None:
        self.timing = timing or Timing()
        self.answer = answer or Answer()
        self.requests: deque[Received] = deque(maxlen=1000)
        self._faults: deque[Fault] = deque()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.vendor = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def openai_url(self) -> str:
        """Base URL for the OpenAI SDK; ``url`` serves the others."""
        return f"{self.url}/v1"

    def fail_next(self, *faults: Fault) -> None:
        """The next requests meet *faults*, one each."""
        self._faults.extend(faults)

    def next_fault(self, headers: Mapping[str, str]) -> Fault:
        """The fault for the request that just came in."""
        asked = headers.get("x-fault")
        if asked:
            return Fault(**json.loads(asked))
        try:
            return self._faults.popleft()
        except IndexError:
            return Fault()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> FakeVendor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    block_on_close = False
    vendor: FakeVendor

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


_PLAIN: dict[tuple[str, str], Callable[[Asked], dict[str, Any]]] = {
    ("openai", "/chat/completions"): wire.openai_chat,
    ("openai", "/responses"): wire.openai_response,
    ("openai", "/completions"): wire.openai_completion,
    ("openai", "/embeddings"): wire.openai_embeddings,
    ("anthropic", "/messages"): wire.anthropic_message,
    ("anthropic", "/messages/count_tokens"): lambda asked: {"input_tokens": asked.input_tokens},
    ("cohere", "/v2/chat"): wire.cohere_v2_chat,
    ("cohere", "/v1/chat"): wire.cohere_v1_chat,
    ("cohere", "/v1/generate"): wire.cohere_generate,
    ("cohere", "/v1/embed"): wire.cohere_embed,
    ("cohere", "/v2/embed"): wire.cohere_embed,
    ("cohere", "/v1/rerank"): wire.cohere_rerank,
    ("cohere", "/v2/rerank"): wire.cohere_rerank,
    ("google", ":generateContent"): google.generate,
    ("google", ":streamGenerateContent"): google.generate,
    ("google", ":batchEmbedContents"): google.embeddings,
    ("google", ":predict"): google.predictions,
    ("ollama", "/api/chat"): ollama.answer,
    ("ollama", "/api/generate"): ollama.answer,
    ("ollama", "/api/embed"): ollama.embeddings,
}
_STREAMED: dict[tuple[str, str], Callable[[Asked], Events]] = {
    ("openai", "/chat/completions"): wire.openai_chat_events,
    ("openai", "/responses"): wire.openai_response_events,
    ("openai", "/completions"): wire.openai_completion_events,
    ("anthropic", "/messages"): wire.anthropic_events,
    ("cohere", "/v2/chat"): wire.cohere_v2_events,
    ("cohere", "/v1/chat"): wire.cohere_v1_events,
    ("cohere", "/v1/generate"): wire.cohere_generate_events,
    ("google", ":streamGenerateContent"): google.generate_events,
    ("ollama", "/api/chat"): ollama.lines,
    ("ollama", "/api/generate"): ollama.lines,
}
_HEADERS = {
    "openai": {"x-request-id": "req_1", "openai-processing-ms": "7", "x-ratelimit-remaining-requests": "99"},
    "anthropic": {"request-id": "req_1", "anthropic-ratelimit-requests-remaining": "99"},
    "cohere": {"x-debug-trace-id": "req_1", "x-envoy-upstream-service-time": "7", "num_tokens": "9"},
    "google": {"server-timing": "gfet4t7; dur=7"},
    "ollama": {},
}
_NO_OUTPUT = frozenset(
    {
        *("/embeddings", "/v1/embed", "/v2/embed", "/v1/rerank", "/v2/rerank", "/messages/count_tokens"),
        *(":batchEmbedContents", ":predict", "/api/embed"),
    }
)
_MAXIMUMS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def route(path: str) -> tuple[str, str] | None:
    """(wire format, endpoint) of a URL path."""
    bare = path.partition("?")[0].rstrip("/")
    if "/model/" in bare or "/publishers/anthropic/" in bare:  # Bedrock, Vertex
        return "anthropic", "/messages"
    if ("cohere", bare) in _PLAIN:
        return "cohere", bare
    for vendor, endpoint in sorted(_PLAIN, key=lambda key: -len(key[1])):
        if vendor != "cohere" and bare.endswith(endpoint):
            return vendor, endpoint
    return None


def understand(where: tuple[str, str], path: str, body: Mapping[str, Any], answer: Answer) -> Asked:
    """The request in the fake's own words."""
    prompt = (
        "messages",
        "prompt",
        "input",
        "instructions",
        "system",
        "message",
        "chat_history",
        "texts",
        "query",
        "contents",
    )
    given = sum(wire.words_in(body[name]) for name in prompt if name in body)
    given += sum(wire.words_in(one.get("content")) for one in body.get("requests", []))
    limits = {**body, "max_tokens": body.get("generationConfig", {}).get("maxOutputTokens", body.get("max_tokens"))}
    allowed = next(
        (limits[name] for name in _MAXIMUMS if isinstance(limits.get(name), int)), wire.DEFAULT_OUTPUT_TOKENS
    )
    tokens = allowed if answer.output_tokens is None else answer.output_tokens
    if where[1] in _NO_OUTPUT:
        tokens = 0
    named = path.partition("/model/")[2].partition("/")[0] or path.partition("/models/")[2].partition(":")[0]
    model = body.get("model") or named or "fake"
    stream = body.get("stream") is True or "stream" in path.rpartition("/")[2]
    return Asked(where[0], str(model), given, tokens, stream, body, answer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        """Answer one call."""
        began = time.perf_counter()
        vendor = self.server.vendor
        raw = self._body()
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        vendor.requests.append(Received(self.path, headers, body))
        where = route(self.path)
        if where is None:
            self._json(404, {"error": {"message": f"no endpoint {self.path}"}}, {})
            return
        fault = vendor.next_fault(headers)
        if fault.delay_s:
            time.sleep(fault.delay_s)
        asked = understand(where, self.path, body, vendor.answer)
        try:
            self._answer(where, asked, fault, began)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, where: tuple[str, str], asked: Asked, fault: Fault, began: float) -> None:
        headers = {**_HEADERS[where[0]], **fault.headers}
        if fault.status >= 400:
            self._json(fault.status, _error(where[0], fault.status), headers)
        elif asked.stream and where in _STREAMED:
            self._stream(where, asked, fault, headers, began)
        else:
            background = asked.body.get("background") is True
            payload = wire.openai_response(asked, "queued") if background else _PLAIN[where](asked)
            self._sleep_until(began + self._planned(asked))
            self._json(200, payload, headers, cut=fault.cut_after is not None)

    def _planned(self, asked: Asked) -> float:
        """Seconds this answer shall take, noise included."""
        timing = self.server.vendor.timing
        seconds = timing.seconds(asked.input_tokens, asked.output_tokens)
        return seconds if timing.noise is None else timing.noise(seconds)

    def _sleep_until(self, moment: float) -> None:
        left = moment - time.perf_counter()
        if left > 0:
            time.sleep(left)

    def _json(self, status: int, payload: Mapping[str, Any], headers: Mapping[str, str], cut: bool = False) -> None:
        data = json.dumps(payload).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def _stream(
        self, where: tuple[str, str], asked: Asked, fault: Fault, headers: Mapping[str, str], began: float
    ) -> None:
        lines = where[1] in ("/v1/chat", "/v1/generate", "/api/chat", "/api/generate")
        kind = (
            "application/x-ndjson"
            if where[0] == "ollama"
            else "application/stream+json"
            if lines
            else "text/event-stream; charset=utf-8"
        )
        timing = self.server.vendor.timing
        planned = self._planned(asked)
        exact = timing.seconds(asked.input_tokens, asked.output_tokens)
        stretch = planned / exact if exact else 1.0
        self.send_response(200)
        for name, value in {"content-type": kind, "transfer-encoding": "chunked", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for number, (tokens, event) in enumerate(_STREAMED[where](asked)):
            if fault.cut_after == number:
                self.close_connection = True
                return
            self._sleep_until(began + stretch * timing.seconds(asked.input_tokens, tokens))
            if fault.chunk_delay_s:
                time.sleep(fault.chunk_delay_s)
            self._chunk(json.dumps(event).encode() + b"\n" if lines else wire.sse(event, named="type" in event))
        if where[1] in ("/chat/completions", "/completions"):
            self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _error(vendor: str, status: int) -> dict[str, Any]:
    """The vendor's error body."""
    kind = "rate_limit_error" if status == 429 else "invalid_request_error" if status < 500 else "api_error"
    if vendor == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": "asked to fail"}}
    if vendor == "google":
        return google.error(status)
    if vendor == "cohere":
        return {"message": "asked to fail", "id": "co-err"}
    return {"error": {"message": "asked to fail", "type": kind, "code": None, "param": None}}
