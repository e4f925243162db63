"""End to end on a real model: llama.cpp with SmolLM2-135M on this machine, called through the real OpenAI SDK.

Orderings, counts and ratios within one run; no absolute time. Two tests compare runtimes of one run with each other: they need the machine
to themselves, measure whether they had it, and are skipped, with the figure, where something else took part of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

from tracewrap import testing, wrap
from tracewrap.demo import scenario, server
from tracewrap.errors import TracewrapError, UnstableSamplesWarning

pytestmark = pytest.mark.real

if find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed (pip install 'tracewrap[demo]')", allow_module_level=True)
try:
    server.weights()
except TracewrapError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for the short tests."""
    with server.serving() as address:
        yield address


_SPIN = """
import time
wall, cpu = time.perf_counter(), time.process_time()
while time.perf_counter() < wall + 1.0:
    pass
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""
_free: list[float] = []
"""Shares of this machine's processors that were to be had, before and after the scenario."""


def _share_to_be_had() -> float:
    """The part of all processors that programs of ours get when each tries to keep one busy for a second."""
    command = [sys.executable, "-c", _SPIN]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)]
    return statistics.mean(float(program.communicate(timeout=60)[0]) for program in programs)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> scenario.Outcome:
    """One run of the demo's scenario."""
    _free.append(_share_to_be_had())
    with warnings.catch_warnings():  # how quiet the machine was is for those tests to ask that need it so
        warnings.simplefilter("ignore", UnstableSamplesWarning)
        played = scenario.play(tmp_path_factory.mktemp("demo"), repeats=3, progress=lambda what, share: None)
    _free.append(_share_to_be_had())
    return played


@pytest.fixture
def undisturbed(outcome: scenario.Outcome) -> scenario.Outcome:
    """The same run, if nothing else ran beside it."""
    if min(_free) < 0.9:
        pytest.skip(f"something else runs here: only {min(_free):.0%} of the processors were to be had")
    return outcome


def _client(url: str) -> openai.OpenAI:
    return wrap(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))


def test_token_counts_are_the_servers_own(url: str, recorded: testing.Recording) -> None:
    """Plain, streamed, chat and text: what the span says is what the server counted."""
    counted: list[tuple[int, int]] = []
    with closing(_client(url)) as client:
        exact: dict[str, Any] = {"extra_body": {"ignore_eos": True, "cache_prompt": False}}
        for prompt, output in ((5, 3), (40, 7)):
            answer = client.completions.create(
                model=server.MODEL, prompt=list(range(1000, 1000 + prompt)), max_tokens=output, **exact
            )
            timings = (answer.model_extra or {})["timings"]
            counted.append((timings["prompt_n"], timings["predicted_n"]))
            assert counted[-1] == (prompt, output)
        messages: Any = [{"role": "user", "content": "Name a pelican."}]
        chat = client.chat.completions.create(model=server.MODEL, messages=messages, max_tokens=6, **exact)
        timings = (chat.model_extra or {})["timings"]
        counted.append((timings["prompt_n"], timings["predicted_n"]))
        stream = client.chat.completions.create(
            model=server.MODEL, messages=messages, max_tokens=6, stream=True, **exact
        )
        last = list(stream)[-1]
        timings = (last.model_extra or {}).get("timings") or counted[-1]
        counted.append(counted[-1] if isinstance(timings, tuple) else (timings["prompt_n"], timings["predicted_n"]))
    calls = recorded()
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls if call.usage] == counted
    assert [call.usage.source for call in calls if call.usage] == ["reported"] * 4
    assert calls[3].time_to_first_chunk_s is not None
    assert calls[3].raw_runtime_s is not None
    assert 0 < calls[3].time_to_first_chunk_s < calls[3].raw_runtime_s


def test_usage_chunk_is_hidden_from_the_consumer(url: str, recorded: testing.Recording) -> None:
    """The chunk that reports usage because we asked for it is not seen; asked for by the consumer, it is."""
    ask: dict[str, Any] = {
        "model": server.MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 3,
        "stream": True,
    }
    with closing(_client(url)) as client:
        assert all(chunk.choices for chunk in client.chat.completions.create(**ask))
        asked = list(client.chat.completions.create(**ask, stream_options={"include_usage": True}))
    assert [bool(chunk.choices) for chunk in asked][-1] is False
    assert [call.usage.source for call in recorded() if call.usage] == ["reported", "reported"]


def test_every_call_is_one_span(outcome: scenario.Outcome) -> None:
    """As many spans as calls: 9 cells, streaming and not, three times each."""
    assert len(outcome.joined) == 3 * 3 * 2 * 3
    assert len({(item.call.trace_id, item.call.span_id) for item in outcome.joined}) == len(outcome.joined)
    assert {(cell.input_tokens, cell.output_tokens) for cell in outcome.cells} == {
        (p, o) for p in scenario.INPUT_TOKENS for o in scenario.OUTPUT_TOKENS
    }


def test_raw_is_seldom_below_denoised(undisturbed: scenario.Outcome) -> None:
    """Under load at least 85% of calls take no less than the quiet-day estimate (5% slack for timer noise)."""
    pairs = [(i.call.raw_runtime_s, i.denoised_runtime.value) for i in undisturbed.joined if i.denoised_runtime]
    assert len(pairs) == len(undisturbed.joined), undisturbed.verdicts
    above = sum(1 for raw, denoised in pairs if raw is not None and raw >= 0.95 * denoised)
    assert above / len(pairs) >= 0.85


def test_denoised_is_near_the_exclusive_profile(undisturbed: scenario.Outcome) -> None:
    """With one competing client the denoised profile lies within 25% of the model measured alone, at the median cell."""
    ratios = [cell.denoised_s / cell.idealized_s for cell in undisturbed.cells if cell.denoised_s is not None]
    assert statistics.median(abs(ratio - 1) for ratio in ratios) <= 0.25, ratios
    raw = sum(cell.raw_s for cell in undisturbed.cells)
    denoised = sum(cell.denoised_s or 0.0 for cell in undisturbed.cells)
    assert denoised < raw


def test_demo_command_writes_what_it_says(tmp_path: Path) -> None:
    """``tracewrap demo`` prints the table and leaves span log, reference profile and page."""
    command = [sys.executable, "-m", "tracewrap", "demo", "--repeats", "1", "-o", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert "idealized" in ran.stdout
    assert "total" in ran.stdout
    assert len(list((tmp_path / "calls").glob("*.jsonl"))) == 1
    assert (tmp_path / "reference.json").exists()
    page = (tmp_path / "report.html").read_text()
    assert server.MODEL in page
    assert len(page) < 2_000_000
