"""A competing client, in a process of its own: bursts of completions with pauses between them, until it is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from tracewrap.demo.server import MODEL

_BURST_S = (1.0, 3.0)
_PAUSE_S = (1.0, 3.0)


@contextlib.contextmanager
def competing(url: str, clients: int = 1, seed: int = 0) -> Iterator[None]:
    """*clients* processes load the server at *url* while the block runs."""
    command = [sys.executable, "-m", "tracewrap.demo.rival", url]
    processes = [subprocess.Popen([*command, str(seed + i)], stderr=subprocess.DEVNULL) for i in range(clients)]
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def main(url: str, seed: int) -> None:
    """Load the server in bursts until killed, or until the process that started us is gone."""
    dice, parent = random.Random(seed), os.getppid()
    while os.getppid() == parent:
        until = time.monotonic() + dice.uniform(*_BURST_S)
        while time.monotonic() < until:
            _complete(url, dice.randint(8, 96), dice.randint(4, 32), dice)
        time.sleep(dice.uniform(*_PAUSE_S))


def _complete(url: str, input_tokens: int, output_tokens: int, dice: random.Random) -> None:
    body = {
        "model": MODEL,
        "prompt": [dice.randint(1000, 20000) for _ in range(input_tokens)],
        "max_tokens": output_tokens,
        "ignore_eos": True,
    }
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
