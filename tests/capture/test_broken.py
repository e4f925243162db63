"""A program behaves identically with tracewrap, without it, and with any one function of tracewrap broken."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib
import inspect
import json
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

import tracewrap.capture
import tracewrap.vendors
from tracewrap import semconv, testing, wrap

CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
}
QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
NOT_GUARDED = {
    "__next__",
    "__del__",
    "__anext__",
    "__iter__",
    "__aiter__",
    "__call__",
    "throw",
    "close",
    "aclose",
    "wrap",
    "instrument",
    "uninstrument",
}
"""The pass-through itself, and what a program calls on purpose."""


def _serve(request: httpx2.Request) -> httpx2.Response:
    body = json.loads(request.content)
    if body["model"] == "missing":
        return httpx2.Response(404, json={"error": {"message": "no such model", "code": "model_not_found"}})
    if not body.get("stream"):
        return httpx2.Response(200, json=ANSWER, headers={"x-request-id": "r1", "openai-processing-ms": "12"})
    deltas = [{"role": "assistant"}, {"content": "h"}, {"content": "i"}]
    lines = [{**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    lines.append({**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        lines.append({**CHUNK, "choices": [], "usage": ANSWER["usage"]})
    text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


def _sync_program(client: openai.OpenAI) -> Iterator[object]:
    """What a program sees of every kind of call, as plain values."""
    create = client.chat.completions.create
    answer = create(**QUESTION)
    yield type(answer), answer.choices[0].message.content, answer.usage and answer.usage.total_tokens
    stream = create(stream=True, **QUESTION)
    yield type(stream), isinstance(stream, openai.Stream)
    yield [(type(chunk), chunk.choices[0].delta.content) for chunk in stream]
    with create(stream=True, **QUESTION) as stream:
        yield next(stream).choices[0].delta.role
    yield stream.response.is_closed
    create(stream=True, **QUESTION)
    gc.collect()
    raw = client.chat.completions.with_raw_response.create(**QUESTION)
    yield type(raw), raw.parse().id, raw.headers["x-request-id"]
    yield [chunk.id for chunk in client.chat.completions.with_raw_response.create(stream=True, **QUESTION).parse()]
    with client.chat.completions.with_streaming_response.create(**QUESTION) as response:
        yield type(response), response.json()
    with client.chat.completions.with_streaming_response.create(stream=True, **QUESTION) as response:
        yield list(response.iter_lines())
    with client.chat.completions.stream(**QUESTION) as events:
        yield [event.type for event in events]
    yield client.with_options(timeout=3).chat.completions.create(**QUESTION).id
    with pytest.raises(openai.NotFoundError) as caught:
        create(model="missing", messages=[])
    yield str(caught.value), caught.value.status_code


async def _async_program(client: openai.AsyncOpenAI) -> list[object]:
    seen: list[object] = []
    create = client.chat.completions.create
    seen.append((await create(**QUESTION)).id)
    stream = await create(stream=True, **QUESTION)
    seen += [type(stream), [chunk.choices[0].delta.content async for chunk in stream]]
    stream = await create(stream=True, **QUESTION)
    async for chunk in stream:
        seen.append(chunk.id)
        break
    await stream.close()
    raw = await client.chat.completions.with_raw_response.create(stream=True, **QUESTION)
    seen += [type(raw), [chunk.id async for chunk in raw.parse()]]
    async with client.chat.completions.with_streaming_response.create(**QUESTION) as response:
        seen.append(await response.json())
    async with client.chat.completions.stream(**QUESTION) as events:
        seen.append([event.type async for event in events])
    with pytest.raises(openai.NotFoundError):
        await create(model="missing", messages=[])
    return seen


def _run(wrapped: bool) -> list[object]:
    """The whole program, sync and async."""
    sync_client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(_serve)))
    async_http = httpx2.AsyncClient(transport=httpx2.MockTransport(_serve))
    async_client = openai.AsyncOpenAI(api_key="k", http_client=async_http)
    if wrapped:
        wrap(sync_client)
        wrap(async_client)
    return [*_sync_program(sync_client), *asyncio.run(_async_program(async_client))]


def _modules() -> list[types.ModuleType]:
    found = pkgutil.walk_packages(tracewrap.capture.__path__, "tracewrap.capture.")
    names = [info.name for info in found]
    names += ["tracewrap.vendors.openai", "tracewrap.vendors.adapter", "tracewrap.vendors.providers"]
    return [importlib.import_module(name) for name in names] + [semconv]


def _internals() -> list[tuple[object, str]]:
    """(owner, name) of every function and method that runs inside a call."""
    found: list[tuple[object, str]] = []
    for module in _modules():
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__ or name in NOT_GUARDED:
                continue
            if inspect.isfunction(value):
                found.append((module, name))
            elif inspect.isclass(value):
                methods = [n for n, m in vars(value).items() if inspect.isfunction(m) and n not in NOT_GUARDED]
                found += [(value, n) for n in methods if not (value.__mro__[1] is tuple and n.startswith("_"))]
    return found


def _raising(*_: object, **__: object) -> None:
    raise RuntimeError("broken on purpose")


@pytest.fixture(scope="module")
def expected() -> list[object]:
    """What the program sees without tracewrap."""
    return _run(wrapped=False)


def test_program_sees_the_same_with_tracewrap(expected: list[object], recorded: testing.Recording) -> None:
    """Return types, values, laziness and exceptions are the SDK's own; every call is recorded once."""
    assert _run(wrapped=True) == expected
    assert len(recorded()) == 18  # 11 in the sync program, 7 in the async one
    assert [call.outcome for call in recorded()].count("error") == 2


INTERNALS = _internals()


@pytest.mark.parametrize(("owner", "name"), INTERNALS, ids=[f"{getattr(o, '__name__', o)}.{n}" for o, n in INTERNALS])
def test_program_sees_the_same_when_tracewrap_is_broken(
    owner: object,
    name: str,
    expected: list[object],
    recorded: testing.Recording,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any one internal function raising changes nothing for the program."""
    broken = getattr(owner, name)
    monkeypatch.setattr(owner, name, _raising)
    if isinstance(owner, types.ModuleType):
        for module in _modules():
            for other, value in list(vars(module).items()):
                if value is broken:
                    monkeypatch.setattr(module, other, _raising)
    adapter = importlib.import_module("tracewrap.vendors.openai").ADAPTER
    fields = ("read_request", "read_response", "read_stream", "hides_chunk")
    readers = {field: getattr(adapter, field) for field in fields if getattr(adapter, field) is broken}
    for field in readers:
        object.__setattr__(adapter, field, _raising)
    try:
        # In a context of its own: a broken function may leave a call current.
        assert contextvars.copy_context().run(_run, True) == expected
    finally:
        monkeypatch.undo()
        for field, reader in readers.items():
            object.__setattr__(adapter, field, reader)
