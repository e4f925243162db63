"""Answers that are not streamed, whose body is read as the program wants it: what it waits for is told from what it held."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

import tracewrap
from fake_wire import Answer, Asked, openai_chat
from tracewrap import testing

LATE_S = 0.3
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = json.dumps(openai_chat(Asked("openai", "m", 3, 4, False, BODY, Answer()))).encode()


@pytest.fixture
def url() -> Iterator[str]:
    """A server on one connection: its heads come at once; the body of every second answer LATE_S later."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as requests:
            for late in (False, True):
                length = 0
                while (line := requests.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                requests.read(length)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                connection.sendall(head if late else head + ANSWER)
                if late:
                    time.sleep(LATE_S)
                    connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        server = threading.Thread(target=serve)
        server.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server.join()


def _openai(url: str) -> None:
    with tracewrap.wrap(openai.OpenAI(api_key="k", base_url=url, max_retries=0)) as client:
        for held_s in (LATE_S, 0.0):
            with client.chat.completions.with_streaming_response.create(**BODY) as response:
                time.sleep(held_s)
                response.parse()


def _openai_async(url: str) -> None:
    async def main() -> None:
        async with tracewrap.wrap(openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0)) as client:
            for held_s in (LATE_S, 0.0):
                async with client.chat.completions.with_streaming_response.create(**BODY) as response:
                    await asyncio.sleep(held_s)
                    await response.parse()

    asyncio.run(main())


def _httpx(url: str) -> None:
    with tracewrap.wrap(httpx.Client()) as client:
        for held_s in (LATE_S, 0.0):
            with client.stream("POST", url + "/chat/completions", json=BODY) as response:
                time.sleep(held_s)
                response.read()


@pytest.mark.parametrize("program", [_openai, _openai_async, _httpx])
def test_a_body_that_came_late_and_one_that_was_held(program: Any, url: str, recorded: testing.Recording) -> None:
    """The first answer lay there until the program read it: its consumer's time, no part of raw. The second one's body was the server's
    to send: neither the SDK's work nor the program's."""
    program(url)
    held, late = recorded()
    assert held.consumer_s is not None
    assert held.consumer_s >= LATE_S * 0.9
    assert late.raw_runtime_s is not None
    assert late.raw_runtime_s >= LATE_S * 0.9
    assert late.consumer_s is None
    for call in (held, late):
        assert call.usage.output_tokens == 4
        assert 0.0 <= (call.client_sdk_s or 0.0) <= LATE_S / 2 + (call.client_lag_s or 0.0)
