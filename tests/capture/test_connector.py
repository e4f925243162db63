"""Where a call's time passed on our side of the wire, of requests that aiohttp sends: whoever gave them to it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

import tracewrap
from fake_vendor import SLOW_ANSWER_S as ANSWER_S
from fake_vendor import FakeVendor
from tracewrap import testing

aiohttp = pytest.importorskip("aiohttp")
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def _ask(session: Any, url: str) -> None:
    async with session.post(url + "/chat/completions", json=BODY) as response:
        await response.read()


def test_waiting_for_the_sessions_own_pool(slow: FakeVendor, recorded: testing.Recording) -> None:
    """Four requests share one connection: each waited for the answers before it, and the parts add up to no more than the call."""

    async def main() -> None:
        async with tracewrap.wrap(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))) as session:
            await asyncio.gather(*(_ask(session, slow.openai_url) for _ in range(4)))

    asyncio.run(main())
    waits = sorted(call.client_pool_s or 0.0 for call in recorded())
    lags = [call.client_lag_s or 0.0 for call in recorded()]
    for before, wait in enumerate(waits):
        assert before * ANSWER_S - sum(lags) <= wait
    assert waits[0] < ANSWER_S / 2 + sum(lags)
    for call in recorded():
        parts = (call.client_pool_s or 0.0) + (call.network_s or 0.0) + (call.client_sdk_s or 0.0)
        assert parts <= (call.raw_runtime_s or 0.0)


def test_a_slow_name_look_up_is_network(slow: FakeVendor, recorded: testing.Recording) -> None:
    """The first request looks the name up; the second one has its connection."""

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
            await asyncio.sleep(ANSWER_S)
            found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
            return [{**found, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            pass

    async def main() -> None:
        connector = aiohttp.TCPConnector(resolver=Resolver())
        async with tracewrap.wrap(aiohttp.ClientSession(connector=connector)) as session:
            for _ in range(2):
                await _ask(session, slow.openai_url.replace("127.0.0.1", "model.test"))

    asyncio.run(main())
    first, second = recorded()
    assert (first.network_s or 0.0) + (first.client_lag_s or 0.0) >= ANSWER_S * 0.9
    assert second.network_s is not None
    assert second.network_s < ANSWER_S / 2


class _OverAiohttp(httpx.AsyncBaseTransport):
    """httpx over aiohttp, as an SDK's option for it is."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers)
        async with self.session.request(
            request.method, str(request.url), headers=headers, data=request.content
        ) as answer:
            return httpx.Response(
                answer.status, content=await answer.read(), headers={"content-type": "application/json"}
            )


def test_httpx_over_aiohttp(slow: FakeVendor, recorded: testing.Recording) -> None:
    """A wait for aiohttp's pool is a wait for the pool of who called httpx: one call each, its wait with it."""

    async def main() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            client = tracewrap.wrap(httpx.AsyncClient(transport=_OverAiohttp(session)))
            await asyncio.gather(*(client.post(slow.openai_url + "/chat/completions", json=BODY) for _ in range(3)))

    asyncio.run(main())
    assert len(recorded()) == 3
    waits = [(call.client_pool_s or 0.0) + (call.client_lag_s or 0.0) for call in recorded()]
    assert max(waits) >= 1.5 * ANSWER_S


def test_the_programs_own_traces_see_what_they_see_without_us(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Its trace configurations are called as before, and it sees none of ours; a request that nobody records has none either."""
    ours: list[str] = []
    bare: list[str] = []

    def tracing(seen: list[str]) -> Any:
        config = aiohttp.TraceConfig()
        for name in ("request_start", "connection_create_start", "request_chunk_sent", "request_end"):

            async def note(session: Any, context: Any, params: Any, name: str = name) -> None:
                seen.append(name)

            getattr(config, f"on_{name}").append(note)
        return config

    async def main() -> None:
        async with aiohttp.ClientSession(trace_configs=[tracing(bare)]) as session:
            await _ask(session, vendor.openai_url)
        configs = [tracing(ours)]
        async with tracewrap.wrap(aiohttp.ClientSession(trace_configs=configs)) as session:
            await _ask(session, vendor.openai_url)
            assert session.trace_configs == configs
            async with session.get(vendor.openai_url + "/models") as response:
                assert response._traces is not None
                assert len(response._traces) == 1

    asyncio.run(main())
    assert ours[: len(bare)] == bare
    assert len(recorded()) == 1


def test_a_connection_that_cannot_be_had(recorded: testing.Recording) -> None:
    """The program gets aiohttp's own error; the call says that it was connecting."""

    async def main() -> None:
        async with tracewrap.wrap(aiohttp.ClientSession()) as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await _ask(session, "http://127.0.0.1:9")

    asyncio.run(main())
    (call,) = recorded()
    assert call.outcome == "error"
    assert call.network_s is not None


def test_whatever_of_ours_breaks_the_request_goes_through(
    vendor: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another aiohttp's insides: the call is recorded all the same, without these parts."""
    monkeypatch.setattr("tracewrap.capture.seams.connector._config", None)

    async def main() -> None:
        async with tracewrap.wrap(aiohttp.ClientSession()) as session:
            await _ask(session, vendor.openai_url)

    asyncio.run(main())
    (call,) = recorded()
    assert (call.outcome, call.network_s) == ("complete", None)
