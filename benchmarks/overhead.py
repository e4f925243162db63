"""What tracewrap costs the caller: microseconds of the calling thread's CPU per call and per chunk.

    python benchmarks/overhead.py [--rounds 40] [--json FILE]

Real OpenAI SDK against an in-process transport. Arms run interleaved in one process: each block of calls is paired with a block of bare
calls just before it, so that drift cancels; an A/A arm (bare against bare) shows the noise. ``floor`` is one bare
OpenTelemetry span, current during the call, with the same attributes that tracewrap sets: what any tracing costs at least.
``tracewrap`` records calls where the program has no tracer provider, ``provider`` where it has one: a record and a span of that provider.
``denoiser`` is ``provider`` with joining exporter and denoiser at work on their own threads.

``sensors`` is what telling "us or the provider" apart costs: the same call over a loopback connection, with and without the look at the
request's connection and the watches for lag, by turns. Of each few calls the quickest counts, as the server is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import thread_time_ns
from typing import Any

import httpx2
import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tracewrap import load_catalog, wrap
from tracewrap.capture.call import OpenCall
from tracewrap.capture.seams import attempts
from tracewrap.capture.state import state
from tracewrap.capture.streams import StreamReader
from tracewrap.estimate.exporter import JoiningExporter
from tracewrap.learn.learner import Denoiser
from tracewrap.records import CallRecord
from tracewrap.vendors.adapter import Request
from tracewrap.vendors.openai import ADAPTER
from tracewrap.vendors.providers import Endpoint

CHUNKS = 200
QUICKEST_OF = 8
TARGETS = {
    "sensors_us": 10.0,
    "sensors_async_us": 10.0,
    "call_over_floor": 1.2,
    "provider_over_floor": 2.2,
    "denoiser_over_provider": 1.1,
    "chunk_us": 1.0,
    "joiner_us": 15.0,
    "import_over_sdk": 1.3,
}
USAGE = {
    "prompt_tokens": 70,
    "completion_tokens": 40,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
BASE = {"id": "c1", "created": 1, "model": MODEL}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
ANSWER = json.dumps({**BASE, "object": "chat.completion", "choices": [CHOICE], "usage": USAGE}).encode()
QUESTION: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "hello there"}],
    "temperature": 0.2,
}


def _events() -> bytes:
    chunk = {**BASE, "object": "chat.completion.chunk"}
    deltas = [{**chunk, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}] * (CHUNKS - 1)
    lines = [*deltas, {**chunk, "choices": [], "usage": USAGE}]
    return b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


EVENTS = _events()
HEADERS = {"x-request-id": "r1", "openai-processing-ms": "12"}


def _serve(request: httpx2.Request) -> httpx2.Response:
    if b'"stream":true' in request.content:
        return httpx2.Response(200, content=EVENTS, headers={**HEADERS, "content-type": "text/event-stream"})
    return httpx2.Response(200, content=ANSWER, headers={**HEADERS, "content-type": "application/json"})


def _client() -> openai.OpenAI:
    return openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(_serve)))


class _Discard(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


@contextmanager
def _tracing(*processors: Any) -> Iterator[trace.Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    state.tracer = provider.get_tracer("tracewrap")
    yield state.tracer
    provider.shutdown()


@contextmanager
def _learning() -> Iterator[trace.Tracer]:
    """A tracer whose spans are joined and learned from."""
    learner = Denoiser(interval_s=0.5)
    learner.start()
    with _tracing(BatchSpanProcessor(JoiningExporter(_Discard(), load_catalog(), learner=learner))) as tracer:
        yield tracer
    learner.stop()


def _cpu_us(action: Callable[[], object], repeats: int) -> float:
    start = thread_time_ns()
    for _ in range(repeats):
        action()
    return (thread_time_ns() - start) / repeats / 1000


def _span_of(action: Callable[[], object]) -> ReadableSpan:
    """The span that tracewrap makes of *action*."""
    memory = InMemorySpanExporter()
    with _tracing(SimpleSpanProcessor(memory)):
        action()
    return memory.get_finished_spans()[0]


def _floor(tracer: trace.Tracer, span: ReadableSpan, bare: Callable[[], object]) -> Callable[[], None]:
    """*bare* inside one plain span with the attributes of *span*: known before the call at its start, the rest at its end."""
    attributes = dict(span.attributes or {})
    early = {
        k: v for k, v in attributes.items() if k.startswith(("gen_ai.request", "gen_ai.op", "gen_ai.prov", "server"))
    }
    late = {k: v for k, v in attributes.items() if k not in early}

    def call() -> None:
        with tracer.start_as_current_span(span.name, kind=span.kind, attributes=early) as current:
            bare()
            current.set_attributes(late)

    return call


def _median_ci(values: list[float]) -> tuple[float, float, float]:
    dice = random.Random(0)
    medians = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(500))
    return statistics.median(values), medians[25], medians[475]


def added_us(stream: bool, rounds: int, calls: int) -> dict[str, tuple[float, float, float]]:
    """Added CPU of each arm, microseconds a call: median and 90% interval over *rounds* paired blocks."""
    plain_client, wrapped_client = _client(), wrap(_client())
    extra = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

    def go(client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(**QUESTION, **extra)
        if stream:
            for _ in answer:
                pass

    def bare() -> None:
        go(plain_client)

    span = _span_of(lambda: go(wrapped_client))
    records: deque[CallRecord] = deque(maxlen=512)
    with _learning() as learning, _tracing(BatchSpanProcessor(_Discard())) as tracer:

        def traced(by: trace.Tracer | None) -> Callable[[], None]:
            def call() -> None:
                state.tracer, state.record = by, records.append
                go(wrapped_client)

            return call

        arms = {
            "A/A": bare,
            "floor": _floor(tracer, span, bare),
            "tracewrap": traced(None),
            "provider": traced(tracer),
            "denoiser": traced(learning),
        }
        for action in (bare, *arms.values()):
            _cpu_us(action, calls)
        seen: dict[str, list[float]] = {name: [] for name in arms}
        dice = random.Random(1)
        for _ in range(rounds):
            for name in dice.sample(list(arms), len(arms)):
                before = _cpu_us(bare, calls)
                seen[name].append(_cpu_us(arms[name], calls) - before)
    return {name: _median_ci(values) for name, values in seen.items()}


@contextmanager
def _vendor() -> Iterator[str]:
    """Base URL of a vendor in a process of its own that says in a header what it took."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1] / 'tests')!r})\n"
        "from fake_vendor import FakeVendor, Timing\n"
        "print(FakeVendor(Timing()).openai_url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


async def _sensors_us(
    call: Callable[[], Awaitable[object] | None], groups: int
) -> dict[str, tuple[float, float, float]]:
    """CPU of *call*, microseconds: without the sensors (``base``), and what they add; medians and 90% intervals over *groups*."""
    attend = attempts.attend
    on: list[float] = []
    off: list[float] = []
    try:
        for turn in range(2 * QUICKEST_OF * (groups + 2)):
            attempts.attend = (lambda *_: None) if turn % 2 else attend
            start = thread_time_ns()
            answer = call()
            if answer is not None:
                await answer
            (off if turn % 2 else on).append((thread_time_ns() - start) / 1000)
    finally:
        attempts.attend = attend
    quickest = [[min(v[i : i + QUICKEST_OF]) for i in range(2 * QUICKEST_OF, len(v), QUICKEST_OF)] for v in (on, off)]
    return {"base": _median_ci(quickest[1]), "added": _median_ci([a - b for a, b in zip(*quickest, strict=True)])}


def sensors_us(groups: int) -> dict[str, dict[str, tuple[float, float, float]]]:
    """``_sensors_us`` of a plain call, synchronous and asynchronous."""
    state.tracer, state.record = None, deque[CallRecord](maxlen=512).append
    with _vendor() as url:
        client, other = (
            wrap(openai.OpenAI(api_key="k", base_url=url)),
            wrap(openai.AsyncOpenAI(api_key="k", base_url=url)),
        )

        def sync() -> None:
            client.chat.completions.create(**QUESTION)

        return {
            "sync": asyncio.run(_sensors_us(sync, groups)),
            "async": asyncio.run(_sensors_us(lambda: other.chat.completions.create(**QUESTION), groups)),
        }


def chunk_us(rounds: int = 200) -> float:
    """Microseconds that the stream reader adds to a chunk, around an iterator of prebuilt chunks."""
    chunks = [object() for _ in range(CHUNKS)]
    call = OpenCall(ADAPTER, object(), Endpoint("openai"), Request("chat", "m", True), {}, "chat m", {})
    call.live.clear()

    def plain() -> None:
        for _ in iter(chunks):
            pass

    def read() -> None:
        for _ in StreamReader(call, iter(chunks)):
            pass

    return statistics.median((_cpu_us(read, 20) - _cpu_us(plain, 20)) / CHUNKS for _ in range(rounds))


def joiner_us(rounds: int = 30) -> float:
    """Microseconds of the exporting thread a span: decode, join, copy."""
    client = wrap(_client())
    span = _span_of(lambda: client.chat.completions.create(**QUESTION))
    exporter, batch = JoiningExporter(_Discard(), load_catalog()), [span] * 512
    exporter.export(batch)
    return statistics.median(_cpu_us(lambda: exporter.export(batch), 1) / 512 for _ in range(rounds))


def import_ratio(repeats: int = 7) -> float:
    """CPU of ``import tracewrap`` over ``import opentelemetry.sdk.trace``, each less a bare interpreter; both compiled before."""

    def cpu(code: str) -> float:
        best = float("inf")
        for _ in range(repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return best

    nothing = cpu("pass")
    ours, theirs = cpu("import tracewrap"), cpu("import opentelemetry.sdk.trace")
    return max(0.0, ours - nothing) / (theirs - nothing)


def measure(rounds: int) -> dict[str, Any]:
    """All figures."""
    plain, stream = added_us(False, rounds, 20), added_us(True, max(5, rounds // 4), 3)
    sensors = sensors_us(5 * rounds)
    return {
        "sensors": sensors,
        "sensors_us": sensors["sync"]["added"][0],
        "sensors_async_us": sensors["async"]["added"][0],
        "plain_us": plain,
        "stream_us": stream,
        "call_over_floor": plain["tracewrap"][0] / plain["floor"][0],
        "provider_over_floor": plain["provider"][0] / plain["floor"][0],
        "denoiser_over_provider": plain["denoiser"][0] / plain["provider"][0],
        "chunk_us": chunk_us(),
        "joiner_us": joiner_us(),
        "import_over_sdk": import_ratio(),
    }


def main() -> None:
    """Print the table, optionally write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures = measure(args.rounds)
    for kind, title in (("plain_us", "plain call"), ("stream_us", f"{CHUNKS}-chunk stream")):
        print(f"added to a {title}, us of the caller's CPU: median [90% interval]")
        for arm, (middle, low, high) in figures[kind].items():
            print(f"  {arm:<10} {middle:9.1f}  [{low:.1f} .. {high:.1f}]")
    print("added by the sensors to a plain call over loopback, us of the caller's CPU: median [90% interval]")
    for kind, seen in figures["sensors"].items():
        middle, low, high = seen["added"]
        print(
            f"  {kind:<10} {middle:9.1f}  [{low:.1f} .. {high:.1f}]  {middle / seen['base'][0]:.1%} of {seen['base'][0]:.0f}"
        )
    for name, target in TARGETS.items():
        verdict = "held" if figures[name] <= target else "MISSED"
        print(f"{name:<22} {figures[name]:8.3f}   target <= {target:<6} {verdict}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
