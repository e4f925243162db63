"""The matrix of benchmarks/matrix.py, small: every sampling under the two ways to start tracewrap from outside, and none under all four.

What ``wrap`` and ``instrument`` record under each sampling is in ``tests/capture/test_records.py``, without a process a cell.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("openai")
pytest.importorskip("genai_prices")
pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import matrix

sys.path.pop(0)
CALLS = 12


@pytest.fixture(scope="module")
def first() -> matrix.Cell:
    """The cell that all others must be like."""
    cell = matrix.run("no sampler", "wrap", CALLS)
    assert cell.faults(cell) == []
    assert sum(cell.facts.values()) == CALLS
    assert cell.learned > 0
    assert cell.metered_usd
    return cell


CELLS = [
    ("no sampler", "instrument"),
    *((tracing, entry) for tracing in matrix.TRACINGS for entry in matrix.ENTRIES[2:]),
]


@pytest.mark.parametrize(("tracing", "entry"), CELLS)
def test_records_do_not_depend_on_tracing(tracing: str, entry: str, first: matrix.Cell) -> None:
    """The same records and costs, all calls in the metrics, and the receiver has what the sampler keeps."""
    assert matrix.run(tracing, entry, CALLS).faults(first) == []
