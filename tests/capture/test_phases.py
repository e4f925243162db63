"""Where a call's time passed on our side of the wire: orderings and floors, so that they hold on a busy machine."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpcore
import httpx
import openai
import pytest

import tracewrap
from fake_vendor import SLOW_ANSWER_S as ANSWER_S
from fake_vendor import FakeVendor
from tracewrap import testing
from tracewrap.capture.lag import LATE_S, THREADS, Blocks, ThreadWatch
from tracewrap.capture.phases import Phases, _kind, intervals, listening
from tracewrap.records import Call

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def events(**at: float) -> Phases:
    """Phases with the events of an HTTP/1.1 request at the given times, handed over at 1."""
    phases = listening()
    phases.handed = 1.0
    phases.events.update({name.replace("__", "."): when for name, when in at.items()})
    return phases


def test_an_attempt_is_cut_at_its_events() -> None:
    """Pool until connecting begins, network while connecting and sending, waiting until the answer, SDK before and after."""
    phases = events(
        connection__connect_tcp__started=2,
        connection__connect_tcp__complete=3,
        connection__start_tls__started=3,
        connection__start_tls__complete=5,
        http11__send_request_headers__started=5,
        http11__send_request_body__complete=6,
        http11__receive_response_headers__complete=8,
        http11__receive_response_body__started=8.5,
        http11__receive_response_body__complete=9,
    )
    found = intervals(phases, 0.0, 10.0, stream=False)
    assert found.pool == (1.0, 2.0)
    assert found.network == [(2, 3), (3, 5), (5, 6)]
    assert found.waiting == [(6, 8), (8.5, 9)]
    assert found.working == [(0.0, 1.0), (8, 8.5), (9, 10.0)]


def test_a_step_that_never_completed_lasted_until_the_end() -> None:
    """A request that found no connection waited for one; one whose connecting failed was connecting."""
    assert intervals(events(), 0.0, 10.0, stream=False).pool == (1.0, 10.0)
    failed = intervals(
        events(connection__connect_tcp__started=2, connection__connect_tcp__failed=7), 0.0, 10.0, stream=False
    )
    assert (failed.pool, failed.network, failed.waiting) == ((1.0, 2.0), [(2, 7)], [])


def test_a_block_delays_a_wait_only_if_the_wait_ended_with_it() -> None:
    """The answer that came after a block was not there during it."""
    blocks = Blocks()
    blocks.due = 1.0
    blocks.woken(3.0)
    blocks.due = float("inf")
    assert blocks.within(0.0, 3.0 + LATE_S / 2).delay(0.0, 3.0 + LATE_S / 2) == 2.0
    assert blocks.within(2.0, 3.0).delay(2.0, 3.0) == 1.0  # the part of it within the wait
    assert blocks.within(0.0, 4.0).delay(0.0, 4.0) == 0.0
    assert blocks.within(0.0, 4.0).total(0.0, 4.0) == 2.0
    blocks.due = 5.0  # a block that has not ended
    assert blocks.within(4.0, 6.0).delay(4.0, 6.0) == 1.0


def test_waiting_for_the_programs_own_pool(slow: FakeVendor, recorded: testing.Recording) -> None:
    """Four threads share one connection: the last one waited for three answers, the first for none."""
    http = openai.DefaultHttpxClient(limits=_limits(1))
    client = tracewrap.wrap(openai.OpenAI(api_key="k", base_url=slow.openai_url, http_client=http))
    threads = [threading.Thread(target=lambda: client.chat.completions.create(**BODY)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    waits = sorted((call.client_pool_s or 0.0) + (call.client_lag_s or 0.0) for call in recorded())
    assert waits[-1] >= 2.5 * ANSWER_S  # on a busy machine some of it is lag
    assert max(call.client_pool_s or 0.0 for call in recorded()) >= ANSWER_S
    for call in recorded():
        assert (call.client_pool_s or 0.0) + (call.network_s or 0.0) + (call.client_sdk_s or 0.0) <= (
            call.raw_runtime_s or 0.0
        )


def _limits(connections: int) -> Any:
    import httpx2

    return httpx2.Limits(max_connections=connections)


async def _beside(hog: Callable[[], None], url: str) -> None:
    """One call, and *hog* on the same loop while it waits."""
    client = tracewrap.wrap(openai.AsyncOpenAI(api_key="k", base_url=url))
    await client.chat.completions.create(**BODY)  # connected, and the SDK warm

    async def later() -> None:
        await asyncio.sleep(ANSWER_S / 4)
        hog()

    task = asyncio.create_task(later())
    await client.chat.completions.create(**BODY)
    await task
    await client.close()


def test_a_blocked_event_loop_is_late(slow: FakeVendor, recorded: testing.Recording) -> None:
    """The program holds its loop beyond the answer: at most that long can it have been late, and it was the loop."""
    asyncio.run(_beside(lambda: time.sleep(3 * ANSWER_S), slow.openai_url))
    call = recorded()[-1]
    assert 2 * ANSWER_S <= (call.client_lag_s or 0.0) <= (call.raw_runtime_s or 0.0)
    assert call.client_lag_kind in ("event_loop", "threads")  # on a busy machine no thread came to run either


@pytest.mark.parametrize(("starved_s", "kind"), [(0.0, "event_loop"), (0.2, "event_loop"), (0.9, "threads")])
def test_what_of_ours_was_late(monkeypatch: pytest.MonkeyPatch, starved_s: float, kind: str) -> None:
    """The loop alone where other threads ran; threads where none of the process came to run for most of that time."""
    thread_blocks = Blocks()
    if starved_s:
        thread_blocks.spans.append((1.0, 1.0 + starved_s))
    monkeypatch.setattr(THREADS, "blocks", thread_blocks)
    loop_blocks = Blocks()
    loop_blocks.spans.append((1.0, 2.0))
    call = SimpleNamespace(loop=SimpleNamespace(blocks=loop_blocks), phases=listening(), attempt_started=0.0)
    assert _kind(call, 3.0) == kind


def test_a_slow_name_look_up_is_network(
    slow: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting counts from the look-up of the name on."""
    look_up = socket.getaddrinfo

    def slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.3)
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with tracewrap.wrap(httpx.Client()) as client:
        client.post(f"{slow.openai_url}/chat/completions", json=BODY)
    (call,) = recorded()
    assert 0.3 <= (call.network_s or 0.0) <= (call.raw_runtime_s or 0.0) - ANSWER_S / 2


def test_a_program_that_traces_its_requests_keeps_its_listener(slow: FakeVendor, recorded: testing.Recording) -> None:
    """Its own ``trace`` extension is called as ever; nothing is known of our side then."""
    seen: list[str] = []
    with tracewrap.wrap(httpx.Client()) as client:
        listener = {"trace": lambda name, _: seen.append(name)}
        client.post(f"{slow.openai_url}/chat/completions", json=BODY, extensions=listener)
    (call,) = recorded()
    assert "http11.receive_response_body.complete" in seen
    assert call.network_s is None


def test_a_request_on_an_idle_connection_needs_no_listener(slow: FakeVendor, recorded: testing.Recording) -> None:
    """Only the first request connects, and is listened to; of the second, waiting is the server's and the rest is the SDK's."""
    with tracewrap.wrap(httpx.Client()) as client:
        seen = [client.post(f"{slow.openai_url}/chat/completions", json=BODY).request for _ in range(2)]
    assert ["trace" in request.extensions for request in seen] == [True, False]
    first, second = recorded()
    assert (first.network_s or 0.0) > 0.0
    assert (second.client_pool_s, second.network_s) == (0.0, 0.0)
    assert 0.0 < (second.client_sdk_s or 0.0) <= (second.raw_runtime_s or 0.0) - ANSWER_S / 2


def test_a_connection_that_the_server_had_closed_was_not_idle(recorded: testing.Recording) -> None:
    """It looked idle, and the request went by a new one that nobody listened to: nothing is claimed of our side."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    hang_up = threading.Event()

    def serve() -> None:
        for _ in range(2):
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)
                hang_up.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listening, tracewrap.wrap(httpx.Client()) as client:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions"
        listening.settimeout(10)
        server = threading.Thread(target=serve)
        server.start()
        client.post(url, json=BODY)
        transport: Any = client._transport
        (before,) = transport._pool.connections
        hang_up.set()
        while not before.has_expired():  # the end of the connection has come here
            time.sleep(0.001)
        client.post(url, json=BODY)
        server.join()
    first, second = recorded()
    assert (first.network_s or 0.0) > 0.0
    assert (second.client_pool_s, second.client_sdk_s, second.network_s) == (None, None, None)


@pytest.mark.parametrize("faster", ["who claimed it", "who did not"])
def test_two_threads_see_one_idle_connection(
    faster: str, slow: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see it before either takes it. The slower one waited for the pool: it says so if it was listened to, and nothing if not."""
    both, went = threading.Barrier(2), threading.Event()
    handle = httpcore.ConnectionPool.handle_request

    def together(pool: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        both.wait(10)
        if ("trace" in request.extensions) == (faster == "who claimed it"):
            assert went.wait(10)
        else:
            threading.Timer(0.05, went.set).start()
        return handle(pool, request)

    client = tracewrap.wrap(httpx.Client(limits=httpx.Limits(max_connections=1), timeout=30))
    url = f"{slow.openai_url}/chat/completions"
    with client:
        client.post(url, json=BODY)
        monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", together)
        threads = [threading.Thread(target=client.post, args=(url,), kwargs={"json": BODY}) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _, *pair = recorded()
    quick, waited = sorted(pair, key=lambda call: call.raw_runtime_s)
    assert quick.client_pool_s is not None
    assert quick.client_pool_s < ANSWER_S / 2
    if faster == "who claimed it":
        assert (waited.client_pool_s or 0.0) > ANSWER_S / 2
    else:
        assert waited.client_pool_s is None


def test_an_idle_connection_is_asked_whether_it_is_open_only_when_it_was_not_used_just_now(
    slow: FakeVendor, recorded: testing.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking the system at each call would cost more than the rest of the look; after a pause it is asked, once more than by the pool."""
    asked = []
    expired = httpcore.HTTP11Connection.has_expired
    monkeypatch.setattr(httpcore.HTTP11Connection, "has_expired", lambda self: asked.append(1) or expired(self))
    counts = []
    with tracewrap.wrap(httpx.Client()) as client:
        for fresh_s in (0.0, 0.0, 60.0):
            monkeypatch.setattr("tracewrap.capture.seams.entries._FRESH_S", fresh_s)
            asked.clear()
            client.post(f"{slow.openai_url}/chat/completions", json=BODY)
            counts.append(len(asked))
    assert counts[1] == counts[2] + 1


def test_without_a_thread_to_watch_nothing_counts_as_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives us no thread: the call goes on, and no time is taken for a block."""

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    watch = ThreadWatch()
    monkeypatch.setattr(_thread, "start_new_thread", refused)
    for _ in range(2):
        watch.enter(object())
        assert not watch.blocks.touch(0.0, time.perf_counter() + 60.0)


def test_large_requests_are_listened_to(slow: FakeVendor, recorded: testing.Recording) -> None:
    """What is too large for the system's buffers takes time to send, also on an idle connection."""
    large = BODY | {"messages": [{"role": "user", "content": "word " * 20_000}]}
    with tracewrap.wrap(httpx.Client()) as client:
        client.post(f"{slow.openai_url}/chat/completions", json=BODY)
        client.post(f"{slow.openai_url}/chat/completions", json=large)
    assert (recorded()[1].network_s or 0.0) > 0.0


def test_a_watch_keeps_nothing_of_the_program_alive(slow: FakeVendor, recorded: testing.Recording) -> None:
    """What the program's context holds while a call starts the loop's watch is free when the program lets go of it."""

    class Held:
        pass

    held = contextvars.ContextVar[Any]("held", default=None)

    async def main() -> weakref.ref[Held]:
        async with openai.AsyncOpenAI(api_key="k", base_url=slow.openai_url) as client:
            mine = Held()
            token = held.set(mine)
            await tracewrap.wrap(client).chat.completions.create(**BODY)
            held.reset(token)
            return weakref.ref(mine)

    alive = asyncio.run(main())
    gc.collect()
    assert alive() is None


def test_watches_rest_when_nothing_is_in_flight(slow: FakeVendor, recorded: testing.Recording) -> None:
    """After the last call no call is watched, and the thread looks no more."""
    THREADS.calls.clear()
    with tracewrap.wrap(httpx.Client()) as client:
        client.post(f"{slow.openai_url}/chat/completions", json=BODY)
    assert [type(call) for call in recorded()] == [Call]
    assert not THREADS.calls
    deadline = time.monotonic() + 10
    while THREADS.blocks.due != float("inf") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert THREADS.blocks.due == float("inf")


def test_blocks_that_cannot_be_read_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them is tried again where the watch adds one meanwhile, and not for ever where something else is wrong."""
    tried: list[float] = []

    def broken(_: Blocks, start: float, end: float) -> list[tuple[float, float]]:
        tried.append(start)
        raise RuntimeError("deque mutated during iteration")

    monkeypatch.setattr(Blocks, "_within", broken)
    with pytest.raises(RuntimeError):
        Blocks().within(0.0, 1.0)
    assert 1 < len(tried) < 10
