"""What the program puts between an SDK and the wire: hooks, authentication, clients and transports of its own, slow log handlers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

import tracewrap
from fake_vendor import FakeVendor
from tracewrap import testing

OWN_S = 0.15
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _sleep(*_: Any) -> None:
    time.sleep(OWN_S)


async def _asleep(*_: Any) -> None:
    await asyncio.sleep(OWN_S)


class _SlowAuth(httpx2.Auth):
    """A login that takes its time."""

    def auth_flow(self, request: Any) -> Any:
        _sleep()
        yield request


class _SlowTransport(httpx2.HTTPTransport):
    """A limiter of the program's own."""

    def handle_request(self, request: Any) -> Any:
        _sleep()
        return super().handle_request(request)


class _SlowClient(httpx2.Client):
    """The same, a floor above."""

    def send(self, request: Any, **kwargs: Any) -> Any:
        _sleep()
        return super().send(request, **kwargs)


class _SlowHandler(logging.Handler):
    """One that sends each line somewhere far away."""

    def emit(self, record: logging.LogRecord) -> None:
        _sleep()


BETWEEN: dict[str, Callable[[], Any]] = {
    "request hook": lambda: httpx2.Client(event_hooks={"request": [_sleep]}),
    "response hook": lambda: httpx2.Client(event_hooks={"response": [_sleep]}),
    "authentication": lambda: httpx2.Client(auth=_SlowAuth()),
    "transport": lambda: httpx2.Client(transport=_SlowTransport()),
    "client": _SlowClient,
    "log line": httpx2.Client,
    "request hook, asynchronous": lambda: httpx2.AsyncClient(event_hooks={"request": [_asleep]}),
    "response hook, asynchronous": lambda: httpx2.AsyncClient(event_hooks={"response": [_asleep]}),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("between", BETWEEN)
def test_what_the_program_puts_between_the_sdk_and_the_wire_is_its_own(
    between: str, stream: bool, slow: FakeVendor, recorded: testing.Recording
) -> None:
    """Of a second call, whose connection is open: neither a wait for the pool nor the provider's."""
    http = BETWEEN[between]()
    given: dict[str, Any] = {"api_key": "k", "base_url": slow.openai_url, "http_client": http}
    handler = _SlowHandler()
    logger = logging.getLogger("httpx2")
    if between == "log line":
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    async def use() -> None:
        async with openai.AsyncOpenAI(**given) as client:
            for _ in range(2):
                answer = await tracewrap.wrap(client).chat.completions.create(**BODY, stream=stream)
                if stream:
                    assert [chunk async for chunk in answer]

    try:
        if isinstance(http, httpx2.AsyncClient):
            asyncio.run(use())
        else:
            with tracewrap.wrap(openai.OpenAI(**given)) as client:
                for _ in range(2):
                    answer = client.chat.completions.create(**BODY, stream=stream)
                    assert not stream or list(answer)
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
    for call in recorded():
        assert (call.client_sdk_s or 0.0) + (call.client_lag_s or 0.0) >= OWN_S
        assert (call.client_pool_s or 0.0) < OWN_S
