"""Rows of the table of hosts (benchmarks/hosts.py), those without a package of their own: every call recorded once, and an end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("openai")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import hosts

sys.path.pop(0)
ROWS = [
    ("zipapp", "wrap"),
    ("asyncio", "instrument"),
    ("concurrent.futures processes", "wrap"),
    ("pytest", "opentelemetry-instrument"),
    ("gunicorn sync, preload", "instrument"),
    ("gunicorn gevent, preload", "instrument"),
    ("gunicorn uvicorn worker, preload", "instrument"),
    ("rq", "instrument"),
]


@pytest.mark.parametrize(("host", "way"), ROWS)
def test_every_call_is_recorded_once(host: str, way: str) -> None:
    """As many as were made, none twice, and the host ends by itself."""
    if missing := hosts.HOSTS[host].missing:
        pytest.skip(f"{missing} is not installed")
    if way.startswith("opentelemetry"):
        pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")
    row = hosts.run(host, way)
    assert row.ok, row


def test_a_host_that_is_missing_is_named() -> None:
    """It is left out by the name of its package, never silently."""
    assert hosts.Host(program="", command=[], needs=["sys", "no_such_package"]).missing == "no_such_package"
