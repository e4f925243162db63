"""The soak of benchmarks/soak.py, small: a third of the streams closed early or broken, nothing lost and nothing kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for name in ("openai", "anthropic", "cohere", "httpx"):
    pytest.importorskip(name)

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_small_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans equal calls with the right outcomes, no task is left and no object is kept."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import soak

    result = soak.run(calls=300, tasks=20)
    sys.modules.pop("soak", None)
    assert result["spans_equal_calls"], result
    assert result["tasks_left"] == 0
    assert result["dropped"] == 0
    assert result["objects"][-1] - result["objects"][1] < 200, result
