"""The server of ``blame.py``: a vendor of known speed in a process of its own, and a proxy before it that holds answers back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

TESTS = str(Path(__file__).resolve().parents[1] / "tests")
ANSWER_S, SLOW_S = 0.2, 0.6
SERVER = """
import asyncio, sys, threading, time
sys.path.insert(0, {tests!r})
from fake_vendor import FakeVendor, Fault, Timing
LOCK = threading.Lock()

def queued(_):
    with LOCK:
        time.sleep({answer})
    return 0.0

async def pipe(reader, writer, delay_s):
    # every piece is handed on delay_s after it came, so the pieces keep their distances
    loop = asyncio.get_running_loop()
    while piece := await reader.read(65536):
        loop.call_later(delay_s, writer.write, piece)
    loop.call_later(delay_s, writer.close)

async def proxy(ready):
    async def one(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", vendor.port)
        await asyncio.gather(pipe(reader, far_writer, 0.0), pipe(far_reader, writer, {slow}))
    server = await asyncio.start_server(one, "127.0.0.1", 0)
    ready.append(server.sockets[0].getsockname()[1])
    await server.serve_forever()

vendor = FakeVendor(Timing(overhead_s={answer}, noise=queued if {queue} else None))
ready = []
threading.Thread(target=asyncio.run, args=(proxy(ready),), daemon=True).start()
while not ready:
    time.sleep(0.01)
print(vendor.port, ready[0], flush=True)
for line in sys.stdin:  # so many requests from now on are refused once
    vendor.fail_next(*[Fault(429, {{"retry-after-ms": "{retry_ms}", "retry-after": "1"}})] * int(line))
"""


class Server:
    """The vendor in a process of its own: ``port``, and ``slow_port`` of the proxy before it."""

    def __init__(self, queue: bool = False) -> None:
        code = SERVER.format(tests=TESTS, answer=ANSWER_S, slow=SLOW_S, queue=queue, retry_ms=int(SLOW_S * 1000))
        command = [sys.executable, "-c", code]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port, self.slow_port = map(int, self.process.stdout.readline().split())

    def refuse(self, n: int) -> None:
        """The next *n* requests get 429 and are told when to come again."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
