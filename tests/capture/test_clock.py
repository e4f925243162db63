"""The clock: what a call took, its first chunk, its consumer and its retries, against a vendor whose delays are known.

{plain, stream, slow consumer, early close, retry} x {sync, async} x {openai, anthropic, cohere, httpx}. A floor is what the server
slept, which no machine can shorten; a ceiling is what the caller's own clock saw round it, less the caller's own pauses. Neither is
moved by a busy machine, except that one taking a read for a wait may hide a pause: such a call is made again, three times at most.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fake_vendor import FakeVendor, Fault, Timing
from tracewrap import testing, wrap
from tracewrap.records import Call

pytestmark = pytest.mark.usefixtures("leaves_clients_open")

FIRST_S, TOKEN_S, PAUSE_S, FAILED_S = 0.05, 0.02, 0.03, 0.08
TOKENS = 8
"""What the fake answers with by default."""
HELLO = [{"role": "user", "content": "a b c"}]
VENDORS = ["openai", "anthropic", "cohere", "httpx"]
SOON = {"retry-after-ms": "1", "retry-after": "0"}


@dataclass
class Caller:
    """One call as its caller makes and times it; every moment is ``perf_counter``'s."""

    name: str
    is_async: bool
    began: float = 0.0
    first_at: float = 0.0
    """When the first chunk was in the caller's hands."""
    last_at: float = 0.0
    """When the last chunk was."""
    ended: float = 0.0
    pauses: list[float] = field(default_factory=list)
    """Seconds that the caller itself took, one after each chunk."""

    async def pause(self, seconds: float) -> None:
        """Be busy with something else, for *seconds* or longer."""
        before = time.perf_counter()
        await asyncio.sleep(seconds) if self.is_async else time.sleep(seconds)
        self.pauses.append(time.perf_counter() - before)

    @asynccontextmanager
    async def client(self, vendor: FakeVendor) -> AsyncIterator[Any]:
        """A wrapped client of the fake, that retries as its SDK does by default."""
        sdk = importlib.import_module(self.name)
        maker, cls, url = {
            "openai": ("Default{}HttpxClient", "{}OpenAI", vendor.openai_url),
            "anthropic": ("Default{}HttpxClient", "{}Anthropic", vendor.url),
            "cohere": ("{}Client", "{}ClientV2", vendor.url),
            "httpx": ("{}Client", "", vendor.url),
        }[self.name]
        family = importlib.import_module("httpx") if self.name == "cohere" else sdk
        infix = "Async" if self.is_async else ""
        bare = {"base_url": url} if self.name == "httpx" else {}
        http = getattr(family, maker.format(infix))(verify=False, **bare)
        try:
            if self.name == "httpx":
                yield wrap(http)
            else:
                given = "httpx_client" if self.name == "cohere" else "http_client"
                yield wrap(getattr(sdk, cls.format(infix))(api_key="k", base_url=url, **{given: http}))
        finally:
            await _given(http.aclose() if self.is_async else http.close())

    async def plain(self, vendor: FakeVendor) -> None:
        """A call whose answer comes whole."""
        async with self.client(vendor) as client:
            self.began = time.perf_counter()
            await _given(_method(self.name, client, False)(**_arguments(self.name, False)))
            self.ended = time.perf_counter()

    async def stream(self, vendor: FakeVendor, *, before_s: float = 0.0, pause_s: float = 0.0, limit: int = 0) -> None:
        """A streamed call: pause *before_s* before the first read and *pause_s* after every chunk; close after *limit* of them."""
        async with self.client(vendor) as client, AsyncExitStack() as stack:
            self.began = time.perf_counter()
            chunks = await self._opened(client, stack)
            if before_s:
                await self.pause(before_s)
            async with aclosing(_numbered(chunks)) as numbered:
                async for number, _ in numbered:
                    self.last_at = time.perf_counter()
                    self.first_at = self.first_at or self.last_at
                    if pause_s:
                        await self.pause(pause_s)
                    if number == limit:
                        break
            await _given(chunks.aclose() if hasattr(chunks, "aclose") else chunks.close())
            self.ended = time.perf_counter()

    async def _opened(self, client: Any, stack: AsyncExitStack) -> Any:
        """The chunks to come, as the SDK gives them."""
        answer = _method(self.name, client, True)(**_arguments(self.name, True))
        if self.name != "httpx":
            return await _given(answer)
        if self.is_async:
            return (await stack.enter_async_context(answer)).aiter_bytes()
        return stack.enter_context(answer).iter_bytes()


def _method(name: str, client: Any, stream: bool) -> Callable[..., Any]:
    if name == "cohere":
        return client.chat_stream if stream else client.chat  # type: ignore[no-any-return]
    if name == "httpx":
        return client.stream if stream else client.request  # type: ignore[no-any-return]
    return (client.chat.completions if name == "openai" else client.messages).create  # type: ignore[no-any-return]


def _arguments(name: str, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m", "messages": HELLO}
    if name == "httpx":
        return {"method": "POST", "url": "/v1/chat/completions", "json": {**body, "stream": stream}}
    if name == "anthropic":
        body["max_tokens"] = TOKENS
    return {**body, "stream": True} if stream and name != "cohere" else body


async def _given(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _numbered(source: Any) -> AsyncGenerator[tuple[int, Any]]:
    number = 0
    if hasattr(source, "__aiter__"):
        async for item in source:
            yield (number := number + 1), item
    else:
        for item in source:
            yield (number := number + 1), item


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    """Whether the client is the asynchronous one."""
    return bool(request.param)


@pytest.fixture(params=VENDORS)
def name(request: pytest.FixtureRequest) -> str:
    """The SDK, which is here."""
    pytest.importorskip(request.param)
    return str(request.param)


Made = Callable[[Caller], Awaitable[None]]


def _recorded(name: str, is_async: bool, make: Made, check: Callable[[Caller, Call], None]) -> None:
    """Make the call and *check* what was recorded of it; a call that the machine may have disturbed is made again."""
    for chance in range(3):
        caller = Caller(name, is_async)
        with testing.recording() as recorded:
            asyncio.run(make(caller))  # type: ignore[arg-type]
        (call,) = recorded()
        try:
            check(caller, call)
        except AssertionError:
            if chance == 2:
                raise
        else:
            return


def test_plain(name: str, is_async: bool) -> None:
    """A plain call took what the server took, and no longer than its caller waited."""

    def check(caller: Caller, call: Call) -> None:
        assert FIRST_S + (TOKENS - 1) * TOKEN_S <= call.raw_runtime_s <= caller.ended - caller.began
        assert (call.attempts, call.retry_s, call.consumer_s) == (1, 0.0, None)

    with FakeVendor(Timing(overhead_s=FIRST_S, seconds_per_output_token=TOKEN_S)) as vendor:
        _recorded(name, is_async, lambda caller: caller.plain(vendor), check)


def test_stream(name: str, is_async: bool) -> None:
    """A stream read as it comes: the first chunk, then the whole, each when the caller had it and not before the server sent it."""

    def check(caller: Caller, call: Call) -> None:
        assert FIRST_S <= call.time_to_first_chunk_s <= caller.first_at - caller.began
        assert FIRST_S + (TOKENS - 1) * TOKEN_S <= call.raw_runtime_s + call.consumer_s <= caller.ended - caller.began
        assert call.time_to_first_chunk_s < call.raw_runtime_s
        assert call.consumer_s < (TOKENS - 1) * TOKEN_S

    with FakeVendor(Timing(overhead_s=FIRST_S, seconds_per_output_token=TOKEN_S)) as vendor:
        _recorded(name, is_async, lambda caller: caller.stream(vendor), check)


def test_slow_consumer(name: str, is_async: bool) -> None:
    """A consumer that pauses after every chunk of an answer that is there already: its pauses are its own, not the call's."""

    def check(caller: Caller, call: Call) -> None:
        held = sum(caller.pauses[:-1])  # the last one came after the last chunk
        assert held > PAUSE_S
        assert held <= call.consumer_s
        assert FIRST_S <= call.raw_runtime_s <= caller.ended - caller.began - held
        assert FIRST_S <= call.time_to_first_chunk_s <= caller.first_at - caller.began

    def make(caller: Caller) -> Awaitable[None]:
        vendor.fail_next(Fault(delay_s=FIRST_S))
        return caller.stream(vendor, pause_s=PAUSE_S)

    with FakeVendor() as vendor:
        _recorded(name, is_async, make, check)


def test_slow_to_begin(name: str, is_async: bool) -> None:
    """A consumer that pauses before its first read of an answer that is there already did not wait for the first chunk so long."""

    def check(caller: Caller, call: Call) -> None:
        (held,) = caller.pauses
        assert FIRST_S <= call.time_to_first_chunk_s <= caller.first_at - caller.began - held
        assert FIRST_S <= call.raw_runtime_s <= caller.ended - caller.began - held

    def make(caller: Caller) -> Awaitable[None]:
        vendor.fail_next(Fault(delay_s=FIRST_S))
        return caller.stream(vendor, before_s=4 * PAUSE_S)

    with FakeVendor() as vendor:
        _recorded(name, is_async, make, check)


def test_busy_consumer(name: str, is_async: bool) -> None:
    """A consumer that works while the server generates delays nothing: the call took what the server took."""

    def check(caller: Caller, call: Call) -> None:
        assert FIRST_S + (TOKENS - 1) * 2 * PAUSE_S <= call.raw_runtime_s <= caller.ended - caller.began
        assert call.consumer_s < sum(caller.pauses) / 2

    with FakeVendor(Timing(overhead_s=FIRST_S, seconds_per_output_token=2 * PAUSE_S)) as vendor:
        _recorded(name, is_async, lambda caller: caller.stream(vendor, pause_s=PAUSE_S / 3), check)


def test_broken_while_the_consumer_paused(name: str, is_async: bool) -> None:
    """A stream that had broken while its consumer was elsewhere: the pauses before the read that says so are the consumer's too."""

    def check(caller: Caller, call: Call) -> None:
        assert call.outcome == "error"
        assert PAUSE_S <= sum(caller.pauses) <= call.consumer_s
        assert FIRST_S <= call.raw_runtime_s <= caller.ended - caller.began - sum(caller.pauses)

    async def make(caller: Caller) -> None:
        vendor.fail_next(Fault(delay_s=FIRST_S, cut_after=4))
        with pytest.raises(Exception):  # noqa: B017, PT011  # each SDK has its own word for it
            await caller.stream(vendor, pause_s=PAUSE_S)
        caller.ended = time.perf_counter()

    with FakeVendor() as vendor:
        _recorded(name, is_async, make, check)


def test_early_close(name: str, is_async: bool) -> None:
    """A stream closed after its second chunk took until that chunk; what the caller did before it closed is not the call's."""

    def check(caller: Caller, call: Call) -> None:
        assert call.outcome == "partial"
        assert FIRST_S <= call.raw_runtime_s <= caller.last_at - caller.began
        assert call.raw_runtime_s < caller.ended - caller.began - caller.pauses[-1]
        assert FIRST_S <= call.time_to_first_chunk_s <= caller.first_at - caller.began

    with FakeVendor(Timing(overhead_s=FIRST_S, seconds_per_output_token=TOKEN_S)) as vendor:
        _recorded(name, is_async, lambda caller: caller.stream(vendor, pause_s=PAUSE_S, limit=2), check)


@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_retry(name: str, mode: str, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first attempt that failed is the retry's time, part of the call and of its first chunk; the last attempt is told apart."""
    if name == "httpx" or (name, mode) == ("cohere", "stream"):
        pytest.skip("it does not try again by itself")
    if name == "cohere":
        http = importlib.import_module("cohere.core.http_client")
        monkeypatch.setattr(http, "_retry_timeout", lambda response, retries: 0.001)

    def check(caller: Caller, call: Call) -> None:
        waited = caller.ended - caller.began
        assert (call.attempts, call.outcome) == (2, "complete")
        assert FAILED_S <= call.retry_s <= waited - FIRST_S
        assert FAILED_S + FIRST_S <= call.raw_runtime_s <= waited
        assert FIRST_S <= call.last_attempt_s <= waited - FAILED_S
        if mode == "stream":
            assert FAILED_S + FIRST_S <= call.time_to_first_chunk_s <= caller.first_at - caller.began
            assert FIRST_S <= call.time_to_first_chunk_s - call.retry_s <= caller.first_at - caller.began - FAILED_S

    def make(caller: Caller) -> Awaitable[None]:
        vendor.fail_next(Fault(status=500, headers=SOON, delay_s=FAILED_S), Fault(delay_s=FIRST_S))
        return caller.stream(vendor) if mode == "stream" else caller.plain(vendor)

    with FakeVendor() as vendor:
        _recorded(name, is_async, make, check)
