"""Every example runs; one that no test runs fails here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake_vendor import FakeVendor
from tracewrap.sources import read_calls

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLIENTS = ["01_wrap_client.py", "02_instrument.py", "03_own_pipeline.py"]
ELSEWHERE = {"measure_reference.py"}
"""Examples with a test file of their own."""


def _run(name: str, *arguments: str, cwd: Path, url: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENAI_API_KEY": "k", "TRACEWRAP_DENOISE": "false"}
    if url is not None:
        environment["OPENAI_BASE_URL"] = url
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=60)


@pytest.mark.parametrize("name", CLIENTS)
def test_client_example_runs(name: str, tmp_path: Path, vendor: FakeVendor) -> None:
    """The example talks to its vendor, prints the answer and reports the call with an idealized runtime."""
    ran = _run(name, "meta-llama/Llama-3.1-8B-Instruct", cwd=tmp_path, url=vendor.openai_url)
    assert ran.returncode == 0, ran.stderr
    assert "idealized" in ran.stdout + ran.stderr


def test_rejoin_example_runs(tmp_path: Path, vendor: FakeVendor) -> None:
    """What one example recorded, another joins with a stack that is named."""
    recorded = _run("01_wrap_client.py", "meta-llama/Llama-3.1-8B-Instruct", cwd=tmp_path, url=vendor.openai_url)
    assert recorded.returncode == 0, recorded.stderr
    assert len(list(read_calls(str(tmp_path / "calls")))) == 1
    ran = _run("04_rejoin.py", "calls", "h100-sxm:vllm", cwd=tmp_path)
    assert "h100-sxm:vllm" in ran.stdout, ran.stderr


def test_every_example_has_a_test() -> None:
    """A new example needs a test."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*CLIENTS, "04_rejoin.py"} | ELSEWHERE & {
        path.name for path in EXAMPLES.glob("*.py")
    }
