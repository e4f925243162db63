"""Entry points of ``opentelemetry-instrument``: the settings of TRACEWRAP_* hold there too, and a mistake is a line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from conftest import ROOT
from fake_vendor import FakeVendor
from tracewrap import instrument, testing, uninstrument
from tracewrap.capture.seams.http_clients import NAMES
from tracewrap.capture.wrap import instrumented
from tracewrap.sources import read_calls
from tracewrap.vendors import adapters

pytest.importorskip("opentelemetry.instrumentation.instrumentor")

PROGRAM = textwrap.dedent(
    """
    from tracewrap.start.instrumentors import AnthropicInstrumentor, OpenAIInstrumentor

    AnthropicInstrumentor().instrument()
    OpenAIInstrumentor().instrument()
    import httpx2, openai

    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=transport))
    print(client.chat.completions.create(model="m", messages=[]).choices[0].message.content)
    """
)


def _run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRACEWRAP_DENOISE": "false", **variables}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=60)


def test_settings_hold_under_opentelemetry_instrument(tmp_path: Path) -> None:
    """A span log named by variable has the call, once, however many SDKs are instrumented."""
    ran = _run(tmp_path, TRACEWRAP_SPAN_LOG="calls")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "hi\n", "")
    assert len(list(read_calls(str(tmp_path / "calls")))) == 1


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    """Nobody can catch it: it is said, and the program runs."""
    ran = _run(tmp_path, TRACEWRAP_SPAN_LOG="calls", TRACEWRAP_QUEUE_SIZE="many")
    assert (ran.returncode, ran.stdout) == (0, "hi\n")
    said = "tracewrap: calls are not recorded (TRACEWRAP_QUEUE_SIZE is 'many'; set it to a whole number)\n"
    assert ran.stderr == said


def test_every_entry_point_is_an_instrumentor_of_its_own() -> None:
    """Each vendor and each HTTP library has an entry point by its name; all of them on record what ``instrument()`` records."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "opentelemetry_instrumentor"
    ]
    assert set(found) == {f"tracewrap-{name}" for name in (*(adapter.name for adapter in adapters()), *NAMES)}
    made = {name: EntryPoint(name, target, "opentelemetry_instrumentor").load()() for name, target in found.items()}
    assert {name.removeprefix("tracewrap-") for name in made} == {one.vendor for one in made.values()}
    try:
        for one in made.values():
            one.instrument(skip_dep_check=True)
        separately = set(instrumented())
    finally:
        for one in made.values():
            one.uninstrument()
    assert instrumented() == ()
    instrument()
    assert separately == set(instrumented())
    uninstrument()


def test_a_vendor_without_an_sdk_seam_is_looked_for_in_http(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """``instrument("ollama")`` records what goes to Ollama's own interface, and nothing else that httpx sends."""
    httpx = pytest.importorskip("httpx")
    instrument("ollama")
    asked = {"model": "m", "messages": [{"role": "user", "content": "a b c"}], "stream": False}
    with httpx.Client(base_url=vendor.url) as client:
        client.post("/v1/chat/completions", json=asked)
        client.post("/api/chat", json=asked)
    assert [call.provider for call in recorded()] == ["ollama"]
