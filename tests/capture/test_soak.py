"""The soak of benchmarks/soak.py, small: a third of the streams closed early or broken, nothing lost and nothing kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for name in ("openai", "anthropic", "cohere", "httpx"):
    pytest.importorskip(name)


def test_small_soak() -> None:
    """Records equal calls with the right outcomes, no task is left, no object is kept: in a process where nothing else comes and goes."""
    code = "import json, soak; print(json.dumps(soak.run(calls=300, tasks=20)))"
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root / "benchmarks"), str(root / "tests")])
    command = [sys.executable, "-W", "ignore", "-c", code]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["records_equal_calls"], result
    assert result["tasks_left"] == 0
    assert result["dropped"] == 0
    # The first round warms up. From the second round to the last lie 180 calls: what is kept of each is at least one object of ours.
    assert result["keeps_nothing"], result
    # All objects, pools and timers of the SDKs too, waver by some hundreds: this sees a call that is kept with all it holds, eight a call.
    objects = result["objects"]
    assert min(objects[3:]) - min(objects[1:3]) < 720, result
