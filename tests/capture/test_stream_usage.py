"""A stream is asked for its usage only where the program sees what it would see without tracewrap."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tracewrap import testing, wrap
from tracewrap.capture.relays import WithoutUsage
from tracewrap.capture.state import state

openai = pytest.importorskip("openai")
httpx2 = pytest.importorskip("httpx2")

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a b c"}], "stream": True}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
Serve = Callable[[dict[str, Any]], httpx2.Response]


def _stream(usage: bool) -> httpx2.Response:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Any] = [({"content": "a"}, None), ({"content": "b"}, None), ({}, "stop")]
    lines: list[Any] = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
    lines += [{**head, "choices": [], "usage": USAGE}] if usage else []
    text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
    body = httpx2.ByteStream(text.encode())
    return httpx2.Response(200, stream=body, headers={"content-type": "text/event-stream"})


def when_asked(body: dict[str, Any]) -> httpx2.Response:
    """A server that reports usage when it is asked to."""
    return _stream(bool((body.get("stream_options") or {}).get("include_usage")))


def always(body: dict[str, Any]) -> httpx2.Response:
    """A server that reports usage whatever it is asked."""
    return _stream(True)


def strict(status: int) -> Serve:
    """A server that refuses fields it does not know."""

    def serve(body: dict[str, Any]) -> httpx2.Response:
        if "stream_options" in body:
            return httpx2.Response(status, json={"error": {"message": "extra field: stream_options"}})
        return _stream(False)

    return serve


class Program:
    """A program that streams, and what its server was sent."""

    def __init__(self, serve: Serve, base_url: str = "http://127.0.0.1:9/v1", is_async: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []

        def answer(request: httpx2.Request) -> httpx2.Response:
            self.sent.append(json.loads(request.content))
            return serve(self.sent[-1])

        transport = httpx2.MockTransport(answer)
        http: Any = httpx2.AsyncClient(transport=transport) if is_async else httpx2.Client(transport=transport)
        made = openai.AsyncOpenAI if is_async else openai.OpenAI
        self.is_async = is_async
        self.client = made(base_url=base_url, api_key="k", http_client=http, max_retries=0)

    def chunks(self, **more: Any) -> list[tuple[int, int | None]]:
        """(choices, total tokens) of each chunk of one stream."""

        async def read() -> list[Any]:
            return [chunk async for chunk in await self.client.chat.completions.create(**{**ASKED, **more})]

        seen = asyncio.run(read()) if self.is_async else list(self.client.chat.completions.create(**{**ASKED, **more}))
        return [(len(chunk.choices), chunk.usage and chunk.usage.total_tokens) for chunk in seen]

    def relayed(self, how: str = "iter_lines") -> bytes:
        """What a relay sends on of one stream: the SDK's stream is opened, its response is read by the method *how*."""

        def pieces(found: Any) -> bytes:
            return b"".join(piece if isinstance(piece, bytes) else piece.encode() + b"\n" for piece in found)

        async def read() -> bytes:
            async with await self.client.chat.completions.create(**ASKED) as stream:
                if how == "read":
                    return bytes(await stream.response.aread())
                return pieces([piece async for piece in getattr(stream.response, f"a{how}")()])

        if self.is_async:
            return asyncio.run(read())
        with self.client.chat.completions.create(**ASKED) as stream:
            return stream.response.read() if how == "read" else pieces(getattr(stream.response, how)())

    def raw(self, how: str) -> Any:
        """What a program gets of one stream through the SDK's raw responses, read by the method *how*."""
        create = self.client.chat.completions
        if how == "with_raw_response":
            if self.is_async:
                return asyncio.run(self._raw_chunks())
            return [chunk.model_dump() for chunk in create.with_raw_response.create(**ASKED).parse()]
        if self.is_async:
            return asyncio.run(self._raw_streamed(how))
        with create.with_streaming_response.create(**ASKED) as response:
            if how == "parse":
                return [chunk.model_dump() for chunk in response.parse()]
            return list(getattr(response, how)())

    async def _raw_chunks(self) -> Any:
        response = await self.client.chat.completions.with_raw_response.create(**ASKED)
        return [chunk.model_dump() async for chunk in response.parse()]

    async def _raw_streamed(self, how: str) -> Any:
        async with self.client.chat.completions.with_streaming_response.create(**ASKED) as response:
            if how == "parse":
                return [chunk.model_dump() async for chunk in await response.parse()]
            return [piece async for piece in getattr(response, how)()]


TEXT = [(1, None)] * 3
WITH_USAGE = [*TEXT, (0, 7)]


@pytest.fixture(autouse=True)
def _auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "stream_usage", "auto")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "serve", [when_asked, always, strict(400), strict(422), strict(500)], ids=lambda s: s.__qualname__
)
@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:9/v1", "https://models.example.com/v1", "https://api.openai.com/v1"]
)
def test_the_program_sees_the_same(serve: Serve, is_async: bool, base_url: str, recorded: testing.Recording) -> None:
    """Three streams in a row of any server show the chunks that they show without tracewrap."""
    if serve is always and "openai.com" in base_url:
        pytest.skip("OpenAI reports when asked, and only then")
    bare, program = Program(serve, base_url, is_async), Program(serve, base_url, is_async)
    wrap(program.client)
    assert [program.chunks() for _ in range(3)] == [bare.chunks() for _ in range(3)]
    assert [call.outcome for call in recorded()] == ["complete"] * 3


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("how", ["argument", "extra_body"])
def test_what_the_program_asks_stands(how: str, asked: bool, recorded: testing.Recording) -> None:
    """Whoever says whether usage is reported, in either way, is neither overruled nor deprived of the chunk."""
    options = {"stream_options": {"include_usage": asked}}
    program = Program(when_asked, "https://api.openai.com/v1")
    wrap(program.client)
    for _ in range(2):
        chunks = program.chunks(**(options if how == "argument" else {"extra_body": options}))
        assert chunks == (WITH_USAGE if asked else TEXT)
    assert [body["stream_options"] for body in program.sent] == [{"include_usage": asked}] * 2


def test_a_known_provider_is_asked_at_once(recorded: testing.Recording) -> None:
    """OpenAI's own address: usage is reported from the first stream on, and hidden."""
    program = Program(when_asked, "https://api.openai.com/v1")
    wrap(program.client)
    assert program.chunks() == TEXT
    assert [(call.usage.output_tokens, call.usage.source) for call in recorded() if call.usage] == [(2, "reported")]


def test_an_unknown_server_is_learned(recorded: testing.Recording) -> None:
    """Its first stream passes as it is and tells; later ones are asked, for each model by itself."""
    program = Program(when_asked)
    wrap(program.client)
    for model in ("m", "m", "other", "other"):
        assert program.chunks(model=model) == TEXT
    assert ["stream_options" in body for body in program.sent] == [False, True, False, True]
    assert [call.usage.source for call in recorded() if call.usage] == ["estimated", "reported"] * 2


def test_a_refusal_is_asked_once_more_and_remembered(
    recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refused attempt counts as an attempt of that call; no later stream is asked."""
    monkeypatch.setattr(state, "stream_usage", "always")
    program = Program(strict(400))
    wrap(program.client)
    assert [program.chunks() for _ in range(2)] == [TEXT] * 2
    assert ["stream_options" in body for body in program.sent] == [True, False, False]
    assert [call.attempts for call in recorded()] == [2, 1]


def test_a_real_refusal_is_the_programs(recorded: testing.Recording) -> None:
    """A request that is refused with and without our field fails as it does without tracewrap, and is one failed call."""
    program = Program(
        lambda body: httpx2.Response(400, json={"error": {"message": "too long"}}), "https://api.openai.com/v1"
    )
    wrap(program.client)
    with pytest.raises(openai.BadRequestError, match="too long"):
        program.chunks()
    (call,) = recorded()
    assert (call.outcome, call.error_type) == ("error", "BadRequestError")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("how", ["iter_lines", "iter_bytes", "iter_raw", "read"])
@pytest.mark.parametrize("serve", [when_asked, always, strict(400)], ids=lambda s: s.__qualname__)
@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9/v1", "https://api.openai.com/v1"])
def test_a_relay_sends_on_what_it_would(
    base_url: str, serve: Serve, how: str, is_async: bool, recorded: testing.Recording
) -> None:
    """A program that reads the bytes of the stream's response itself gets the same bytes each time; tokens are recorded from them."""
    if serve is always and "openai.com" in base_url:
        pytest.skip("OpenAI reports when asked, and only then")
    bare, program = Program(serve, base_url, is_async), Program(serve, base_url, is_async)
    wrap(program.client)
    assert [program.relayed(how) for _ in range(3)] == [bare.relayed(how) for _ in range(3)]
    assert program.chunks() == bare.chunks()
    found = recorded()
    assert [(call.outcome, call.usage and call.usage.output_tokens) for call in found] == [("complete", 2)] * 4
    reported = "estimated" if serve is not when_asked and serve is not always else "reported"
    assert {call.usage.source for call in found[1:] if call.usage} == {reported}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("how", ["parse", "with_raw_response", "iter_lines", "iter_bytes"])
@pytest.mark.parametrize("serve", [when_asked, always, strict(400)], ids=lambda s: s.__qualname__)
def test_raw_responses_are_asked_too(serve: Serve, how: str, is_async: bool, recorded: testing.Recording) -> None:
    """Raw responses, which LiteLLM takes, show the program the same each time; from the second on their tokens are the server's."""
    bare, program = Program(serve, is_async=is_async), Program(serve, is_async=is_async)
    wrap(program.client)
    assert [program.raw(how) for _ in range(3)] == [bare.raw(how) for _ in range(3)]
    reported = "reported" if serve in (when_asked, always) else "estimated"
    assert [call.outcome for call in recorded()] == ["complete"] * 3
    assert {call.usage.source for call in recorded()[1:] if call.usage} == {reported}


def test_a_relayed_stream_may_be_cut_anywhere() -> None:
    """Events that arrive in pieces of any size leave as they came, but for the one that was asked for; so does one without an end."""
    whole = _stream(usage=True).read()
    expected = _stream(usage=False).read()
    adapter = importlib.import_module("tracewrap.vendors.openai").ADAPTER
    for data, right in ((whole, expected), (whole.replace(b"\n", b"\r\n"), expected.replace(b"\n", b"\r\n"))):
        for size in (1, 2, 3, 7, 64, 10_000):
            passing = WithoutUsage(adapter)
            parts = [passing.feed(data[at : at + size]) for at in range(0, len(data), size)]
            assert b"".join([*parts, passing.close()]) == right
    passing = WithoutUsage(adapter)
    endless = b"data: " + b"x" * 200_000
    assert passing.feed(endless[:100_000]) + passing.feed(endless[100_000:]) + passing.close() == endless
