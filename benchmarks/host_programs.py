"""The small programs of ``hosts.py``: one vendor in memory, and how each host is started, used and ended."""

from __future__ import annotations

import importlib.util
import socket
import textwrap
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

VENDOR = """
import os, sys
import httpx2, openai

WAY = os.environ["WAY"]
if WAY in ("wrap", "instrument"):
    import tracewrap
    tracewrap.configure()
if WAY == "instrument":
    tracewrap.instrument()

ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}

def ask(_=None):
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    with httpx2.Client(transport=transport) as http:
        client = openai.OpenAI(api_key="k", http_client=http)
        if WAY == "wrap":
            client = tracewrap.wrap(client)
        client.chat.completions.create(model="m", messages=[])
    made = os.open(os.environ["MADE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(made, b"x")
    os.close(made)
    return 1

async def ask_async():
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    async with httpx2.AsyncClient(transport=transport) as http:
        client = openai.AsyncOpenAI(api_key="k", http_client=http)
        if WAY == "wrap":
            client = tracewrap.wrap(client)
        await client.chat.completions.create(model="m", messages=[])
    made = os.open(os.environ["MADE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(made, b"x")
    os.close(made)
"""
CALLS = 6
_ASGI = """
from vendor import ask_async
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await ask_async()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
_WSGI = """
from vendor import ask
def app(environ, start_response):
    ask()
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]
"""
_FLASK = """
import flask, sys
from vendor import ask
app = flask.Flask(__name__)
@app.get("/")
def answer():
    ask()
    return "ok"
if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
"""
_FASTAPI = """
import fastapi
from vendor import ask_async
app = fastapi.FastAPI()
@app.get("/")
async def answer():
    await ask_async()
    return "ok"
"""
_SCRIPT = f"from vendor import ask\nfor _ in range({CALLS}): ask()\n"
_POOL = f"""
import multiprocessing, sys
import vendor
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert sum(pool.map(vendor.ask, range({CALLS}), chunksize=1)) == {CALLS}
        pool.close()
        pool.join()
"""
_FUTURES = f"""
import concurrent.futures, sys
import vendor
if __name__ == "__main__":
    with getattr(concurrent.futures, sys.argv[1])(2) as pool:
        assert sum(pool.map(vendor.ask, range({CALLS}))) == {CALLS}
"""
_RQ = f"""
import fakeredis, rq, vendor
queue = rq.Queue(connection=fakeredis.FakeStrictRedis())
for _ in range({CALLS}):
    queue.enqueue(vendor.ask)
rq.Worker([queue], connection=queue.connection).work(burst=True, logging_level="ERROR")
"""
_CELERY = f"""
import os, sys
from celery import Celery
app = Celery("tasks", broker="filesystem://", broker_transport_options={{
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}})
app.conf.task_ignore_result = True
@app.task
def one():
    import vendor
    vendor.ask()
if __name__ == "__main__":
    os.makedirs("queue"), os.makedirs("control")
    from tasks import one
    for _ in range({CALLS}):
        one.delay()
    os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "ERROR", "--without-gossip",
                              "--without-mingle", *sys.argv[1:]])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host. ``command``: what Python is given, PORT for a free port; ``served``: it is asked over HTTP; ``ended``: by SIGTERM when its
    calls are made.
    """

    program: str
    command: Sequence[str]
    needs: Sequence[str] = ()
    served: bool = False
    ended: bool = False
    ways: Sequence[str] = ("wrap", "instrument", "run", "opentelemetry-instrument")

    @property
    def missing(self) -> str | None:
        """The package that it needs and that is not installed."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


def _server(program: str, command: str, *needs: str) -> Host:
    return Host(program=program, command=command.split(), needs=needs, served=True, ended=True)


def _gunicorn(options: str, *needs: str) -> Host:
    program = _ASGI if "uvicorn" in options or "asgi" in options else _WSGI
    return _server(program, f"-m gunicorn program:app -b 127.0.0.1:PORT {options}", "gunicorn", *needs)


def _script(program: str, *arguments: str, needs: Sequence[str] = (), ended: bool = False) -> Host:
    return Host(program=program, command=["program.py", *arguments], needs=needs, ended=ended)


def _celery(pool: str) -> Host:
    return Host(program=_CELERY, command=["tasks.py", "--pool", pool, "-c", "2"], needs=["celery"], ended=True)


_TASKS = f"""
import asyncio
from vendor import ask_async
async def main():
    await asyncio.gather(*(ask_async() for _ in range({CALLS})))
asyncio.run(main())
"""
_THREADS = f"""
import threading
from vendor import ask
for thread in [threading.Thread(target=ask) for _ in range({CALLS})]:
    thread.start()
"""
_TESTS = f"""
import pytest
from vendor import ask
@pytest.mark.parametrize("number", range({CALLS}))
def test_one(number):
    ask()
"""
HOSTS: dict[str, Host] = {
    "script": _script(_SCRIPT),
    "python -m": Host(program=_SCRIPT, command=["-m", "program"]),
    "zipapp": Host(program=_SCRIPT, command=["program.pyz"]),
    "asyncio": _script(_TASKS),
    "threads": _script(_THREADS),
    "multiprocessing fork": _script(_POOL, "fork"),
    "multiprocessing spawn": _script(_POOL, "spawn"),
    "multiprocessing forkserver": _script(_POOL, "forkserver"),
    "concurrent.futures threads": _script(_FUTURES, "ThreadPoolExecutor"),
    "concurrent.futures processes": _script(_FUTURES, "ProcessPoolExecutor"),
    "pytest": Host(program=_TESTS, command=["-m", "pytest", "-q", "-p", "no:cacheprovider", "program.py"]),
    "IPython": Host(program=_SCRIPT, command=["-m", "IPython", "program.py"], needs=["IPython"]),
    "gunicorn sync": _gunicorn("-w 2"),
    "gunicorn sync, preload": _gunicorn("-w 2 --preload"),
    "gunicorn gthread, preload": _gunicorn("-w 2 --preload -k gthread --threads 2"),
    "gunicorn gevent, preload": _gunicorn("-w 2 --preload -k gevent", "gevent"),
    "gunicorn asgi, preload": _gunicorn("-w 2 --preload -k asgi"),
    "gunicorn uvicorn worker": _gunicorn("-w 2 -k uvicorn.workers.UvicornWorker", "uvicorn"),
    "gunicorn uvicorn worker, preload": _gunicorn("-w 2 --preload -k uvicorn.workers.UvicornWorker", "uvicorn"),
    "uvicorn": _server(_ASGI, "-m uvicorn program:app --port PORT --log-level error", "uvicorn"),
    "uvicorn, 2 workers": _server(_ASGI, "-m uvicorn program:app --port PORT --log-level error --workers 2", "uvicorn"),
    "flask": _server(_FLASK, "program.py PORT", "flask"),
    "fastapi": _server(_FASTAPI, "-m uvicorn program:app --port PORT --log-level error", "fastapi", "uvicorn"),
    "celery prefork": _celery("prefork"),
    "celery threads": _celery("threads"),
    "rq": _script(_RQ, needs=["rq", "fakeredis"]),
    "PyInstaller": Host(program=_SCRIPT, command=["FROZEN"], needs=["PyInstaller"], ways=("wrap", "instrument")),
}
"""PyInstaller's program is built once, for minutes: ``hosts.py --frozen``."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int | str, count: int, until: float) -> int:
    """How many of *count* requests were answered before *until*; asks again while nobody listens yet."""
    answered = 0
    while answered < count and (left := until - time.monotonic()) > 0:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=left) as response:
                answered += response.status == 200
        except OSError:
            time.sleep(0.1)
    return answered


def files(host: Host) -> dict[str, str]:
    """The host's modules by file name."""
    name = "tasks.py" if host.program is _CELERY else "program.py"
    return {"vendor.py": VENDOR, name: textwrap.dedent(host.program)}
