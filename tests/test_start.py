"""Entry points of ``opentelemetry-instrument``: the settings of TRACEWRAP_* hold there too, and a mistake is a line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tracewrap.sources import read_calls

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
