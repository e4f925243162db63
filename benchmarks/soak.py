"""Many streamed calls over many tasks, a third of them closed early or broken: nothing lost, nothing kept.

    python benchmarks/soak.py [--calls 10000] [--tasks 200] [--broken] [--json FILE]

``--broken`` breaks every stream. The async clients of the three SDKs against a vendor on loopback. Checked: as many records as calls,
with the right outcomes; no task left behind; after a warm-up of a fifth of the calls, no growth of live objects; resident memory is
shown beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import anthropic
import cohere
import httpx
import openai

from fake_vendor import FakeVendor
from tracewrap import semconv, wrap
from tracewrap.capture.state import state
from tracewrap.records import CallRecord

HELLO: list[Any] = [{"role": "user", "content": "a b c"}]
ENDS = ("whole", "closed", "whole", "whole", "broken", "whole")
"""What becomes of a stream, in turn: a third are closed early or broken."""
MAX_OWN_PER_CALL = 1 / 3
"""A leak of ours keeps at least one object of our classes a call; after the first rounds their number falls."""
MAX_OBJECTS_PER_CALL = 0.25
"""A leak keeps at least one object a call; pools, caches, and the timers that asyncio remembers after they were cancelled (up to a
hundred or so, each with its context) make the count of live objects waver by some hundreds."""
EXPECTED = {"whole": "complete", "closed": "partial", "broken": "error"}


class Counting:
    """Takes records in place of a pipeline's queue, counts their outcomes and keeps nothing."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def put(self, record: CallRecord) -> None:
        """Count."""
        self.outcomes[str(record.attributes.get(semconv.OUTCOME))] += 1


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc is not."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return 0


def own_objects() -> int:
    """Live objects of tracewrap's own classes: what it keeps of a call shows here, however many pools and timers come and go."""
    return sum(str(type(thing).__module__).startswith("tracewrap") for thing in gc.get_objects())


def clients(vendor: FakeVendor) -> list[Any]:
    """One wrapped async client a vendor."""
    claude = anthropic.AsyncAnthropic(base_url=vendor.url, api_key="k", max_retries=0, timeout=60)
    chat = openai.AsyncOpenAI(base_url=vendor.openai_url, api_key="k", max_retries=0, timeout=60)
    http = httpx.AsyncClient(timeout=60)
    return [wrap(chat), wrap(claude), wrap(cohere.AsyncClientV2(base_url=vendor.url, api_key="k", httpx_client=http))]


def stream_of(client: Any, end: str) -> AsyncIterator[Any]:
    """A stream of *client*'s vendor; the fake cuts those that shall break."""
    header = {"x-fault": json.dumps({"cut_after": 4})} if end == "broken" else {}

    async def chunks() -> AsyncIterator[Any]:
        if isinstance(client, cohere.AsyncClientV2):
            options: Any = {"additional_headers": header}
            source: Any = client.chat_stream(model="m", messages=HELLO, request_options=options)
        elif isinstance(client, openai.AsyncOpenAI):
            source = await client.chat.completions.create(model="m", messages=HELLO, stream=True, extra_headers=header)
        else:
            source = await client.messages.create(
                model="m", messages=HELLO, max_tokens=8, stream=True, extra_headers=header
            )
        try:
            async for chunk in source:
                yield chunk
        finally:
            await (source.aclose() if hasattr(source, "aclose") else source.close())

    return chunks()


async def one(client: Any, end: str) -> None:
    """One call."""
    stream = stream_of(client, end)
    seen = 0
    try:
        async for _ in stream:
            seen += 1
            if end == "closed" and seen == 3:
                break
    except Exception:
        if end != "broken":
            raise
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


async def soak(vendor: FakeVendor, calls: int, tasks: int, ends: Sequence[str]) -> dict[str, Any]:
    """Make *calls* calls that end in turn as *ends* over *tasks* tasks at a time, in five rounds; the first is the warm-up."""
    made: Counter[str] = Counter()
    everyone = clients(vendor)
    number = 0
    points: list[tuple[int, int, int]] = []
    for _ in range(5):
        left = calls // 5

        async def worker() -> None:
            nonlocal number, left
            while left > 0:
                left -= 1
                number += 1
                end = ends[number % len(ends)]
                made[EXPECTED[end]] += 1
                await one(everyone[number % 3], end)

        await asyncio.gather(*(worker() for _ in range(tasks)))
        await asyncio.sleep(0.1)
        gc.collect()
        points.append((len(gc.get_objects()), own_objects(), resident_bytes()))
    left_behind = len(asyncio.all_tasks()) - 1
    for client in everyone:
        await (
            client.close() if hasattr(client, "close") else client._client_wrapper.httpx_client.httpx_client.aclose()
        )
    return {
        "made": dict(made),
        "objects": [objects for objects, _, _ in points],
        "own_objects": [own for _, own, _ in points],
        "resident_mb": [round(resident / 2**20, 1) for _, _, resident in points],
        "tasks_left": left_behind,
    }


def run(calls: int, tasks: int, ends: Sequence[str] = ENDS) -> dict[str, Any]:
    """The soak and its verdicts."""
    counting = Counting()
    earlier = state.record, state.tracer
    state.record, state.tracer = counting.put, None
    broken = state.broken
    began, cpu = time.perf_counter(), time.process_time()
    try:
        with FakeVendor() as vendor:
            vendor.requests = deque(maxlen=1)  # in this process, and not what is weighed
            result = asyncio.run(soak(vendor, calls, tasks, ends))
    finally:
        state.record, state.tracer = earlier
    objects, own = result["objects"], result["own_objects"]
    result |= {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "records": dict(counting.outcomes),
        "records_equal_calls": dict(counting.outcomes) == result["made"],
        "objects_per_call": (objects[-1] - objects[0]) / max(1, calls * 4 // 5),
        "own_per_call": (own[-1] - own[1]) / max(1, calls * 3 // 5),
        "dropped": state.broken - broken,
    }
    result["keeps_nothing"] = result["own_per_call"] < MAX_OWN_PER_CALL
    result["no_growth"] = result["keeps_nothing"] and result["objects_per_call"] < MAX_OBJECTS_PER_CALL
    result["ok"] = result["records_equal_calls"] and result["no_growth"] and not result["tasks_left"]
    return result


def main() -> int:
    """Print the table; 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--broken", action="store_true", help="every stream breaks")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    result = run(args.calls, args.tasks, ("broken",) if args.broken else ENDS)
    for name, value in result.items():
        print(f"{name:<18} {value}")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
