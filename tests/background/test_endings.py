"""Every way to end: what was measured is on disk, once, and the process ends as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tracewrap import forks
from tracewrap.background.wakeup import Wakeup
from tracewrap.sources import read_calls

SET_UP = textwrap.dedent(
    """
    import multiprocessing, os, signal, sys, threading, time
    import httpx, tracewrap
    from concurrent.futures import ProcessPoolExecutor

    tracewrap.configure(span_log=sys.argv[1], denoise=False)
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    client = tracewrap.wrap(httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer))))

    def ask(_=None):
        client.post("http://127.0.0.1:9/v1/chat/completions", json={"model": "m", "messages": []})

    if __name__ == "__main__":
        fork = multiprocessing.get_context("fork")
    """
)
STREAM = """
    import json, openai, httpx2
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": "x"}}]}
    lines = [f"data: {json.dumps(chunk)}\\n\\n".encode()] * 50
    class Lines(httpx2.SyncByteStream):
        def __iter__(self): return iter(lines)
    sse = httpx2.MockTransport(lambda r: httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Lines()))
    sdk = tracewrap.wrap(openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=sse)))
    stream = sdk.chat.completions.create(model="m", messages=[], stream=True)
    next(iter(stream))
    """
RAW = """
    class Endless(httpx.SyncByteStream):
        def __iter__(self):
            while True: yield b'data: {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "x"}}]}\\n\\n'
    sse = httpx.MockTransport(lambda r: httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless()))
    raw = tracewrap.wrap(httpx.Client(transport=sse))
    def opened():
        asked = raw.build_request("POST", "http://127.0.0.1:9/v1/chat/completions", json={"model": "m", "messages": [], "stream": True})
        return raw.send(asked, stream=True)
    read, unread = opened(), opened()
    next(lines := read.iter_lines())
    """
WAYS = {
    "end": ("ask()", 1, 0),
    "sys.exit": ("ask(); sys.exit(3)", 1, 3),
    "exception": ("ask(); raise ValueError", 1, 1),
    "Ctrl-C": ("ask(); os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 1, -signal.SIGINT),
    "SIGTERM": ("ask(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 1, -signal.SIGTERM),
    "SIGHUP": ("ask(); os.kill(os.getpid(), signal.SIGHUP); time.sleep(9)", 1, -signal.SIGHUP),
    "os.execv": ("ask(); os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(5)'])", 1, 5),
    "os.execvp": ("ask(); os.execvp(sys.executable, [sys.executable, '-c', 'raise SystemExit(5)'])", 1, 5),
    "os.execve": (
        "ask(); os.execve(path=sys.executable, argv=[sys.executable, '-c', 'raise SystemExit(5)'], env={})",
        1,
        5,
    ),
    "exec that fails": (
        """
    ask()
    try: os.execv("/none/such", ["x"])
    except FileNotFoundError: ask(); sys.exit(7 if os.execve in os.supports_fd else 8)
        """,
        2,
        7,
    ),
    "os._exit": ("ask(); os._exit(4)", 1, 4),
    "own handler": ("signal.signal(15, lambda *_: sys.exit(6)); ask(); os.kill(os.getpid(), 15); time.sleep(9)", 1, 6),
    "waits for signals": (
        """
    ask()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        os.kill(os.getpid(), number)
        time.sleep(0.1)  # any other thread that may take it has taken it
        assert signal.sigwait([number]) == number
    ask(); sys.exit(9)
        """,
        2,
        9,
    ),
    "waits for its threads": (
        """
    tracewrap.configure(span_log=sys.argv[1])  # the learner, too
    ask(); threading.Thread(target=ask).start(); tracewrap.flush()
    end = time.monotonic() + 20
    while threading.active_count() > 1 and time.monotonic() < end: time.sleep(0.01)
    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
    ask(); sys.exit(9)
        """,
        3,
        9,
    ),
    "daemon thread": ("threading.Thread(target=ask, daemon=True).start(); time.sleep(0.5)", 1, 0),
    "call at exit": ("import atexit; atexit.register(ask); ask()", 2, 0),
    "stream open at the end": (STREAM, 1, 0),
    "stream open at sys.exit": (STREAM + "sys.exit(3)", 1, 3),
    "stream open at SIGTERM": (STREAM + "os.kill(os.getpid(), 15); time.sleep(9)", 1, -15),
    "stream open at a fork": (STREAM + "pid = os.fork(); pid or sys.exit(0); os.waitpid(pid, 0)", 1, 0),
    "raw streams open at the end": (RAW, 2, 0),
    "raw streams open at SIGTERM": (RAW + "os.kill(os.getpid(), 15); time.sleep(9)", 2, -15),
    "os.fork": ("ask(); pid = os.fork(); ask(); pid or os._exit(0); os.waitpid(pid, 0)", 3, 0),
    "Process": ("ask(); one = fork.Process(target=ask); one.start(); one.join(); ask()", 3, 0),
    "terminated workers": ("with fork.Pool(2) as pool: pool.map(ask, range(6))", 6, 0),
    "executor": ("with ProcessPoolExecutor(2, mp_context=fork) as pool: list(pool.map(ask, range(6)))", 6, 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_the_end_the_calls_are_kept(tmp_path: Path, way: str) -> None:
    """Each call is in the log once; the exit status is the program's own."""
    code, calls, status = WAYS[way]
    (tmp_path / "app.py").write_text(f"{SET_UP}    {code}\n")
    command = [sys.executable, "app.py", "calls"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if ran.returncode != status:  # Python 3.13.0 crashes at its end where the SDK's generator is left open
        switched_off = {**os.environ, "TRACEWRAP_ENABLED": "false"}
        status = subprocess.run(command, cwd=tmp_path, env=switched_off, capture_output=True, timeout=120).returncode
    assert ran.returncode == status, ran.stderr
    found = [call.span_id for call in read_calls(str(tmp_path / "calls"))]
    assert (len(found), len(set(found))) == (calls, calls)


def test_a_signal_is_not_slept_through() -> None:
    """A signal noted right before the main thread goes to sleep in the system would never be handled: it is sent again."""
    handled: list[int] = []
    began = threading.Event()

    def handle(number: int, _: object) -> None:
        handled.append(number)
        began.set()

    before = signal.signal(signal.SIGTERM, handle)
    wakeup = Wakeup(lambda number: len(handled) < 2)
    try:
        wakeup.start([signal.SIGTERM])
        os.kill(
            os.getpid(), signal.SIGTERM
        )  # the first is handled; the watch does not believe it yet, and sends another
        until = time.monotonic() + 20
        while len(handled) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert handled == [signal.SIGTERM] * 2
        assert signal.set_wakeup_fd(-1) != -1
    finally:
        wakeup.stop()
        signal.signal(signal.SIGTERM, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_fork_waits_for_threads_of_ours() -> None:
    """While a thread imports or holds a lock, nobody forks; the child may do the same at once."""
    steps: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with forks.undisturbed():
            inside.set()
            go_on.wait(10)
            steps.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    threading.Timer(0.2, go_on.set).start()
    child = os.fork()
    if child == 0:
        with forks.undisturbed():
            os._exit(0)
    steps.append("forked")
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    assert steps == ["worked", "forked"]


def test_gevent_runs_nothing_twice(tmp_path: Path) -> None:
    """A greenlet program that starts a subprocess: no other greenlet goes on in the forked child, and the calls are kept."""
    pytest.importorskip("gevent")
    program = (
        "from gevent import monkey; monkey.patch_all()\nimport gevent, subprocess\nme = __import__('os').getpid()\n"
        + SET_UP
        + textwrap.indent(
            textwrap.dedent(
                """
                def other():
                    for _ in range(5):
                        ask()
                        os.getpid() == me or os.write(1, b"ran in the child\\n")
                        gevent.sleep(0)
                gevent.joinall([gevent.spawn(other), gevent.spawn(subprocess.run, ["true"]), gevent.spawn(other)], timeout=20)
                """
            ),
            "    ",
        )
    )
    (tmp_path / "app.py").write_text(program)
    command = [sys.executable, "app.py", "calls"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert len(list(read_calls(str(tmp_path / "calls")))) == 10
