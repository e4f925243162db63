"""Long runs and many short ones: memory flat, files rolled, what is kept kept; a thousand small files read as fast as one.

    python benchmarks/long_run.py [--calls 200000] [--processes 1000] [--json FILE]

First one process makes many calls to a vendor in its memory, no faster than the background writes them, with a span log of small files
and a bound on all of them. Checked: after a tenth of the calls, resident memory grows by less than 10 %; the files that are left are
within the bound; nothing is lost. Then the same calls as files of one call each, as so many one-call processes would leave them, and as
one file: seconds of ``report`` and ``doctor`` over each, the best of three. Exit 1 when one takes more than 1.5 x.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import openai
from soak import resident_bytes

import tracewrap
from tracewrap.sinks.retention import log_files
from tracewrap.sources import read_calls

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
MAX_GROWTH = 0.10
MAX_RATIO = 1.5
QUEUE = 20_000


def long_run(calls: int, keep_bytes: int, folder: Path) -> dict[str, Any]:
    """Make *calls* calls; memory at each tenth, and what is left in *folder*."""
    pipeline = tracewrap.configure(span_log=folder, span_log_keep_bytes=keep_bytes, span_log_roll_bytes=keep_bytes // 8)
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    points: list[int] = []
    with httpx2.Client(transport=transport) as http:
        client = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=http))
        for number in range(1, calls + 1):
            client.chat.completions.create(model="m", messages=[], user=str(number))
            if number % (QUEUE // 10) == 0:
                pipeline.flush(60)
            if number % (calls // 10) == 0:
                points.append(resident_bytes())
    pipeline.flush(60)
    lost = sum(pipeline.losses.values())
    pipeline.close()
    files = log_files(folder)
    starts = sorted(call.start_time_ns for call in read_calls(str(folder)))
    return {
        "calls": calls,
        "lost": lost,
        "resident_mib": [round(point / 2**20, 1) for point in points],
        "growth": round(points[-1] / points[0] - 1, 4) if points[0] else None,
        "files": len(files),
        "log_mib": round(sum(file.taken for file in files) / 2**20, 1),
        "kept_calls": len(starts),
        "within_bound": sum(file.taken for file in files) <= keep_bytes + keep_bytes // 8,
    }


def many_files(count: int, folder: Path) -> dict[str, Any]:
    """Seconds of ``report`` and ``doctor`` over *count* calls in one file and in a file each."""
    one, many = folder / "one", folder / "many"
    pipeline = tracewrap.configure(span_log=one, denoise=False)
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    with httpx2.Client(transport=transport) as http:
        client = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=http))
        for _ in range(count):
            client.chat.completions.create(model="m", messages=[])
            pipeline.flush(60)  # a line a call
    pipeline.close()
    many.mkdir()
    lines = [line for file in sorted(one.glob("*.jsonl")) for line in file.read_text().splitlines(keepends=True)]
    for number, line in enumerate(lines, 1):
        (many / f"spans-20260101T000000Z-{number}-{number:012x}-0001.jsonl").write_text(line)
    found: dict[str, Any] = {"files": len(lines)}
    for command in (["report", "FOLDER", "--no-learn"], ["report", "FOLDER"], ["doctor"]):
        seconds = {place.name: _seconds(command, place) for place in (one, many)}
        name = " ".join(command).replace(" FOLDER", "")
        found[name] = {**seconds, "ratio": round(seconds["many"] / seconds["one"], 2)}
    return found


def _seconds(command: list[str], place: Path) -> float:
    """The best of three, so that what else runs on the machine counts least."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tracewrap", *(word.replace("FOLDER", str(place)) for word in command)],
            env={**os.environ, "TRACEWRAP_SPAN_LOG": str(place)}, capture_output=True, check=False,
        )  # fmt: skip
        times.append(time.perf_counter() - began)
    return round(min(times), 2)


def run(calls: int, processes: int, keep_bytes: int = 32 * 2**20) -> dict[str, Any]:
    """Both parts and their verdict."""
    folder = Path(tempfile.mkdtemp(prefix="long-run-"))
    try:
        long = long_run(calls, keep_bytes, folder / "long")
        many = many_files(processes, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [part["ratio"] for part in many.values() if isinstance(part, dict)]
    flat = long["growth"] is None or long["growth"] < MAX_GROWTH
    ok = flat and long["within_bound"] and not long["lost"] and max(ratios) <= MAX_RATIO
    return {"long_run": long, "many_files": many, "ok": ok}


def main() -> int:
    """Print the figures; 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=1_000)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    result = run(args.calls, args.processes)
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        Path(args.json).write_text(text + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
