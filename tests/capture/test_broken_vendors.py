"""As test_broken, for Anthropic, Cohere and plain HTTP: one function of tracewrap broken, and the program sees what it always saw."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import importlib
import json
import types
from collections.abc import Callable
from typing import Any

import pytest

from fake_vendor import FakeVendor
from tracewrap import testing, wrap

anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
httpx = pytest.importorskip("httpx")

from test_broken import INTERNALS, _modules, _raising  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HELLO = [{"role": "user", "content": "a b c"}]
QA: dict[str, Any] = {"model": "m", "messages": HELLO, "max_tokens": 8}
QC: dict[str, Any] = {"model": "m", "messages": HELLO}
FAULT = {"x-fault": json.dumps({"status": 400})}


def _anthropic(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    client = dress(anthropic.Anthropic(api_key="k", base_url=vendor.url, max_retries=0))
    answer = client.messages.create(**QA)
    seen: list[object] = [type(answer), answer.content[0].text, answer.usage.output_tokens]
    stream = client.messages.create(stream=True, **QA)
    seen += [type(stream), [event.type for event in stream]]
    with client.messages.stream(**QA) as events:
        seen += [[type(event).__name__ for event in events], events.get_final_message().stop_reason]
    with client.messages.stream(**QA) as events:
        seen.append(next(iter(events)).type)
    raw = client.messages.with_raw_response.create(**QA)
    seen += [type(raw), raw.parse().content[0].text]
    with client.messages.with_streaming_response.create(stream=True, **QA) as response:
        seen.append(sum(1 for _ in response.iter_lines()))
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(extra_headers=FAULT, **QA)
    return [*seen, type(caught.value), caught.value.status_code]


async def _anthropic_async(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    client = dress(anthropic.AsyncAnthropic(api_key="k", base_url=vendor.url, max_retries=0))
    seen: list[object] = [(await client.messages.create(**QA)).content[0].text]
    stream = await client.messages.create(stream=True, **QA)
    seen += [type(stream), [event.type async for event in stream]]
    async with client.messages.stream(**QA) as events:
        seen.append([type(event).__name__ async for event in events])
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.create(extra_headers=FAULT, **QA)
    await client.close()
    return seen


def _cohere(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    client = dress(cohere.ClientV2(api_key="k", base_url=vendor.url))
    answer = client.chat(**QC)
    seen: list[object] = [type(answer), answer.message.content[0].text]
    stream = client.chat_stream(**QC)
    seen += [isinstance(stream, types.GeneratorType), [event.type for event in stream]]
    stream = client.chat_stream(**QC)
    seen.append(next(stream).type)
    stream.close()
    seen.append(type(client.with_raw_response.chat(**QC)).__name__)
    with pytest.raises(cohere.BadRequestError) as caught:
        client.chat(request_options={"additional_headers": FAULT}, **QC)
    return [*seen, caught.value.status_code]


async def _cohere_async(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    client = dress(cohere.AsyncClientV2(api_key="k", base_url=vendor.url))
    seen: list[object] = [(await client.chat(**QC)).message.content[0].text]
    seen.append([event.type async for event in client.chat_stream(**QC)])
    return seen


def _http(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    url = f"{vendor.openai_url}/chat/completions"
    with dress(httpx.Client()) as client:
        answer = client.post(url, json=QC)
        seen: list[object] = [type(answer), answer.json()["usage"]["completion_tokens"]]
        with client.stream("POST", url, json={**QC, "stream": True}) as response:
            seen += [response.is_stream_consumed, sum(1 for _ in response.iter_lines())]
        with client.stream("POST", url, json={**QC, "stream": True}) as response:
            seen.append(next(response.iter_bytes())[:5])
        seen.append(client.post(url, json=QC, headers=FAULT).status_code)
        with pytest.raises(httpx.ConnectError):
            client.post("http://127.0.0.1:9/v1/chat/completions", json=QC)
    return seen


async def _http_async(vendor: FakeVendor, dress: Callable[[Any], Any]) -> list[object]:
    url = f"{vendor.openai_url}/chat/completions"
    async with dress(httpx.AsyncClient()) as client:
        seen: list[object] = [(await client.post(url, json=QC)).json()["usage"]["completion_tokens"]]
        async with client.stream("POST", url, json={**QC, "stream": True}) as response:
            seen.append(len([line async for line in response.aiter_lines()]))
    return seen


def _run(vendor: FakeVendor, wrapped: bool) -> list[object]:
    dress: Callable[[Any], Any] = wrap if wrapped else (lambda client: client)
    seen: list[object] = []
    for program in (_anthropic, _cohere, _http):
        seen += program(vendor, dress)

    async def rest() -> list[object]:
        return [
            *await _anthropic_async(vendor, dress),
            *await _cohere_async(vendor, dress),
            *await _http_async(vendor, dress),
        ]

    return [*seen, *asyncio.run(rest())]


@pytest.fixture(scope="module")
def expected() -> list[object]:
    """What the programs see without tracewrap."""
    with FakeVendor() as vendor:
        return _run(vendor, wrapped=False)


def test_programs_see_the_same(expected: list[object], vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Wrapped, nothing changes; every call is recorded once."""
    assert _run(vendor, wrapped=True) == expected
    # Anthropic 7 and 4, Cohere 5 and 2, HTTP 5 and 2.
    assert len(recorded()) == 25


def _names() -> list[tuple[object, str]]:
    vendors = [importlib.import_module(f"tracewrap.vendors.{name}") for name in ("anthropic", "cohere")]
    own = [
        (module, name)
        for module in vendors
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__
    ]
    shared = [
        (owner, name) for owner, name in INTERNALS if getattr(owner, "__name__", "") != "tracewrap.vendors.openai"
    ]
    return [*own, *shared]


NAMES = _names()


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[f"{getattr(o, '__name__', o)}.{n}" for o, n in NAMES])
def test_programs_see_the_same_when_tracewrap_is_broken(
    owner: object,
    name: str,
    expected: list[object],
    vendor: FakeVendor,
    recorded: testing.Recording,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any one internal function raising changes nothing for any of the programs."""
    broken = getattr(owner, name)
    vendors = [importlib.import_module(f"tracewrap.vendors.{name}") for name in ("anthropic", "cohere")]
    monkeypatch.setattr(owner, name, _raising)
    if isinstance(owner, types.ModuleType):
        for module in [*_modules(), *vendors]:
            for other, value in list(vars(module).items()):
                if value is broken:
                    monkeypatch.setattr(module, other, _raising)
    replaced = []
    for adapter in (module.ADAPTER for module in vendors):
        for field in dataclasses.fields(adapter):
            if getattr(adapter, field.name) is broken:
                replaced.append((adapter, field.name))
                object.__setattr__(adapter, field.name, _raising)
    try:
        # In a context of its own: a broken function may leave a call current.
        assert contextvars.copy_context().run(_run, vendor, True) == expected
    finally:
        monkeypatch.undo()
        for adapter, field_name in replaced:
            object.__setattr__(adapter, field_name, broken)
