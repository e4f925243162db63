"""Servers and pools started over and over under ``tracewrap run``: none hangs, and each call of each start is on disk once.

    python benchmarks/starts.py [--starts 200] [--kinds gunicorn forkserver ...] [--json FILE]

Each start is a program of its own that forks while tracewrap is still loading what it needs: the moment at which a lock, or an import
that is half done, would be inherited. gunicorn counts as up when every request it was sent is answered, and is ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import host_programs

from tracewrap.sources import read_calls

LIMIT_S = 60.0
"""A start that has not ended by then hangs; alone on a machine it takes two or three seconds."""
CALLS = 8
VENDOR = textwrap.dedent(
    """
    import os
    import httpx2, openai

    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}

    def ask(_=None):
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
        with httpx2.Client(transport=transport) as http:
            openai.OpenAI(api_key="k", http_client=http).chat.completions.create(model="m", messages=[])
        return os.getpid()
    """
)
SERVER = textwrap.dedent(
    """
    from vendor import ask

    def app(environ, start_response):
        ask()
        start_response("200 OK", [("content-length", "2")])
        return [b"ok"]
    """
)
# Nothing that a worker raises comes back through the pool: an exception that cannot be unpickled kills the pool's own thread, with or
# without tracewrap.
POOL = textwrap.dedent(
    """
    import multiprocessing, sys

    def work(number):
        try:
            from vendor import ask
            ask()
        except BaseException as error:
            return repr(error)
        return ""

    if __name__ == "__main__":
        calls = int(sys.argv[2])
        if sys.argv[1] == "fork":  # tracewrap's thread loads what it needs for this call while the pool forks
            work(0)
            calls -= 1
        pool = multiprocessing.get_context(sys.argv[1]).Pool(4)
        failed = [text for text in pool.map(work, range(calls), chunksize=1) if text]
        pool.close()
        pool.join()
        sys.exit("; ".join(failed) or 0)
    """
)


@dataclass(frozen=True, slots=True)
class Start:
    """One start: whether it hung, calls that it made and that are in its log, seconds."""

    hung: bool
    made: int
    logged: int
    seconds: float
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with every call recorded once."""
        return not self.hung and self.made == CALLS == self.logged


@dataclass(frozen=True, slots=True)
class Row:
    """All starts of one kind."""

    kind: str
    starts: int
    hung: int
    lost: int
    slowest_s: float
    said: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether none hung and no call is missing."""
        return self.hung == 0 and self.lost == 0 and not self.said


def _gunicorn(*options: str) -> tuple[list[str], Callable[[subprocess.Popen[bytes], float], int]]:
    port = host_programs.free_port()
    command = ["-m", "gunicorn", "server:app", "-b", f"127.0.0.1:{port}", "-w", "2", *options]

    def use(process: subprocess.Popen[bytes], until: float) -> int:
        answered = host_programs.answers(port, CALLS, until)
        process.send_signal(signal.SIGTERM)
        return answered

    return command, use


def _pool(method: str) -> tuple[list[str], Callable[[subprocess.Popen[bytes], float], int]]:
    return ["pool.py", method, str(CALLS)], lambda *_: CALLS


KINDS: dict[str, Callable[[], tuple[list[str], Callable[[subprocess.Popen[bytes], float], int]]]] = {
    "gunicorn": _gunicorn,
    "gunicorn --preload": lambda: _gunicorn("--preload"),
    "forkserver": lambda: _pool("forkserver"),
    "fork": lambda: _pool("fork"),
}


def start(kind: str, limit_s: float = LIMIT_S) -> Start:
    """One start of *kind*; whatever of it still runs after *limit_s* seconds is killed."""
    with tempfile.TemporaryDirectory() as home:
        for name, text in (("vendor", VENDOR), ("server", SERVER), ("pool", POOL)):
            Path(home, f"{name}.py").write_text(text)
        program, use = KINDS[kind]()
        command = [sys.executable, "-m", "tracewrap", "run", "--quiet", "--", sys.executable, *program]
        # Whoever hangs prints where when it is told to abort.
        environment = {**os.environ, "HOME": home, "PYTHONFAULTHANDLER": "1"}
        errors = Path(home, "errors.txt")
        with errors.open("wb") as said:
            process = subprocess.Popen(
                command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            )
            began = time.monotonic()
            made = use(process, began + limit_s)
            hung = False
            try:
                process.wait(timeout=max(0.1, began + limit_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                hung = True
                os.killpg(process.pid, signal.SIGABRT)
                time.sleep(1)
            seconds = time.monotonic() - began
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        folder = Path(home, "calls")
        logged = len({call.span_id for call in read_calls(str(folder))}) if folder.exists() else 0
        wrong = hung or made != CALLS or logged != CALLS
        return Start(hung, made, logged, seconds, errors.read_text(errors="replace")[-4000:] if wrong else "")


def run(kind: str, starts: int, limit_s: float = LIMIT_S) -> Row:
    """*starts* starts of *kind*, one after the other."""
    every = [start(kind, limit_s) for _ in range(starts)]
    return Row(
        kind,
        starts,
        hung=sum(one.hung for one in every),
        lost=sum(abs(CALLS - one.logged) for one in every if not one.hung),
        slowest_s=round(max(one.seconds for one in every), 1),
        said=tuple(f"answered {one.made}, logged {one.logged}: {one.said}" for one in every if not one.ok),
    )


def main() -> int:
    """Print a row a kind; 1 when one is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{'kind':<20} {'starts':>7} {'hung':>5} {'calls lost':>11} {'slowest s':>10}")
    rows = []
    for kind in args.kinds:
        row = run(kind, args.starts)
        rows.append(row)
        print(f"{kind:<20} {row.starts:>7} {row.hung:>5} {row.lost:>11} {row.slowest_s:>10}", flush=True)
        for text in row.said[:3]:
            print(text, flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
