"""Bare HTTP by requests and aiohttp: what goes to a known endpoint is recorded as by httpx, bodies and objects are the program's own."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from test_transports import CALLS, HELLO, STREAMED

from fake_answers import CannedVendor, canned, streamed
from fake_vendor import FakeVendor, Fault
from tracewrap import instrument, testing, uninstrument, wrap

ANTHROPIC = {"model": "m", "messages": HELLO, "max_tokens": 8, "stream": True}
CHAT = {"model": "m", "messages": HELLO}


def requests_of(vendor: FakeVendor) -> Any:
    """requests, and a session that is wrapped."""
    requests = pytest.importorskip("requests")
    return requests, wrap(requests.Session())


@pytest.mark.parametrize(("path", "body", "expected"), CALLS, ids=[path for path, _, _ in CALLS])
def test_requests_plain(
    path: str, body: Any, expected: tuple[Any, ...], vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """A plain answer reaches its caller whole and is recorded once."""
    _, session = requests_of(vendor)
    with session.post(vendor.url + path, json=body) as response:
        assert response.json() == json.loads(response.content)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.provider, call.usage.input_tokens, call.usage.output_tokens) == expected
    assert (call.server_address, call.outcome, call.request_id) == ("127.0.0.1", "complete", "req_1")


def copied(response: Any) -> bytes:
    """What a relay hands on."""
    sink = io.BytesIO()
    shutil.copyfileobj(response.raw, sink)
    return sink.getvalue()


READS: dict[str, Callable[[Any], Any]] = {
    "lines": lambda response: list(response.iter_lines()),
    "text lines": lambda response: list(response.iter_lines(decode_unicode=True)),
    "content": lambda response: list(response.iter_content(7)),
    "whole": lambda response: response.content,
    "raw": lambda response: response.raw.read(),
    "raw pieces": lambda response: list(iter(lambda: response.raw.read(11), b"")),
    "raw stream": lambda response: list(response.raw.stream(11)),
    "raw lines": lambda response: list(response.raw),
    "raw copied": copied,
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize(("path", "body"), STREAMED, ids=[path for path, _ in STREAMED])
def test_requests_streams(path: str, body: Any, how: str, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream shows what it shows without us, and is recorded with its first chunk and tokens, however it is read."""
    requests, session = requests_of(vendor)
    asked = {**body, "stream": True}
    with requests.Session().post(vendor.url + path, json=asked, stream=True) as response:
        expected = READS[how](response)
    with session.post(vendor.url + path, json=asked, stream=True) as response:
        assert READS[how](response) == expected
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.source) == (3, 8, "reported")
    assert (call.stream, call.outcome) == (True, "complete")
    assert call.time_to_first_chunk_s is not None


@pytest.mark.parametrize("how", ["raw", "raw pieces", "raw stream", "raw lines", "raw copied", "whole"])
def test_requests_compressed(how: str, recorded: testing.Recording) -> None:
    """However a compressed answer is read, packed or unpacked, its tokens are seen; one without a finish reason is complete, too."""
    requests = pytest.importorskip("requests")
    answer = {"object": "list", "model": "m", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    packed = gzip.compress(json.dumps(answer).encode())
    with CannedVendor(canned(packed, headers={"content-encoding": "gzip"})) as vendor:
        response = wrap(requests.Session()).post(vendor.url + "/v1/embeddings", json=CHAT, stream=True)
        READS[how](response)
        assert len(recorded()) == 1
        response.close()
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.input_tokens, call.outcome) == (3, "complete")


def test_requests_ends(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An error status, a connection that breaks before or within a body, a stream that is closed early."""
    requests, session = requests_of(vendor)
    url = vendor.url + "/v1/messages"
    vendor.fail_next(Fault(status=429), Fault(cut_after=3), Fault(chunk_delay_s=0.01))
    assert session.post(url, json=ANTHROPIC).status_code == 429
    with pytest.raises(requests.RequestException):
        session.post(url, json=ANTHROPIC)
    with session.post(url, json=ANTHROPIC, stream=True) as response:
        next(response.iter_content(None))
    with pytest.raises(requests.ConnectionError):
        session.post("http://127.0.0.1:9/v1/messages", json=ANTHROPIC)
    found = [(call.outcome, call.error_type) for call in recorded()]
    assert found == [
        ("error", "429"),
        ("error", "ChunkedEncodingError"),
        ("partial", None),
        ("error", "ConnectionError"),
    ]


def test_requests_redirects_are_one_call(recorded: testing.Recording) -> None:
    """A request that is sent on to another path is one call."""
    requests = pytest.importorskip("requests")
    answer = {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    with CannedVendor(canned({}, status=307, headers={"location": "/v2/chat/completions"}), canned(answer)) as vendor:
        wrap(requests.Session()).post(vendor.url + "/v1/chat/completions", json=CHAT).close()
        assert vendor.paths == ["/v1/chat/completions", "/v2/chat/completions"]
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.output_tokens, call.attempts) == (4, 1)


def test_every_session(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """``instrument("requests")``: every session, also the one behind ``requests.post``; off again by ``uninstrument``."""
    requests = pytest.importorskip("requests")
    original = requests.Session.send
    instrument("requests")
    requests.post(vendor.url + "/v1/chat/completions", json=CHAT).close()
    requests.post(vendor.url + "/v1/files", json=CHAT).close()
    requests.get(vendor.url + "/v1/chat/completions").close()
    uninstrument("requests")
    assert requests.Session.send is original
    requests.post(vendor.url + "/v1/chat/completions", json=CHAT).close()
    assert len(recorded()) == 1


def with_aiohttp(use: Callable[[Any, Any], Awaitable[Any]], wrapped: bool = True) -> Any:
    """What *use* gives for (aiohttp, a session)."""
    aiohttp = pytest.importorskip("aiohttp")

    async def main() -> Any:
        async with aiohttp.ClientSession() as session:
            return await use(aiohttp, wrap(session) if wrapped else session)

    return asyncio.run(main())


@pytest.mark.parametrize("given", ["json", "data"])
@pytest.mark.parametrize(("path", "body", "expected"), CALLS, ids=[path for path, _, _ in CALLS])
def test_aiohttp_plain(
    path: str, body: Any, expected: tuple[Any, ...], given: str, vendor: FakeVendor, recorded: testing.Recording
) -> None:
    """A plain answer reaches its caller whole and is recorded once, whether its body was given as an object or as bytes."""

    async def use(aiohttp: Any, session: Any) -> None:
        asked = (
            {"json": body}
            if given == "json"
            else {"data": json.dumps(body).encode(), "headers": {"content-type": "application/json"}}
        )
        async with session.post(vendor.url + path, **asked) as response:
            assert type(response) is aiohttp.ClientResponse
            assert await response.json() == json.loads(await response.read())

    with_aiohttp(use)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.provider, call.usage.input_tokens, call.usage.output_tokens) == expected
    assert (call.server_address, call.outcome, call.request_id) == ("127.0.0.1", "complete", "req_1")


async def _lines(content: Any) -> list[bytes]:
    return [line async for line in content]


async def _chunked(content: Any) -> list[bytes]:
    return [b"".join([piece async for piece in content.iter_chunked(7)])]


async def _any(content: Any) -> list[bytes]:
    return [b"".join([piece async for piece in content.iter_any()])]


async def _chunks(content: Any) -> list[bytes]:
    return [b"".join([piece async for piece, _ in content.iter_chunks()])]


async def _read(content: Any) -> list[bytes]:
    return [await content.read()]


@pytest.mark.parametrize("read", [_lines, _chunked, _any, _chunks, _read])
@pytest.mark.parametrize(("path", "body"), STREAMED, ids=[path for path, _ in STREAMED])
def test_aiohttp_streams(path: str, body: Any, read: Any, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream shows what it shows without us, and is recorded with its first chunk and tokens, however it is read."""

    async def use(_: Any, session: Any) -> Any:
        async with session.post(vendor.url + path, json={**body, "stream": True}) as response:
            return await read(response.content)

    assert with_aiohttp(use) == with_aiohttp(use, wrapped=False)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.source) == (3, 8, "reported")
    assert (call.stream, call.outcome) == (True, "complete")
    assert call.time_to_first_chunk_s is not None


def test_aiohttp_ends(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An error status, one that is to be an exception, a body that breaks off, a stream that is left early, one that is dropped."""
    url = vendor.url + "/v1/messages"
    vendor.fail_next(
        Fault(status=429), Fault(status=500), Fault(cut_after=3), Fault(chunk_delay_s=0.01), Fault(chunk_delay_s=0.01)
    )

    async def use(aiohttp: Any, session: Any) -> None:
        async with session.post(url, json=ANTHROPIC) as response:
            assert response.status == 429
        with pytest.raises(aiohttp.ClientResponseError):
            await session.post(url, json=ANTHROPIC, raise_for_status=True)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.post(url, json=ANTHROPIC) as response:
                await response.read()
        async with session.post(url, json=ANTHROPIC) as response:
            await response.content.readany()
        response = await session.post(url, json=ANTHROPIC)
        await response.content.readany()
        response.close()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post("http://127.0.0.1:9/v1/messages", json=ANTHROPIC)

    with_aiohttp(use)
    gc.collect()
    assert [(call.outcome, call.error_type) for call in recorded()] == [
        ("error", "429"),
        ("error", "ClientResponseError"),
        ("error", "ClientPayloadError"),
        ("partial", None),
        ("partial", None),
        ("error", "ClientConnectorError"),
    ]


def test_aiohttp_cancelled(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A task that is cancelled while it waits for the answer, or within its body."""

    async def ask(session: Any, first: asyncio.Event) -> None:
        async with session.post(vendor.url + "/v1/messages", json=ANTHROPIC) as response:
            await response.content.readany()
            first.set()
            await response.content.read()

    async def use(_: Any, session: Any) -> None:
        for fault in (Fault(delay_s=5.0), Fault(chunk_delay_s=1.0)):
            vendor.fail_next(fault)
            first = asyncio.Event()
            task = asyncio.create_task(ask(session, first))
            await asyncio.sleep(0.2) if fault.delay_s else await first.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with_aiohttp(use)
    assert [call.outcome for call in recorded()] == ["cancelled", "cancelled"]


def test_aiohttp_first_chunk_is_an_event(recorded: testing.Recording) -> None:
    """Keep-alives are no first chunk; a compressed body is read as it was unpacked."""
    events = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}],
               "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}]  # fmt: skip
    with CannedVendor(streamed([": hello\n\n", *events])) as vendor:

        async def use(_: Any, session: Any) -> None:
            async with session.post(vendor.url + "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
                await response.read()

        with_aiohttp(use)
    (call,) = recorded()
    assert call.usage is not None
    assert (call.usage.output_tokens, call.finish_reasons) == (4, ("stop",))


def test_every_aiohttp_session(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """``instrument("aiohttp")``: every session; off again by ``uninstrument``."""
    pytest.importorskip("aiohttp")

    async def use(_: Any, session: Any) -> None:
        async with session.post(vendor.url + "/v1/chat/completions", json=CHAT) as response:
            await response.json()
        async with session.get(vendor.url + "/v1/models"):
            pass

    instrument("aiohttp")
    with_aiohttp(use, wrapped=False)
    uninstrument("aiohttp")
    with_aiohttp(use, wrapped=False)
    assert len(recorded()) == 1
