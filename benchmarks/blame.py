"""Who is blamed, against known causes: a server of known speed, and twelve ways to make a call slow.

    python benchmarks/blame.py [--calls 4] [--vendors openai anthropic cohere httpx] [--causes ...] [--json FILE]

Servers run in processes of their own and answer in ANSWER_S. A cause adds its seconds by known means: on the server's side (slower; slower
and saying so in its header; one call at a time), on ours (a pool of one connection, a blocked event loop, threads that hold the
interpreter, a full thread pool, a hook, a consumer that holds the stream), on the way (a proxy that holds the answer back while the
server says how fast it was; a slow look-up of the name), or by retries. The quiet day is given: ANSWER_S. A cell is cause x vendor x
sync or async x plain or stream: slow calls with the right verdict, and the seconds given to the cause against those beyond the quiet day.
Exit status 1 if a bound is broken: 90% right in each cell, nothing of ours called the provider's or the other way round, parts that add
up to raw within 1 ms, seconds within 15%.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from blame_server import ANSWER_S, SLOW_S, Server

from tracewrap import testing, wrap
from tracewrap.estimate.catalog import Catalog
from tracewrap.estimate.joiner import join_call
from tracewrap.estimate.split import Split, split
from tracewrap.records import Call
from tracewrap.runtime.profile import RuntimeProfile

RIGHT_SHARE, WITHIN, SUM_S = 0.9, 0.15, 0.001
SLOW_FROM_S = 1.6 * ANSWER_S
"""Calls quicker than this were not slow: nobody is blamed for them."""
HELLO: list[Any] = [{"role": "user", "content": "a b c"}]
SILENT = {"openai-processing-ms": "", "x-envoy-upstream-service-time": ""}


class Cause(NamedTuple):
    """One way to be slow. ``verdicts``: the right ones. ``part``: seconds of a split that belong to it."""

    verdicts: tuple[str, ...]
    part: Callable[[Split], float]
    fault: dict[str, Any] = {}  # noqa: RUF012 - never changed
    kinds: tuple[bool, ...] = (False, True)
    """Whether it exists for sync (False) and async (True) calls."""
    forms: tuple[str, ...] = ("plain", "stream")


def contention(parts: Split) -> float:
    """The provider's."""
    return parts.contention_s or 0.0


CAUSES = {
    "quiet": Cause(("model",), lambda s: 0.0, {"headers": SILENT}),
    "slow server": Cause(("provider",), contention, {"headers": SILENT, "delay_s": SLOW_S}),
    "slow server says so": Cause(
        ("provider",), contention, {"headers": dict.fromkeys(SILENT, "805"), "delay_s": SLOW_S}, forms=("plain",)
    ),
    "queue": Cause(("provider",), contention, {"headers": SILENT}),
    "own pool": Cause(("us",), lambda s: s.pool_s, {"headers": SILENT}),
    "own loop": Cause(("us",), lambda s: s.lag_s, {"headers": SILENT}, kinds=(True,)),
    "own threads": Cause(("us",), lambda s: s.client_s + s.consumer_s, {"headers": SILENT}),
    "own thread pool": Cause(("us",), lambda s: s.client_s, {"headers": SILENT}, kinds=(True,)),
    "own hook": Cause(("us",), lambda s: s.sdk_s, {"headers": SILENT}),
    "own consumer": Cause(("us",), lambda s: s.consumer_s, {"headers": SILENT}, forms=("stream",)),
    "slow network": Cause(("network", "unknown"), lambda s: (s.unexplained_s or 0.0) + s.network_s, {}),
    "slow look-up": Cause(("network",), lambda s: s.network_s, {"headers": SILENT}),
    "retries": Cause(("provider",), lambda s: s.retries_s),
}


class Setting(NamedTuple):
    """Where a cell's calls go and how."""

    cause: str
    vendor: str
    is_async: bool
    stream: bool
    server: Server

    @property
    def port(self) -> int:
        """Where to send."""
        return self.server.slow_port if self.cause == "slow network" else self.server.port


def client_of(setting: Setting) -> Any:
    """A wrapped client whose requests carry the cause's fault."""
    sdk = importlib.import_module(setting.vendor)
    family = importlib.import_module("httpx" if setting.vendor in ("cohere", "httpx") else "httpx2")
    name = "localhost" if setting.cause in ("slow look-up", "own thread pool") else "127.0.0.1"
    url = f"http://{name}:{setting.port}" + ("/v1" if setting.vendor in ("openai", "httpx") else "")
    fault = _fault(setting)
    limits = family.Limits(max_connections=1 if setting.cause == "own pool" else 100)
    infix = "Async" if setting.is_async else ""
    hooks = {"request": [_hook_async if setting.is_async else _hook]} if setting.cause == "own hook" else {}
    bare = {"base_url": url} if setting.vendor == "httpx" else {}
    http = getattr(family, f"{infix}Client")(
        headers={"x-fault": json.dumps(fault)} if fault else {}, limits=limits, timeout=60, event_hooks=hooks, **bare
    )
    if setting.vendor == "httpx":
        return wrap(http)
    given = {"httpx_client" if setting.vendor == "cohere" else "http_client": http}
    cls = {"openai": "OpenAI", "anthropic": "Anthropic", "cohere": "ClientV2"}[setting.vendor]
    return wrap(getattr(sdk, infix + cls)(api_key="k", base_url=url, **given))


def _hook(_: Any) -> None:
    time.sleep(SLOW_S)


async def _hook_async(_: Any) -> None:
    await asyncio.sleep(SLOW_S)


def _fault(setting: Setting) -> dict[str, Any]:
    if setting.cause == "slow network":  # the server says what it took; the proxy holds it back
        took = str(int(1000 * ANSWER_S)) if not setting.stream else "3"
        return {"headers": dict.fromkeys(SILENT, took)}
    return CAUSES[setting.cause].fault


def _call(setting: Setting, client: Any) -> Any:
    body: dict[str, Any] = {"model": "m", "messages": HELLO}
    if setting.vendor == "anthropic":
        body["max_tokens"] = 16
    if setting.vendor == "cohere":
        return (client.chat_stream if setting.stream else client.chat)(**body)
    if setting.vendor == "httpx":
        args = {"method": "POST", "url": "/chat/completions", "json": {**body, "stream": setting.stream}}
        return client.stream(**args) if setting.stream else client.request(**args)
    made = client.chat.completions if setting.vendor == "openai" else client.messages
    return made.create(**body, **({"stream": True} if setting.stream else {}))


def sync_call(setting: Setting, client: Any) -> None:
    """One call, read to its end."""
    answer = _call(setting, client)
    if not setting.stream:
        return
    if setting.vendor == "httpx":
        with answer as response:
            for _ in response.iter_bytes():
                _hold(setting, time.sleep)
        return
    for _ in answer:
        _hold(setting, time.sleep)


async def async_call(setting: Setting, client: Any) -> None:
    """``sync_call`` with await."""
    answer = _call(setting, client)
    if setting.vendor == "httpx" and setting.stream:
        async with answer as response:
            async for _ in response.aiter_bytes():
                await _held(setting)
        return
    if not (setting.vendor == "cohere" and setting.stream):
        answer = await answer
    if setting.stream:
        async for _ in answer:
            await _held(setting)


def _hold(setting: Setting, sleep: Callable[[float], None]) -> None:
    if setting.cause == "own consumer":
        sleep(SLOW_S / 2)


async def _held(setting: Setting) -> None:
    if setting.cause == "own consumer":
        await asyncio.sleep(SLOW_S / 2)


def run(setting: Setting, n: int) -> list[Call]:
    """The calls of a cell, side by side, after one that connects and warms the SDK; the records of all but that one."""
    with testing.recording() as recorded:
        if setting.is_async:
            asyncio.run(_run_async(setting, n, recorded))
        else:
            _run_sync(setting, n, recorded)
        return list(recorded())


def _run_sync(setting: Setting, n: int, recorded: testing.Recording) -> None:
    client = client_of(setting)
    with cause_of(setting, n, warm=True):
        sync_call(setting, client)
    recorded.clear()
    clients = [client_of(setting) for _ in range(n)] if setting.cause == "slow look-up" else [client] * n
    with cause_of(setting, n):
        threads = [threading.Thread(target=sync_call, args=(setting, one)) for one in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


async def _run_async(setting: Setting, n: int, recorded: testing.Recording) -> None:
    client = client_of(setting)
    with cause_of(setting, n, warm=True):
        await async_call(setting, client)
    recorded.clear()
    several = setting.cause in ("slow look-up", "own thread pool")
    clients = [client_of(setting) for _ in range(n)] if several else [client] * n
    if setting.cause == "own thread pool":
        loop = asyncio.get_running_loop()
        for _ in range(64):
            loop.run_in_executor(None, time.sleep, SLOW_S / 2)
    with cause_of(setting, n):
        calls = [asyncio.create_task(async_call(setting, one)) for one in clients]
        if setting.cause == "own loop":
            await asyncio.sleep(ANSWER_S / 2)
            time.sleep(SLOW_S + ANSWER_S)
        await asyncio.gather(*calls)


@contextmanager
def cause_of(setting: Setting, n: int, warm: bool = False) -> Iterator[None]:
    """What of the program itself makes calls slow, while the block runs."""
    if not warm and setting.cause == "retries":
        setting.server.refuse(n)
    if warm:
        yield
    elif setting.cause == "own threads":
        stop: list[int] = []

        def burn() -> None:
            while not stop:
                sum(range(100_000))

        threads = [threading.Thread(target=burn, daemon=True) for _ in range(12)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.append(1)
            for thread in threads:
                thread.join()
    elif setting.cause == "slow look-up":
        look_up = socket.getaddrinfo

        def slowly(*args: Any, **kwargs: Any) -> Any:
            time.sleep(SLOW_S)
            return look_up(*args, **kwargs)

        socket.getaddrinfo = slowly
        try:
            yield
        finally:
            socket.getaddrinfo = look_up
    else:
        yield


QUIET = RuntimeProfile(id="quiet", model="m", prompt_knots=((1.0, ANSWER_S),), d0=0.0)


class Cell(NamedTuple):
    """What a cell came to."""

    slow: int
    right: int
    verdicts: dict[str, int]
    wrong_side: int
    """Calls of ours that were called the provider's, or the provider's that were called ours."""
    seconds_off: float
    """Share by which the seconds attributed to the cause differ from those beyond the quiet day, over all slow calls."""
    sum_off_s: float
    """By how much parts add up to something else than raw, at most."""

    @property
    def held(self) -> bool:
        """Whether every bound is."""
        exact = self.seconds_off <= WITHIN and self.sum_off_s <= SUM_S
        return self.right >= RIGHT_SHARE * self.slow and not self.wrong_side and exact


def judge(cause: Cause, calls: list[Call], quiet: bool) -> Cell:
    """Verdicts and seconds of a cell's calls beside the given quiet day."""
    verdicts: Counter[str] = Counter()
    right = wrong = 0
    attributed = injected = off = 0.0
    for call in calls:
        parts = split(join_call(call, Catalog(denoised={call.deployment.key: QUIET})))
        assert parts is not None
        off = max(off, abs(_total(parts) - parts.raw_s))
        beyond = parts.raw_s + parts.consumer_s - ANSWER_S
        if not quiet and parts.raw_s + parts.consumer_s < SLOW_FROM_S:
            continue
        verdicts[parts.verdict if parts.kind is None else f"us ({parts.kind})"] += 1
        right += parts.verdict in cause.verdicts
        ours = "us" in cause.verdicts
        wrong += (ours and parts.verdict == "provider") or (not ours and parts.verdict == "us")
        attributed, injected = attributed + cause.part(parts), injected + beyond
    share = 0.0 if quiet or not injected else abs(attributed - injected) / injected
    return Cell(sum(verdicts.values()), right, dict(verdicts), wrong, share, off)


def _total(s: Split) -> float:
    parts = (s.admission_s, s.model_s, s.contention_s, s.unexplained_s)
    return s.retries_s + s.client_s + s.network_s + sum(part or 0.0 for part in parts)


def cells(args: argparse.Namespace) -> Iterator[tuple[str, Cell]]:
    """(name, result) of every cell asked for."""
    plain, queue = Server(), Server(queue=True)
    try:
        for name in args.causes:
            cause = CAUSES[name]
            for vendor in args.vendors:
                if name == "retries" and vendor == "httpx":
                    continue  # it does not try again by itself
                for is_async in cause.kinds:
                    for form in cause.forms if (name, vendor) != ("retries", "cohere") else ("plain",):
                        server = queue if name == "queue" else plain
                        setting = Setting(name, vendor, is_async, form == "stream", server)
                        cell = judge(cause, run(setting, args.calls), name == "quiet")
                        yield f"{name:22}{vendor:10}{'async' if is_async else 'sync':6}{form:7}", cell
    finally:
        plain.close()
        queue.close()


def main() -> int:
    """Run the cells; print one line each; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--vendors", nargs="+", default=["openai", "anthropic", "cohere", "httpx"])
    parser.add_argument("--causes", nargs="+", default=list(CAUSES), choices=list(CAUSES))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    broken = 0
    for name, cell in cells(args):
        broken += not cell.held
        print(
            f"{name} right {cell.right} of {cell.slow}  seconds off {100 * cell.seconds_off:4.1f}%"
            f"  wrong side {cell.wrong_side}  {'' if cell.held else 'BROKEN '}{cell.verdicts}",
            flush=True,
        )
        found[" ".join(name.split())] = cell._asdict()
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    print(f"{len(found)} cells, {broken} with a bound broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
