"""What tracewrap and its peers cost a caller, for each vendor: plain, streamed and asynchronous calls.

    python benchmarks/overhead_vendors.py [--rounds 5] [--peers] [--json FILE]

Real SDKs against an in-process transport. Every arm runs in a process of its own, which times the bare SDK first, switches the arm on and
times again: microseconds of the calling thread's CPU a call, the median over rounds of the difference. ``nothing`` switches nothing on and
shows the noise; ``floor`` is one bare OpenTelemetry span with as many attributes. ``tracewrap`` is what most
users run, ``configure`` with a span log and ``instrument``; ``provider`` the same in a program with a tracer provider. ``--peers`` also
installs the peers into a virtual environment of their own beside this file's (``.venv-peers``) and runs everything there.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from time import thread_time_ns
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHUNKS = 100
KINDS = ("plain", "stream", "async")
PEERS = {
    "openai-v2": ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    "traceloop": ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "genai-openai": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
}
PACKAGES = (
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
    "opentelemetry-instrumentation-genai-openai",
    "openai",
    "anthropic",
    "cohere",
    "httpx",
)
HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
USAGE = {"prompt_tokens": 70, "completion_tokens": 40, "total_tokens": 110}
BASE = {"id": "c1", "created": 1, "model": "m-1"}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
ANSWERS: dict[str, Any] = {
    "openai": {**BASE, "object": "chat.completion", "choices": [CHOICE], "usage": USAGE},
    "anthropic": {
        **{"id": "m1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn"},
        **{"content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 70, "output_tokens": 40}},
    },
    "cohere": {
        **{"id": "c1", "finish_reason": "COMPLETE"},
        "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
        "usage": {"tokens": {"input_tokens": 70.0, "output_tokens": 40.0}},
    },
}


def _events(vendor: str) -> bytes:
    """A stream of CHUNKS events in the vendor's format."""
    if vendor == "openai":
        base = {**BASE, "object": "chat.completion.chunk"}
        one: Any = {**base, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
        events = [one] * (CHUNKS - 1) + [{**base, "choices": [], "usage": USAGE}]
        return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    if vendor == "anthropic":
        start = {"type": "message_start", "message": {**ANSWERS[vendor], "content": []}}
        one = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        events = [start, block, *[one] * (CHUNKS - 4), end, {"type": "message_stop"}]
    else:
        one = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "x"}}}}
        end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": ANSWERS[vendor]["usage"]}}
        events = [{"type": "message-start", "id": "c1"}, *[one] * (CHUNKS - 2), end]
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def caller(vendor: str, kind: str) -> Callable[[int], None]:
    """A function that makes n calls."""
    http = importlib.import_module("httpx" if vendor == "cohere" else "httpx2")
    answer, events = json.dumps(ANSWERS[vendor]).encode(), _events(vendor)

    def serve(request: Any) -> Any:
        headers = {"x-request-id": "r1", "content-type": "application/json"}
        if b'"stream":true' in request.content.replace(b": ", b":"):
            return http.Response(200, content=events, headers={**headers, "content-type": "text/event-stream"})
        return http.Response(200, content=answer, headers=headers)

    is_async = kind == "async"
    session = (http.AsyncClient if is_async else http.Client)(transport=http.MockTransport(serve))
    call = _call(vendor, kind == "stream", is_async, session)

    def run(count: int) -> None:
        if is_async:

            async def main() -> None:
                for _ in range(count):
                    await call()

            loop.run_until_complete(main())
            return
        for _ in range(count):
            result = call()
            if kind == "stream":
                for _chunk in result:
                    pass

    loop = asyncio.new_event_loop()
    return run


def _call(vendor: str, stream: bool, is_async: bool, session: Any) -> Callable[[], Any]:
    prefix = "Async" if is_async else ""
    sdk = importlib.import_module(vendor)
    if vendor == "cohere":
        client = getattr(sdk, f"{prefix}ClientV2")(api_key="k", httpx_client=session)
        method = client.chat_stream if stream else client.chat
        return lambda: method(model="m", messages=HELLO)
    if vendor == "anthropic":
        client = getattr(sdk, f"{prefix}Anthropic")(api_key="k", http_client=session)
        return lambda: client.messages.create(model="m", messages=HELLO, max_tokens=9, stream=stream)
    client = getattr(sdk, f"{prefix}OpenAI")(api_key="k", http_client=session)
    extra: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    return lambda: client.chat.completions.create(model="m", messages=HELLO, stream=stream, **extra)


def switch_on(arm: str, run: Callable[[int], None]) -> Callable[[int], None]:
    """Switch *arm* on in this process; the caller to time then."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Discard(SpanExporter):
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Discard()))
    if arm == "nothing":
        return run
    if arm in ("tracewrap", "provider"):
        import tracewrap

        if arm == "provider":
            trace.set_tracer_provider(provider)
        folder = tempfile.TemporaryDirectory()
        pipeline = tracewrap.configure(span_log=folder.name)
        atexit.register(lambda: (pipeline.close(), folder.cleanup()))
        tracewrap.instrument()
        return run
    if arm == "floor":
        tracer = provider.get_tracer("floor")
        early: Any = {f"gen_ai.request.{name}": "value" for name in "abcdef"}
        late: Any = {f"gen_ai.response.{name}": index for index, name in enumerate("abcdefghijkl")}

        def floor(count: int) -> None:
            for _ in range(count):
                with tracer.start_as_current_span("chat m", attributes=early) as span:
                    run(1)
                    span.set_attributes(late)

        return floor
    module, name = PEERS[arm]
    getattr(importlib.import_module(module), name)().instrument(tracer_provider=provider)
    return run


def cpu_us(run: Callable[[int], None], count: int) -> float:
    """Microseconds of this thread's CPU a call: the best of five blocks, which other work disturbed least."""
    best = float("inf")
    for _ in range(5):
        began = thread_time_ns()
        run(count)
        best = min(best, (thread_time_ns() - began) / count / 1000)
    return best


def one(arm: str, vendor: str, kind: str) -> float:
    """Added microseconds of one arm, in this process."""
    count = 15 if kind == "stream" else 80
    run = caller(vendor, kind)
    run(count)
    bare = cpu_us(run, count)
    traced = switch_on(arm, run)
    traced(count)
    return cpu_us(traced, count) - bare


def measure(python: str, rounds: int, peers: bool) -> dict[str, dict[str, float | None]]:
    """vendor/kind -> arm -> added microseconds; None where an arm does not run."""
    figures: dict[str, dict[str, float | None]] = {}
    for vendor in ANSWERS:
        for kind in KINDS:
            arms = ["nothing", "floor", "tracewrap", "provider", *(PEERS if peers and vendor == "openai" else ())]
            seen: dict[str, list[float]] = {arm: [] for arm in arms}
            for _ in range(rounds):
                for arm in arms:
                    command = [python, __file__, "--one", arm, vendor, kind]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if done.returncode == 0:
                        seen[arm].append(float(done.stdout.split()[-1]))
            figures[f"{vendor}/{kind}"] = {arm: statistics.median(v) if v else None for arm, v in seen.items()}
            row = "  ".join(f"{a} {'-' if v is None else round(v)}" for a, v in figures[f"{vendor}/{kind}"].items())
            print(f"{vendor + '/' + kind:<18} {row}", flush=True)
    return figures


def peers_python() -> str:
    """A virtual environment with the peers and tracewrap; its interpreter."""
    home = ROOT / ".venv-peers"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES, "-e", str(ROOT)], check=True)
    return str(python)


def main() -> None:
    """Print microseconds added a call; optionally write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", action="store_true", help="install the peers and measure them too")
    parser.add_argument("--one", nargs=3, metavar=("ARM", "VENDOR", "KIND"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.one:
        print(one(*args.one))
        return
    print(f"us of the caller's CPU added to a call (streams: {CHUNKS} chunks); median of {args.rounds} processes")
    figures = measure(peers_python() if args.peers else sys.executable, args.rounds, args.peers)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
