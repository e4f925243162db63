"""What becomes of calls when something fails: made, recorded, counted as lost, seconds to exit, memory. Nothing may be lost uncounted.

    python benchmarks/faults.py [--calls 2000] [--json FILE]

Each row is a program of its own that makes calls against a vendor in its memory, with a span log and an OTLP receiver on loopback, one of
which has the fault. Checked: calls made = calls in the log + calls counted as lost there; the same of the receiver; the end comes within
the bound. ``kill -9`` alone may lose what the last fraction of a second brought, uncounted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tracewrap.cli.doctor_checks import losses_in
from tracewrap.sources import read_calls

EXIT_BOUND_S = 2.0
PROGRAM = textwrap.dedent(
    """
    import errno, json, logging, os, shutil, signal, sys, threading, time
    import httpx, tracewrap
    logging.disable(logging.CRITICAL)
    calls, folder, url, fault, bound = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])
    size = 50 if fault == "queue full" else 20_000
    tracewrap.configure(span_log=folder, otlp=url or None, denoise=False, queue_size=size, exit_timeout_s=bound)
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    client = tracewrap.wrap(httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer))))
    write, full = os.write, [False]

    def short(handle, data):
        if full[0] and b"resourceSpans" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    os.write = short
    made = 0
    for number in range(calls):
        if number == calls // 3:
            full[0] = fault == "disk full"
            if fault == "folder removed":
                tracewrap.flush()
                kept = [line for name in os.listdir(folder) for line in open(os.path.join(folder, name))]
                open(folder + "-before.jsonl", "w").writelines(kept)
                shutil.rmtree(folder)
        if number == 2 * calls // 3 and full[0]:
            time.sleep(0.5)
            full[0] = False
        if fault == "kill -9" and number == 2 * calls // 3:
            while not os.path.isdir(folder):
                time.sleep(0.05)
            time.sleep(1.0)
        client.post("http://127.0.0.1:9/v1/chat/completions", json={"model": "m", "messages": []})
        made += 1
        if fault != "queue full":
            time.sleep(0.0005)
    memory = next((int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")), 0)
    print(json.dumps({"made": made, "mib": memory // 1024}), flush=True)
    if fault in ("SIGTERM", "kill -9"):
        os.kill(os.getpid(), signal.SIGTERM if fault == "SIGTERM" else signal.SIGKILL)
        time.sleep(60)
    if fault == "os._exit":
        os._exit(0)
    """
)
FAULTS = (
    "none",
    "receiver hangs",
    "receiver absent",
    "receiver answers 400",
    "receiver answers 503",
    "receiver comes back",
    "partial success",
    "disk full",
    "folder removed",
    "queue full",
    "SIGTERM",
    "os._exit",
    "kill -9",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: counts of calls, seconds from the last call to the end, memory in MiB."""

    fault: str
    made: int
    logged: int
    lost_log: int
    received: int
    lost_otlp: int
    exit_s: float
    mib: int

    @property
    def ok(self) -> bool:
        """Whether every call is where it belongs, or counted, and the end came in time."""
        in_time = self.exit_s < EXIT_BOUND_S + 10.0  # of a busy machine: the bound is what the program waits
        if self.fault == "kill -9":
            return self.made // 2 <= self.logged <= self.made and in_time
        if self.fault == "receiver comes back" and self.lost_otlp:
            return False
        log, otlp = self.logged + self.lost_log, self.received + self.lost_otlp
        dropped = self.lost_log if self.fault == "queue full" else 0  # what never left the first queue reached nobody
        return log == self.made and otlp + dropped == self.made and in_time


class Receiver(BaseHTTPRequestHandler):
    """OTLP over HTTP with a fault; ``spans``: ids of those it took."""

    fault = "none"
    spans: set[bytes]
    asked = 0

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        """Take the spans, or not."""
        body = self.rfile.read(int(self.headers["content-length"]))
        mine = type(self)
        mine.asked += 1
        if mine.fault == "receiver hangs":
            time.sleep(60)
        status = {"receiver answers 400": 400, "receiver answers 503": 503}.get(mine.fault, 200)
        if mine.fault == "receiver comes back" and mine.asked < 3:
            status = 503
        answer = ExportTraceServiceResponse()
        if status == 200:
            request = ExportTraceServiceRequest.FromString(body)
            ids = [span.span_id for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
            rejected = len(ids) // 2 if mine.fault == "partial success" else 0
            answer.partial_success.rejected_spans = rejected
            mine.spans.update(ids[rejected:])
        data = answer.SerializeToString() if status == 200 else b""
        with suppress(OSError):  # whom it would answer has ended
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


@contextmanager
def receiver(fault: str) -> Iterator[tuple[str, type[Receiver]]]:
    """A receiver with *fault* on loopback: its URL and what it took."""
    handler = type("OneReceiver", (Receiver,), {"fault": fault, "spans": set(), "asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    if fault == "receiver absent":
        server.server_close()
        yield url, handler
        return
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url, handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(fault: str, calls: int) -> Row:
    """Make *calls* calls under *fault*."""
    with tempfile.TemporaryDirectory() as home, receiver(fault) as (url, taken):
        folder = os.path.join(home, "calls")
        command = [sys.executable, "-c", PROGRAM, str(calls), folder, url, fault, str(EXIT_BOUND_S)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home)
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        began = time.monotonic()
        process.wait(timeout=120)
        exit_s = time.monotonic() - began
        process.stdout.close()
        lost = losses_in(Path(folder))
        before = Path(folder + "-before.jsonl")
        logged = len(list(read_calls(folder))) + (len(list(read_calls(str(before)))) if before.exists() else 0)
        places: Counter[str] = Counter()
        for (place, _), count in lost.items():
            places[place] += count
        counts = (said["made"], logged, places["span_log"], len(taken.spans), places["otlp"])
        return Row(fault, *counts, round(exit_s, 2), said["mib"])


def main() -> int:
    """Print the table; 1 when a row is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{'fault':<22} {'made':>6} {'logged':>7} {'lost':>6} {'received':>9} {'lost':>6} {'exit s':>7} {'MiB':>5}")
    rows = []
    for fault in FAULTS:
        row = run(fault, args.calls)
        rows.append(row)
        numbers = f"{row.made:>6} {row.logged:>7} {row.lost_log:>6} {row.received:>9} {row.lost_otlp:>6} {row.exit_s:>7} {row.mib:>5}"
        print(f"{fault:<22} {numbers} {'' if row.ok else ' WRONG'}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
