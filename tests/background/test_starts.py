"""Starts of benchmarks/starts.py, a few: programs that fork at once under ``tracewrap run`` come up and lose no call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("openai")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import starts

sys.path.pop(0)


@pytest.mark.parametrize("kind", starts.KINDS)
def test_none_hangs(kind: str) -> None:
    """Servers answer and end at SIGTERM, pools end by themselves, and each call is on disk once."""
    if kind.startswith("gunicorn"):
        pytest.importorskip("gunicorn")
    row = starts.run(kind, starts=2)
    assert row.ok, row
