"""The fault table of benchmarks/faults.py, small: whatever fails, each call is where it belongs or counted as lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import faults

sys.path.pop(0)


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_nothing_is_lost_uncounted(fault: str) -> None:
    """Made = logged + counted as lost, the same at the receiver, and the end keeps its bound."""
    row = faults.run(fault, calls=150)
    assert row.ok, row
    assert row.made == 150
    if fault in ("none", "receiver hangs", "receiver absent", "folder removed", "SIGTERM", "os._exit"):
        assert (row.logged, row.lost_log) == (150, 0), row
