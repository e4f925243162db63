"""Threads, asyncio, trio, nested calls, generators handed to other threads, forked workers: every call once, under the right parent."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace

from fake_vendor import FakeVendor, Fault
from tracewrap import instrument, testing, wrap
from tracewrap.capture.call import CURRENT

anthropic = pytest.importorskip("anthropic")
cohere = pytest.importorskip("cohere")
openai = pytest.importorskip("openai")

pytestmark = [  # clients are left to the collector, which closes their sockets
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
HELLO: list[Any] = [{"role": "user", "content": "a b c"}]
Q: dict[str, Any] = {"model": "m", "messages": HELLO}


def _parents(recorded: testing.Recording) -> dict[str, set[str]]:
    """Name of the parent span -> models of the calls below it."""
    names = {span.context.span_id: span.name for span in recorded.spans if span.context is not None}
    found: dict[str, set[str]] = {}
    for span in recorded.spans:
        if span.parent is not None:
            found.setdefault(names[span.parent.span_id], set()).add(span.name.removeprefix("chat "))
    return found


def test_asyncio_tasks(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Interleaved tasks keep their own parents, streamed or not; nothing stays current."""
    tracer = recorded.provider.get_tracer("app")
    vendor.fail_next(*[Fault(delay_s=0.01, chunk_delay_s=0.001)] * 60)

    async def task(client: Any, other: Any, number: int) -> None:
        with tracer.start_as_current_span(f"task {number}") as parent:
            model = f"m{number}"
            if number % 3 == 0:
                await client.chat.completions.create(model=model, messages=HELLO)
            elif number % 3 == 1:
                async for _ in await client.chat.completions.create(model=model, messages=HELLO, stream=True):
                    assert trace.get_current_span() is parent
            else:
                async for _ in other.chat_stream(model=model, messages=HELLO):
                    assert trace.get_current_span() is parent
            assert trace.get_current_span() is parent
            assert CURRENT.get() is None

    async def main() -> None:
        client = wrap(openai.AsyncOpenAI(base_url=vendor.openai_url, api_key="k"))
        other = wrap(cohere.AsyncClientV2(base_url=vendor.url, api_key="k"))
        await asyncio.gather(*(task(client, other, number) for number in range(30)))

    asyncio.run(main())
    assert _parents(recorded) == {f"task {number}": {f"m{number}"} for number in range(30)}


def test_threads(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """One client used by many threads: every call once, with its own counts."""
    client = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))

    def work(number: int) -> int:
        message = client.messages.create(model=f"m{number}", messages=HELLO, max_tokens=number + 1)
        return int(message.usage.output_tokens)

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(40)))
    assert counts == list(range(1, 41))
    assert {call.request_model: call.usage and call.usage.output_tokens for call in recorded()} == {
        f"m{number}": number + 1 for number in range(40)
    }


def test_stream_finished_in_another_thread(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A stream or generator begun here and read elsewhere ends there, once, and its context does not leak."""
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))
    other = wrap(cohere.ClientV2(base_url=vendor.url, api_key="k"))
    streams = [client.chat.completions.create(stream=True, **Q), other.chat_stream(**Q)]
    next(streams[1])
    for stream in streams:
        thread = threading.Thread(target=lambda stream=stream: list(stream))
        thread.start()
        thread.join()
    assert [(call.outcome, call.provider) for call in recorded()] == [("complete", "openai"), ("complete", "cohere")]
    assert CURRENT.get() is None


def test_async_generator_finished_in_another_context(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """An async generator begun in one task and closed in another does not touch the other's context."""

    async def main() -> None:
        client = wrap(cohere.AsyncClientV2(base_url=vendor.url, api_key="k"))
        generator = client.chat_stream(**Q)
        await asyncio.create_task(anext(generator), context=contextvars.Context())
        await asyncio.create_task(generator.aclose(), context=contextvars.Context())

    asyncio.run(main())
    assert [call.outcome for call in recorded()] == ["partial"]


def test_nested_calls(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A call made while another is being sent (from an HTTP hook) is its child, and counts as no attempt of it."""
    inner = wrap(anthropic.Anthropic(base_url=vendor.url, api_key="k"))

    def hook(_: Any) -> None:
        inner.messages.create(max_tokens=3, model="inner", messages=HELLO)

    http = openai.DefaultHttpxClient(event_hooks={"request": [hook]})
    outer = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k", http_client=http))
    outer.chat.completions.create(model="outer", messages=HELLO)
    assert _parents(recorded) == {"chat outer": {"inner"}}
    assert [call.attempts for call in recorded()] == [1, 1]


def test_a_task_that_outlives_the_call_it_began_in(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """What a hook starts in the background inherits the call's context; calls that it makes later are its own, with the same client too."""
    later: list[asyncio.Task[Any]] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            await begun.wait()
            await client.chat.completions.create(model="inner", messages=HELLO)

        async def hook(_: Any) -> None:
            if not later:
                later.append(asyncio.create_task(work()))

        http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [hook]})
        client = wrap(openai.AsyncOpenAI(base_url=vendor.openai_url, api_key="k", http_client=http))
        await client.chat.completions.create(model="outer", messages=HELLO)
        begun.set()
        await later[0]
        await client.close()

    asyncio.run(main())
    assert [call.request_model for call in recorded()] == ["outer", "inner"]
    assert [call.attempts for call in recorded()] == [1, 1]


def test_a_context_does_not_keep_what_its_call_held(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Contexts are kept long after their call (asyncio's cancelled timers): they keep neither client nor response alive."""
    held: list[contextvars.Context] = []
    answers: list[weakref.ref[Any]] = []
    http = openai.DefaultHttpxClient(
        event_hooks={
            "request": [lambda _: held.append(contextvars.copy_context())],
            "response": [lambda response: answers.append(weakref.ref(response))],
        }
    )
    client = wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k", http_client=http))
    list(client.chat.completions.create(stream=True, **Q))
    seen = weakref.ref(client)
    del client
    gc.collect()
    assert [call.outcome for call in recorded()] == ["complete"]
    assert held[0][CURRENT] is not None
    assert [ref() for ref in (seen, answers[0])] == [None, None]


def test_trio(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Under trio calls are recorded and a cancelled scope is a cancelled call."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        client = wrap(anthropic.AsyncAnthropic(base_url=vendor.url, api_key="k"))
        await client.messages.create(max_tokens=3, **Q)
        async for _ in await client.messages.create(max_tokens=3, stream=True, **Q):
            pass
        vendor.fail_next(Fault(delay_s=5.0))
        with trio.move_on_after(0.1):
            await client.messages.create(max_tokens=3, **Q)

    trio.run(main)
    assert [call.outcome for call in recorded()] == ["complete", "complete", "cancelled"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_instrument(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A worker forked after instrument() records its own calls, and its parent goes on recording."""
    instrument()
    client = cohere.ClientV2(base_url=vendor.url, api_key="k")
    client.chat(**Q)
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        try:
            recorded.clear()
            fresh = cohere.ClientV2(base_url=vendor.url, api_key="k")
            fresh.chat(**Q)
            list(fresh.chat_stream(**Q))
            os.write(writer, str(len(recorded())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "2"
    os.waitpid(worker, 0)
    client.chat(**Q)
    assert len(recorded()) == 2
