"""What happens behind the caller: CPU of the background a span, spans a second without a loss, and how late the event loop gets.

    python benchmarks/background.py [--seconds 6] [--json FILE]

Default configuration with a span log: join, span log, learner. ``background_us``: CPU of the process less that of the calling thread, over
plain openai calls. ``kept``: records put at 10,000 a second, and how many the span log lost. ``lag``, ``call``: fifty asyncio streams that
make 600 calls a second together (the SDK parses them in this process); the 99% quantile of how late a 5 ms sleep ends, and the 99.9%
quantile of a call's duration, without tracing (``bare``), inside a span of OpenTelemetry's batch processor with an exporter that discards
(``otel``), and recorded (``tracewrap``). Each arm is a fresh process, three times by turns; the median counts. A busy machine decides
lag: compare the arms of one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import thread_time_ns
from typing import Any

STREAMS, CALLS_PER_S, PUT_PER_S = 50, 600, 10_000
CHUNKS = 5
ARMS = ("bare", "otel", "tracewrap")


def _serve(stream: bool) -> Any:
    """A transport in this process: a plain answer, or ``CHUNKS`` events."""
    import httpx2
    import overhead

    chunk = overhead.BASE | {"object": "chat.completion.chunk"}
    delta = chunk | {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
    lines = [*([delta] * (CHUNKS - 1)), chunk | {"choices": [], "usage": overhead.USAGE}]
    events = "".join(f"data: {json.dumps(line)}\n\n" for line in lines).encode() + b"data: [DONE]\n\n"
    content, kind = (events, "text/event-stream") if stream else (overhead.ANSWER, "application/json")
    return httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=content, headers=overhead.HEADERS | {"content-type": kind})
    )


def background_us(calls: int = 4000) -> dict[str, float]:
    """CPU of the background a span, in microseconds."""
    import httpx2
    import openai
    import overhead

    import tracewrap

    with tempfile.TemporaryDirectory() as folder:
        tracewrap.configure(span_log=folder)
        client = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=_serve(False))))
        for _ in range(200):
            client.chat.completions.create(**overhead.QUESTION)
        tracewrap.flush(10)
        whole, own = time.process_time_ns(), thread_time_ns()
        for _ in range(calls):
            client.chat.completions.create(**overhead.QUESTION)
        own = thread_time_ns() - own
        tracewrap.flush(30)
        return {"background_us": (time.process_time_ns() - whole - own) / calls / 1000}


def kept(seconds: float) -> dict[str, float]:
    """Records put at ``PUT_PER_S``, and how many of them were lost."""
    import overhead

    import tracewrap
    from tracewrap import testing
    from tracewrap.capture.state import state

    with testing.recording() as recorded:
        tracewrap.wrap(overhead._client()).chat.completions.create(**overhead.QUESTION)
    record = recorded.records[0]
    with tempfile.TemporaryDirectory() as folder:
        tracewrap.configure(span_log=folder)
        put, made, began = state.record, 0, time.perf_counter()
        while (now := time.perf_counter() - began) < seconds:
            while made < now * PUT_PER_S:
                put(record)
                made += 1
            time.sleep(0.002)
        tracewrap.flush(30)
        lines = sum(line.count('"spanId"') for file in Path(folder).glob("*.jsonl") for line in file.open())
        return {"put": made, "put_per_s": made / now, "lost": made - lines}


async def _loop(client: Any, around: Any, seconds: float) -> tuple[list[float], list[float]]:
    """(how late sleeps of 5 ms ended, durations of calls), seconds."""
    import overhead

    late: list[float] = []
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def ticks() -> None:
        while time.perf_counter() < end:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - before - 0.005)

    async def stream(number: int) -> None:
        due = time.perf_counter() + number / CALLS_PER_S
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            before = time.perf_counter()
            with around():
                answer = await client.chat.completions.create(
                    **overhead.QUESTION, stream=True, stream_options={"include_usage": True}
                )
                async for _ in answer:
                    pass
            took.append(time.perf_counter() - before)
            due += STREAMS / CALLS_PER_S

    await asyncio.gather(ticks(), *(stream(number) for number in range(STREAMS)))
    return late, took


def lag(arm: str, seconds: float) -> dict[str, float]:
    """One arm of the event loop: quantiles in milliseconds."""
    import contextlib

    import httpx2
    import openai
    import overhead
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    import tracewrap

    client = openai.AsyncOpenAI(api_key="k", http_client=httpx2.AsyncClient(transport=_serve(True)))
    around: Any = contextlib.nullcontext
    with tempfile.TemporaryDirectory() as folder:
        if arm == "otel":
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(overhead._Discard()))
            tracer = provider.get_tracer("bench")
            around = lambda: tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"})  # noqa: E731
        elif arm == "tracewrap":
            tracewrap.configure(span_log=folder)
            client = tracewrap.wrap(client)
        asyncio.run(_loop(client, around, 1.0))
        late, took = asyncio.run(_loop(client, around, seconds))
        tracewrap.flush(10)
    late.sort()
    took.sort()
    return {
        "calls_per_s": len(took) / seconds,
        "lag_p99_ms": late[int(len(late) * 0.99)] * 1e3,
        "call_p999_ms": took[int(len(took) * 0.999)] * 1e3,
    }


def _fresh(*arguments: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(seconds: float, turns: int = 3) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = _fresh("background") | _fresh("kept", str(seconds))
    seen: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for _ in range(turns):
        for arm in ARMS:
            seen[arm].append(_fresh("lag", arm, str(seconds)))
    for arm, rows in seen.items():
        found[arm] = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return found


def main() -> None:
    """Print the table, optionally write JSON."""
    if sys.argv[1:2] == ["--child"]:
        kind, *rest = sys.argv[2:]
        made = {"background": background_us, "kept": lambda s: kept(float(s)), "lag": lambda a, s: lag(a, float(s))}
        print(json.dumps(made[kind](*rest)))  # type: ignore[operator]
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each arm")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure(args.seconds)
    print(f"background, CPU a span        {found['background_us']:8.1f} us")
    print(f"put {found['put']:,} records at {found['put_per_s']:,.0f}/s: {found['lost']} lost")
    for arm in ARMS:
        row = found[arm]
        print(
            f"{arm:<10} {row['calls_per_s']:6.0f} calls/s   loop lag p99 {row['lag_p99_ms']:7.2f} ms"
            f"   call p99.9 {row['call_p999_ms']:7.2f} ms"
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
