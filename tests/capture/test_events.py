"""Events out of bytes: the same events, usage, outcome and first chunk wherever the stream is cut and whatever keeps it open."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct
import zlib
from typing import Any

import httpx
import pytest

from tracewrap import testing, wrap
from tracewrap.capture import encodings
from tracewrap.capture.bodies import Body, edges, parsed
from tracewrap.capture.encodings import decoder
from tracewrap.capture.events import MAX_EVENT_BYTES, AmazonEvents, Bounded, ServerSentEvents
from tracewrap.vendors import anthropic, openai
from tracewrap.vendors.adapter import Reply

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chat chunk."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


CHUNKS = [chunk("a"), chunk("b"), chunk(finish="stop"), {**chunk(), "choices": [], "usage": USAGE}]
WHOLE = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in CHUNKS) + b"data: [DONE]\n\n"
NOISE = (
    b": keep-alive\n\n",
    b"retry: 10\n",
    b"id: 7\n",
    b"event: x\n",
    b":\n",
    b'data: {"type":"ping"}\n\n',
    b"data: \n\n",
)


def read(adapter: Any, pieces: list[bytes], kind: Any = "events") -> Reply:
    """The reply in a body that comes in *pieces*."""
    body = Body(adapter, kind=kind)
    for piece in pieces:
        body.feed(piece)
    return body.reply()


def taken(data: bytes, pieces: list[bytes] | None = None) -> list[tuple[bytes, bytes]]:
    """(data, name) of the events in *data*."""
    found: list[tuple[bytes, bytes]] = []
    parser = ServerSentEvents(lambda one, name: found.append((one, name)))
    for piece in pieces or [data]:
        parser.feed(piece)
    parser.close()
    return found


RIGHT = read(openai.ADAPTER, [WHOLE])


def test_the_uncut_stream_is_right() -> None:
    """Tokens, finish reason, no outcome of its own: complete."""
    assert RIGHT.usage is not None
    assert (RIGHT.usage.input_tokens, RIGHT.usage.output_tokens, RIGHT.usage.source) == (5, 2, "reported")
    assert (RIGHT.finish_reasons, RIGHT.outcome) == (("stop",), None)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_cut_at_every_byte(end: bytes) -> None:
    """Two pieces, cut anywhere, with each of the three line ends and a byte order mark: the same reply."""
    data = b"\xef\xbb\xbf" + WHOLE.replace(b"\n", end)
    for at in range(len(data)):
        assert read(openai.ADAPTER, [data[:at], data[at:]]) == RIGHT, at


def test_noise_anywhere_and_pieces_of_any_size() -> None:
    """Comments, pings, other fields between any two events, pieces of one to forty bytes: the same reply, the same number of events."""
    rng = random.Random(3)
    events = WHOLE.split(b"\n\n")[:-1]
    for _ in range(150):
        noisy = b"".join(rng.choice(NOISE) * rng.randrange(3) + event + b"\n\n" for event in events)
        pieces, at = [], 0
        while at < len(noisy):
            size = rng.randrange(1, 40)
            pieces.append(noisy[at : at + size])
            at += size
        assert read(openai.ADAPTER, pieces) == RIGHT
        body = Body(openai.ADAPTER, kind="events")
        for piece in pieces:
            body.feed(piece)
        assert body.count == len(CHUNKS)


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\ndata: b\n\n", [(b"a\nb", b"")]),
        (b"data:a\n\n", [(b"a", b"")]),
        (b"data:  a\n\n", [(b" a", b"")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [(b"x", b"error"), (b"y", b"")]),
        (b": only a comment\n\n", []),
        (b"data: unended", [(b"unended", b"")]),
        (b'{"a": 1}\n{"a": 2}\n', [(b'{"a": 1}', b""), (b'{"a": 2}', b"")]),
        (b"database: x\n\n", []),
    ],
)
def test_by_the_specification(data: bytes, events: list[tuple[bytes, bytes]]) -> None:
    """Several data lines are one event; names end with their event; comments and unknown fields are none; JSON lines are events."""
    assert taken(data) == events
    assert taken(data, [data[i : i + 1] for i in range(len(data))]) == events


def test_the_work_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long event in small pieces is joined once, not once a piece."""
    joined = 0
    take = Bounded.take

    def counting(self: Bounded) -> bytes:
        nonlocal joined
        whole = take(self)
        joined += len(whole)
        return whole

    monkeypatch.setattr(Bounded, "take", counting)
    data = b'data: {"a": "' + b"x" * 1_000_000 + b'"}\n\n'
    assert len(taken(data, [data[at : at + 512] for at in range(0, len(data), 512)])) == 1
    assert joined <= 2 * len(data)
    joined = 0
    framed = AmazonEvents(lambda one, name: None)
    data = frame(b'{"bytes": "' + b"A" * 1_000_000 + b'"}')
    for at in range(0, len(data), 512):
        framed.feed(data[at : at + 512])
    assert joined <= 2 * len(data)


def test_memory_is_bounded() -> None:
    """Of an endless event the beginning and the end are kept."""
    kept = Bounded()
    kept.add(b"head")
    for _ in range(40):
        kept.add(b"x" * 500_000)
    kept.add(b"tail")
    whole = kept.take()
    assert kept.cut
    assert len(whole) <= MAX_EVENT_BYTES + 500_000
    assert (whole[:4], whole[-4:]) == (b"head", b"tail")


def test_usage_of_a_huge_answer() -> None:
    """An answer of 6 MB: its usage stands at the end, its names at the beginning, and quotes inside of its text are no keys."""
    text = 'say "usage": {"prompt_tokens": 1} ' + "x" * 6_000_000
    answer = {"id": "c", "object": "chat.completion", "model": "m", "choices": [], "usage": USAGE}
    answer["choices"] = [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]
    data = json.dumps(answer).encode()
    reply = read(openai.ADAPTER, [data[i : i + 65_536] for i in range(0, len(data), 65_536)], "json")
    assert reply.usage is not None
    assert (reply.model, reply.id, reply.finish_reasons) == ("m", "c", ("stop",))
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 2)
    assert edges(b"no json at all") == {}
    assert parsed(b"[" * 100_000) == {}


def frame(payload: bytes, kind: str = "event") -> bytes:
    """One frame of Amazon's binary event stream; its checksums are not looked at."""
    headers = b""
    for name, value in ((":message-type", kind), (":exception-type", "throttlingException")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    if kind == "event":
        headers = headers[: 1 + 13 + 3 + 5]
    return struct.pack(">III", 16 + len(headers) + len(payload), len(headers), 0) + headers + payload + b"\0\0\0\0"


START = {"id": "m", "model": "claude", "usage": {"input_tokens": 20, "output_tokens": 1}}
ANTHROPIC = [
    {"type": "ping"},
    {"type": "message_start", "message": START},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def test_amazon_frames_cut_at_every_byte() -> None:
    """Bedrock's frames hold Anthropic's events; wherever they are cut: 20 in, 9 out."""
    packed = [{"bytes": base64.b64encode(json.dumps(event).encode()).decode()} for event in ANTHROPIC]
    data = b"".join(frame(json.dumps(one).encode()) for one in packed)
    for at in range(len(data)):
        reply = read(anthropic.ADAPTER, [data[:at], data[at:]], "frames")
        assert reply.usage is not None
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.outcome) == (20, 9, None), at
    failed = read(anthropic.ADAPTER, [data[:-100], frame(b"{}", "exception")][1:], "frames")
    assert (failed.outcome, failed.error_type) == ("error", "throttlingException")
    AmazonEvents(lambda one, name: None).feed(b"\0" * 40)  # no frame: no end, no error


def packed(encoding: str) -> bytes:
    """The whole stream, compressed; the test is left out where what compresses is not installed."""
    if encoding == "gzip":
        return gzip.compress(WHOLE)
    if encoding == "br":
        return bytes(pytest.importorskip("brotli").compress(WHOLE))
    if encoding == "zstd":
        return bytes(pytest.importorskip("zstandard").compress(WHOLE))
    return zlib.compress(WHOLE) if encoding == "deflate" else WHOLE


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("method", ["iter_raw", "iter_bytes", "iter_lines", "read"])
def test_every_way_to_read_a_body(encoding: str, method: str, recorded: testing.Recording) -> None:
    """Raw or decoded, compressed or not: bytes as they are, usage as it is."""
    data = packed(encoding)

    class Pieces(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            for at in range(0, len(data), 50):
                yield data[at : at + 50]

    def handler(_: Any) -> Any:
        headers = {"content-type": "text/event-stream", "content-encoding": encoding}
        return httpx.Response(200, stream=Pieces(), headers=headers)

    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "q"}]}
    with (
        wrap(httpx.Client(transport=httpx.MockTransport(handler))) as client,
        client.stream("POST", "http://127.0.0.1:9/v1/chat/completions", json=asked) as answer,
    ):
        found = getattr(answer, method)()
        got = found if method == "read" else list(found)
    if method != "iter_lines":
        assert b"".join(got if isinstance(got, list) else [got]) == (data if method == "iter_raw" else WHOLE)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.outcome, call.usage.input_tokens, call.usage.output_tokens) == ("complete", 5, 2)
    assert call.time_to_first_chunk_s is not None


def test_encodings_one_upon_another() -> None:
    """They are undone from the last to the first."""
    undo = decoder("deflate, gzip")
    assert undo is not None
    data = gzip.compress(zlib.compress(WHOLE))
    assert b"".join(undo(data[at : at + 7]) for at in range(0, len(data), 7)) == WHOLE
    assert decoder("identity") is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress"])
def test_what_cannot_be_decoded_is_said(
    encoding: str, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the library the bytes pass, the call is recorded without tokens, and a line says once what to install."""
    monkeypatch.setattr(encodings, "_LIBRARIES", {"br": (("no_such_module", "D", "d"),)})
    monkeypatch.setattr(encodings, "_missed", set())
    sent = b"\x01\x02{not json"

    def handler(_: Any) -> Any:
        stream = httpx.ByteStream(sent)
        return httpx.Response(
            200, stream=stream, headers={"content-type": "text/event-stream", "content-encoding": encoding}
        )

    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "q"}]}
    for _ in range(2):
        with (
            wrap(httpx.Client(transport=httpx.MockTransport(handler))) as client,
            client.stream("POST", "http://127.0.0.1:9/v1/chat/completions", json=asked) as answer,
        ):
            assert b"".join(answer.iter_raw()) == sent
    assert [(call.outcome, call.usage) for call in recorded()] == [("complete", None)] * 2
    (said,) = [record.getMessage() for record in caplog.records if "compressed" in record.getMessage()]
    libraries = {"br": "; install brotli", "zstd": "; install zstandard"}
    assert said.endswith("have no tokens" + libraries.get(encoding, ""))


@pytest.mark.parametrize(
    ("events", "outcome", "kind"),
    [
        ([chunk("a"), {"error": {"message": "died", "type": "server_error", "code": 500}}], "error", "500"),
        ([chunk("a"), chunk("b")], "partial", None),
        ([chunk("a"), chunk(finish="length")], "complete", None),
        ([chunk("a"), chunk(finish="error")], "error", "_OTHER"),
    ],
)
def test_what_a_stream_says_of_its_end(
    events: list[Any], outcome: str, kind: str | None, recorded: testing.Recording
) -> None:
    """An error event in a 200 is an error; a stream without its end is partial; a finish reason is an end."""
    data = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events)

    def handler(_: Any) -> Any:
        return httpx.Response(200, content=data, headers={"content-type": "text/event-stream"})

    asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "q"}]}
    with wrap(httpx.Client(transport=httpx.MockTransport(handler))) as client:
        client.post("http://127.0.0.1:9/v1/chat/completions", json=asked)
    (call,) = recorded()
    assert (call.outcome, call.error_type) == (outcome, kind)
