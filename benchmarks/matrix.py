"""The same calls however they are traced and tracewrap is started: the same records, metrics of all of them, exports by the sampler.

    python benchmarks/matrix.py [--calls 1000] [--json FILE]

A cell is a program of its own: {no sampler, 10 %, always_off, unsampled parent, the program's provider, limits of 8 attributes}
x {wrap, instrument, tracewrap run, opentelemetry-instrument}, whose calls are {plain, streamed, failed} x {sync, async} in turn against a
vendor in its memory, with a span log, metrics and an OTLP receiver on loopback. Every cell's records (models, tokens, outcomes, errors,
costs) must be those of the first, and the learner must hold the calls that the log says can be learned from.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults import receiver
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from tracewrap import semconv
from tracewrap.runtime.quiet.usable import usable_call
from tracewrap.sources import read_calls

PROGRAM = textwrap.dedent(
    """
    import asyncio, json, os, sys

    calls, tracing, entry = int(sys.argv[1]), sys.argv[2], sys.argv[3]

    from opentelemetry import context, metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    if tracing in ("the program's provider", "limits of 8 attributes"):
        trace.set_tracer_provider(TracerProvider())
    if entry in ("wrap", "instrument"):
        import tracewrap
        tracewrap.configure()
    if entry == "instrument":
        tracewrap.instrument()
    import httpx2, openai

    head = {"id": "c", "created": 1, "model": "gpt-4o-mini"}
    usage = {"prompt_tokens": 50, "completion_tokens": 2, "total_tokens": 52}
    plain = {**head, "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    deltas = [({"content": "a"}, None), ({"content": "b"}, None), ({}, "stop")]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": why}]} for delta, why in deltas]
    chunks.append({"choices": [], "usage": usage})

    def answer(request):
        body = json.loads(request.content)
        number = int(body["user"])
        if number % 3 == 2:
            return httpx2.Response(400, json={"error": {"message": "refused"}})
        if body.get("stream"):
            lines = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
            text = "".join(f"data: {line}\\n\\n" for line in [*lines, "[DONE]"])
            return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})
        mine = {**usage, "prompt_tokens": 50 + number, "total_tokens": 52 + number}
        return httpx2.Response(200, json={**plain, "usage": mine})

    def options(number):
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a b c"}], "user": str(number)}
        if number % 3 == 1:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        return asked

    settings = {"api_key": "k", "max_retries": 0, "base_url": "http://127.0.0.1:9/v1"}
    sync = openai.OpenAI(http_client=httpx2.Client(transport=httpx2.MockTransport(answer)), **settings)
    other = openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)), **settings)
    if entry == "wrap":
        sync, other = tracewrap.wrap(sync), tracewrap.wrap(other)

    def ask(number):
        try:
            found = sync.chat.completions.create(**options(number))
            if number % 3 == 1:
                list(found)
        except openai.BadRequestError:
            pass

    async def ask_later(number):
        try:
            found = await other.chat.completions.create(**options(number))
            if number % 3 == 1:
                [chunk async for chunk in found]
        except openai.BadRequestError:
            pass

    async def everything():
        if tracing == "unsampled parent":
            parent = trace.SpanContext(0xABC, 0xDEF, True, trace.TraceFlags(0))
            context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
        for number in range(calls):
            if number // 3 % 2:
                await ask_later(number)
            else:
                ask(number)

    asyncio.run(everything())
    import tracewrap
    flushed = tracewrap.flush(60)
    counted = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = list(metric.data.data_points)
                if metric.name == "gen_ai.client.inference.duration":
                    counted["calls"] = sum(point.count for point in points)
                if metric.name == "tracewrap.client.cost.list":
                    counted["usd"] = round(sum(getattr(point, "sum", getattr(point, "value", 0)) for point in points), 9)
    print(json.dumps({"flushed": flushed, **counted}))
    """
)
TRACINGS: dict[str, dict[str, str]] = {
    "no sampler": {},
    "10 %": {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"},
    "always_off": {"OTEL_TRACES_SAMPLER": "always_off"},
    "unsampled parent": {},
    "the program's provider": {},
    "limits of 8 attributes": {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "8", "OTEL_ATTRIBUTE_COUNT_LIMIT": "8"},
}
ENTRIES = ("wrap", "instrument", "tracewrap run", "opentelemetry-instrument")
FACTS = (
    semconv.OPERATION,
    semconv.PROVIDER,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_MODEL,
    semconv.REQUEST_STREAM,
    semconv.INPUT_TOKENS,
    semconv.OUTPUT_TOKENS,
    semconv.USAGE_SOURCE,
    semconv.OUTCOME,
    semconv.ERROR_TYPE,
    semconv.ATTEMPTS,
    semconv.COST_LIST,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One program: calls made, and what became of them. ``facts``: how many records say what."""

    tracing: str
    entry: str
    made: int
    logged: int
    metered: int
    metered_usd: float | None
    kept: int
    exported: int
    right_exports: bool
    learned: int
    right_learned: bool
    facts: dict[str, int]

    def faults(self, first: Cell) -> list[str]:
        """What is not as in *first*, the cell without a sampler, and what is not as many as were made."""
        wrong = [
            f"{name} {found}, made {self.made}"
            for name, found in (("logged", self.logged), ("metered", self.metered))
            if found != self.made
        ]
        if self.facts != first.facts:
            wrong.append(f"records differ: {differing(first.facts, self.facts)}")
        if not self.right_learned:
            wrong.append(f"learned from {self.learned} calls, which are not those of the log that can be")
        if self.metered_usd != first.metered_usd:
            wrong.append(f"metered ${self.metered_usd}, not ${first.metered_usd}")
        if not self.right_exports:
            wrong.append(f"exported {self.exported}, the sampler keeps {self.kept}")
        return wrong


def differing(one: dict[str, int], other: dict[str, int]) -> str:
    """The first three things that are not as often in *other* as in *one*."""
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return "; ".join(f"{key}: {one.get(key, 0)} and {other.get(key, 0)}" for key in keys[:3])


def run(tracing: str, entry: str, calls: int) -> Cell:
    """Make *calls* calls in one cell."""
    with tempfile.TemporaryDirectory() as home, receiver("none") as (url, taken):
        Path(home, "app.py").write_text(PROGRAM)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACEWRAP_"))
        }
        environment |= {**TRACINGS[tracing], "HOME": home, "PYTHONUNBUFFERED": "1"}
        environment |= {"TRACEWRAP_SPAN_LOG": "calls", "TRACEWRAP_OTLP": url, "TRACEWRAP_METRICS": "true"}
        program = [sys.executable, "app.py", str(calls), tracing, entry]
        if entry == "tracewrap run":
            program = [sys.executable, "-m", "tracewrap", "run", "--quiet", "--", *program]
        elif entry == "opentelemetry-instrument":
            program = [str(Path(sys.executable).with_name(entry)), *program]
            environment |= {
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
            }
        ran = subprocess.run(program, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
        if ran.returncode:
            raise SystemExit(f"{tracing}, {entry}: the program failed:\n{ran.stderr}")
        folder = Path(home, "calls")
        said = json.loads(ran.stdout.splitlines()[-1])
        spans = logged_spans(folder)
        kept = {span["spanId"] for span in spans if keeps(tracing, span)}
        exported = {one.hex() for one in taken.spans}
        facts = Counter(
            json.dumps({name: value for name, value in attributes(span).items() if name in FACTS}, sort_keys=True)
            for span in spans
        )
        usable = sorted(row for call in read_calls(str(folder)) if (row := usable_call(call)) is not None)
        learned = learned_from(folder)
        return Cell(
            tracing,
            entry,
            made=calls,
            logged=len({span["spanId"] for span in spans}),
            metered=said.get("calls", 0),
            metered_usd=said.get("usd"),
            kept=len(kept),
            exported=len(exported),
            right_exports=kept == exported,
            learned=len(learned),
            right_learned=learned == [(row.input_tokens, row.output_tokens) for row in usable],
            facts=dict(facts),
        )


def logged_spans(folder: Path) -> list[dict[str, Any]]:
    """The spans in the log's files."""
    return [
        span
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Names and values; OTLP-JSON has one key a type."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}


def keeps(tracing: str, span: dict[str, Any]) -> bool:
    """Whether *tracing*'s sampler keeps *span*'s trace, by OpenTelemetry's own rule."""
    if tracing == "10 %":
        return TraceIdRatioBased(0.1).should_sample(None, int(span["traceId"], 16), "").decision.is_sampled()
    return tracing not in ("always_off", "unsampled parent")


def learned_from(folder: Path) -> list[tuple[int, int]]:
    """Input and output tokens of the calls that the learner left in *folder*, by the time they were made."""
    rows = [
        row
        for path in folder.glob(".denoiser-*.json")
        for entry in json.loads(path.read_text())["deployments"].values()
        for row in entry["rows"]
    ]
    return [(int(row[1]), int(row[2])) for row in sorted(rows)]


def main() -> int:
    """Print a row a cell; 1 when one is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{'tracing':<24} {'started by':<25} {'made':>6} {'logged':>7} {'metered':>8} {'kept':>6} {'exported':>9}")
    cells: list[Cell] = []
    wrong = 0
    for tracing in TRACINGS:
        for entry in ENTRIES:
            cells.append(run(tracing, entry, args.calls))
            cell, faults = cells[-1], cells[-1].faults(cells[0])
            wrong += bool(faults)
            numbers = f"{cell.made:>6} {cell.logged:>7} {cell.metered:>8} {cell.kept:>6} {cell.exported:>9}"
            print(f"{tracing:<24} {entry:<25} {numbers} {' WRONG: ' + '; '.join(faults) if faults else ''}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
