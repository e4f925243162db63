"""A run of trio that is held up by the program's own tasks: their time, not the server's."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

import tracewrap
from fake_vendor import SLOW_ANSWER_S as ANSWER_S
from fake_vendor import FakeVendor, Timing
from tracewrap import testing
from tracewrap.capture import lag

trio = pytest.importorskip("trio")
HELD_S = 0.5
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _beside(other: Callable[[], Awaitable[None]], url: str, seen: list[Any] | None = None) -> None:
    """A call in a run of trio, its connection open and the SDK warm, and *other* beside it."""

    async def main() -> None:
        async with tracewrap.wrap(openai.AsyncOpenAI(api_key="k", base_url=url)) as client:
            await client.chat.completions.create(**BODY)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other)
                await client.chat.completions.create(**BODY)
            if seen is not None:
                while lag._runs[trio.lowlevel.current_trio_token()]._looking:
                    await trio.sleep(0)
                seen.append(True)

    trio.run(main)


def test_a_held_run_is_late(slow: FakeVendor, recorded: testing.Recording) -> None:
    """The answer lay there while a task of the program ran: at most so long, and it says what held it up."""

    async def hold() -> None:
        await trio.sleep(ANSWER_S / 4)
        time.sleep(HELD_S)

    _beside(hold, slow.openai_url)
    call = recorded()[-1]
    assert (call.client_lag_s or 0.0) >= HELD_S * 0.8
    assert call.client_lag_kind == "event_loop"


def test_short_steps_of_other_tasks_are_not(recorded: testing.Recording) -> None:
    """Work between which the run looks at the network delays an answer by one step at most, however much of it there is."""

    async def steps() -> None:
        for _ in range(20):
            time.sleep(0.01)
            await trio.sleep(0.02)

    with FakeVendor(Timing(overhead_s=3 * ANSWER_S)) as slower:
        _beside(steps, slower.openai_url)
    call = recorded()[-1]
    assert call.network_s is not None
    assert (call.client_lag_s or 0.0) < ANSWER_S


def test_nothing_looks_on_when_no_call_is_in_flight(slow: FakeVendor, recorded: testing.Recording) -> None:
    """The instrument is taken off soon after the last call, and of a run that has ended nothing is kept."""
    seen: list[Any] = []
    _beside(trio.lowlevel.checkpoint, slow.openai_url, seen)
    assert seen == [True]
    gc.collect()
    assert not lag._runs
