"""Reading a real Jaeger: seconds, searches and memory for a day of LLM calls, among other spans and alone.

    python benchmarks/jaeger.py [--calls 14000 100000] [--crowd 120000]

Needs the programs jaeger (2.x) on PATH or in TRACEWRAP_JAEGER. Each row is a Jaeger of its own (memory store) filled over OTLP; the
reading runs in a process of its own, whose memory is the largest resident set the system saw.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from made_days import DAY_NS, HOUR_NS, attributes, call, line, span
from real_servers import RealJaeger, jaeger_program
from tracewrap.records import TokenUsage

READ = """
import json, resource, sys, time
from tracewrap.sources import CALL_COLUMNS, connect, open_source
from tracewrap.sources import jaeger_api
searches, get = [], jaeger_api.Api._get
jaeger_api.Api._get = lambda *given: searches.append(1) or get(*given)
began = time.perf_counter()
with connect() as connection:
    open_source(sys.argv[1]).load(connection, "calls", int(sys.argv[2]), int(sys.argv[3]), {n: n for n in CALL_COLUMNS})
    n = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([n, len(searches), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def calls_lines(count: int, services: int) -> Iterator[str]:
    """*count* calls over a day, one trace each, of *services* in turn, in order of time."""
    for first in range(0, count, 1000):
        made = [
            call(i + 1, 24 * i / count, usage=TokenUsage(1000 + i % 500, 200), raw_runtime_s=2.0)
            for i in range(first, min(first + 1000, count))
        ]
        for number in range(services):
            yield line([span(one) for one in made[number::services]], service=f"service-{number}")


def bursty_lines(count: int, services: int) -> Iterator[str]:
    """As ``calls_lines``, but in bursts of minutes whose sizes differ a hundredfold."""
    draw = random.Random(1)
    starts: list[float] = []
    while len(starts) < count:
        at, width_h = 24 * draw.random(), draw.expovariate(60.0)
        size = min(int(3 * draw.paretovariate(0.9)), count // 20)
        starts += [min(23.999, at + width_h * draw.random()) for _ in range(size)]
    starts = sorted(starts[:count])
    for first in range(0, count, 1000):
        made = [
            call(first + i + 1, hour, usage=TokenUsage(1000 + i % 500, 200), raw_runtime_s=2.0)
            for i, hour in enumerate(starts[first : first + 1000])
        ]
        for number in range(services):
            yield line([span(one) for one in made[number::services]], service=f"service-{number}")


def crowd_lines(spans: int, services: int) -> Iterator[str]:
    """*spans* spans of web servers and databases, four a trace."""
    names = (("GET /orders/{id}", 2), ("SELECT shop.orders", 3), ("redis.get", 3), ("render", 1))
    for first in range(0, spans, 2000):
        made = []
        for i in range(first, min(first + 2000, spans)):
            start = DAY_NS + int(24 * HOUR_NS * i / spans)
            name, kind = names[i % 4]
            made.append(
                {
                    "traceId": f"{10**9 + i // 4:032x}",
                    "spanId": f"{10**9 + i:016x}",
                    "name": name,
                    "kind": kind,
                    "startTimeUnixNano": str(start),
                    "endTimeUnixNano": str(start + 10**7),
                    "attributes": attributes({"http.response.status_code": 200, "url.path": "/orders/1"}),
                }
            )
        yield line(made, service=f"service-{first // 2000 % services}", scope="web")


def measure(lines: Iterator[str], expected: int) -> tuple[int, float, float, float]:
    """(requests, seconds, seconds of CPU, MB) of reading the day from a fresh Jaeger that holds *lines*."""
    with tempfile.TemporaryDirectory() as folder, RealJaeger(Path(folder), max_traces=400_000) as jaeger:
        for text in lines:
            jaeger.send(text)
        jaeger.wait_for_services()
        done = subprocess.run(
            [sys.executable, "-c", READ, jaeger.source, str(DAY_NS), str(DAY_NS + 24 * HOUR_NS)],
            capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
    found, requests, seconds, cpu_s, megabytes = json.loads(done.stdout)
    if found != expected:
        raise SystemExit(f"{found} of {expected} calls were read")
    return requests, seconds, cpu_s, megabytes


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[14_000, 100_000])
    parser.add_argument("--crowd", type=int, default=120_000, help="other spans, of 20 services, among 200 calls")
    args = parser.parse_args()
    if jaeger_program() is None:
        raise SystemExit("no jaeger: put it on PATH or name it in TRACEWRAP_JAEGER")
    print(f"{'a day of':<50} {'requests':>8} {'seconds':>8} {'CPU s':>6} {'MB':>6}")

    def crowded() -> Iterator[str]:
        yield from crowd_lines(args.crowd, 20)
        yield from calls_lines(200, 1)

    rows = [(f"200 calls among {args.crowd:,} spans of 20 services", crowded(), 200)]
    rows += [(f"{count:,} calls", calls_lines(count, 4), count) for count in args.calls]
    rows += [(f"{count:,} calls, in bursts", bursty_lines(count, 4), count) for count in args.calls]
    for title, lines, expected in rows:
        requests, seconds, cpu_s, megabytes = measure(lines, expected)
        print(f"{title:<50} {requests:>8} {seconds:>8.2f} {cpu_s:>6.2f} {megabytes:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
