"""The public names: sorted, complete, lazy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tracewrap


def test_all_is_sorted_and_resolves() -> None:
    """Every name in ``__all__`` exists, and the list is in order."""
    assert tracewrap.__all__ == sorted(tracewrap.__all__)
    for name in tracewrap.__all__:
        assert getattr(tracewrap, name) is not None
    assert set(dir(tracewrap)) == set(tracewrap.__all__)


def test_unknown_names_are_refused() -> None:
    """A name that does not exist is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tracewrap.nonsense  # noqa: B018


@pytest.mark.parametrize("first", ["tracewrap.estimate.catalog", "tracewrap"])
def test_join_is_callable_whatever_was_imported_first(first: str) -> None:
    """``tracewrap.join(calls, catalog)`` works although a room has the same name."""
    code = f"import {first}, tracewrap; print(list(tracewrap.join([], tracewrap.load_catalog(shipped=False))))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_importing_prints_nothing_and_is_lazy() -> None:
    """``import tracewrap`` alone does not even load OpenTelemetry."""
    code = "import sys, tracewrap; print('opentelemetry' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("False", "")
