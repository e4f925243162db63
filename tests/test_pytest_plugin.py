"""The fixture for tests of programs: the test's calls, of clients wrapped or not, and nothing of it anywhere else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tracewrap
from fake_vendor import FakeVendor
from tracewrap import testing
from tracewrap.capture.wrap import instrumented
from tracewrap.sources import read_calls

openai = pytest.importorskip("openai")
SUITE = textwrap.dedent(
    """
    import httpx2, openai, pytest, tracewrap

    ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}

    def program(questions):
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
        with httpx2.Client(transport=transport) as http:
            for _ in range(questions):
                openai.OpenAI(api_key="k", http_client=http).chat.completions.create(model="gpt", messages=[])

    @pytest.mark.parametrize("count", [2, 1])
    def test_calls(tracewrap_calls, count):
        program(count)
        assert [(call.request_model, call.usage.output_tokens) for call in tracewrap_calls()] == [("gpt", 2)] * count

    def test_without_the_fixture():
        program(1)
    """
)


def test_a_suite_asserts_its_calls(tmp_path: Path) -> None:
    """Each test sees its own calls only, from the first one, with no file or setting."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tracewrap.pytest_plugin"]\n')
    (tmp_path / "test_program.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
    assert not list(tmp_path.glob("*.jsonl"))


def test_the_pipeline_of_the_program_sees_nothing(tmp_path: Path, vendor: FakeVendor) -> None:
    """Calls of the block are in memory only; the pipeline gets what is called before and after it, and SDKs are as they were."""
    pipeline = tracewrap.configure(span_log=tmp_path / "calls", denoise=False)
    client = tracewrap.wrap(openai.OpenAI(base_url=vendor.openai_url, api_key="k"))

    def ask() -> None:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a"}])

    ask()
    before = instrumented()
    with testing.recording_all() as calls:
        ask()
    assert instrumented() == before
    ask()
    pipeline.close()
    client.close()
    assert len(calls()) == 1
    assert len(list(read_calls(str(tmp_path / "calls")))) == 2


def test_a_program_that_was_instrumented_stays_so() -> None:
    """The block undoes only what it did."""
    tracewrap.instrument()
    with testing.recording_all():
        pass
    assert instrumented()
