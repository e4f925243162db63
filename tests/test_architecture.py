"""Who may import whom: the floors of the house, checked by reading every import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tracewrap"

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "words": set(),
    "records": set(),
    "semconv": {"records"},
    "runtime": {"records", "errors"},
    "formats": {"runtime", "words", "records", "errors"},
    "prices": {"records", "semconv", "errors"},
    "vendors": {"records", "errors"},
    "capture": {"vendors", "records", "semconv", "errors"},
    "learn": {"runtime", "records", "semconv", "errors"},
    "estimate": {"prices", "formats", "runtime", "records", "semconv", "errors"},
    "sinks": {"records", "words", "semconv", "errors"},
    "sources": {"records", "semconv", "errors"},
    "live": {"sources", "runtime", "words", "records", "semconv", "errors"},
    "report": {"sources", "words", "estimate", "prices", "formats", "runtime", "records", "semconv", "errors"},
    "profiler": {"prices", "formats", "runtime", "testing", "capture", "vendors", "records", "errors"},
    "pipeline": {"capture", "estimate", "prices", "learn", "sinks", "semconv", "errors"},
    "start": {"capture", "pipeline", "estimate", "sinks", "semconv", "errors"},
    "testing": {"capture", "estimate", "records", "semconv"},
    "demo": {
        "capture",
        "estimate",
        "sinks",
        "sources",
        "report",
        "runtime",
        "records",
        "semconv",
        "errors",
        "pipeline",
    },
}
"""Room -> rooms it may import. cli and the package's own __init__ may import all."""

HEAVY = {
    "numpy",
    "scipy",
    "torch",
    "duckdb",
    "sqlglot",
    "openai",
    "anthropic",
    "cohere",
    "httpx",
    "httpx2",
    "rich",
    "jinja2",
}


def _imports(path: Path) -> Iterator[str]:
    """Modules that the file at *path* imports from tracewrap, dotted and without the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("tracewrap.") for name in names if name.startswith("tracewrap."))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    """A file imports only from the rooms that its own room may import."""
    room = _room(path)
    if room in ("cli", "__init__", "__main__"):
        return
    allowed = ALLOWED[room] | {room}
    forbidden = sorted({name for name in _imports(path) if name.split(".")[0] not in allowed})
    assert not forbidden, f"{room} may import {sorted(allowed)}, but {path.name} imports {forbidden}"


def test_rooms_form_no_circle() -> None:
    """Following allowed imports never leads back to where one started."""
    for start in ALLOWED:
        seen: set[str] = set()
        frontier = set(ALLOWED[start])
        while frontier:
            seen |= frontier
            frontier = {room for name in frontier for room in ALLOWED[name]} - seen
        assert start not in seen, f"{start} reaches itself"


def test_importing_tracewrap_is_light() -> None:
    """``import tracewrap``, wrap and configure load no numeric package and no SDK."""
    code = (
        "import sys, tracewrap; tracewrap.wrap, tracewrap.configure, tracewrap.join, tracewrap.RuntimeProfile;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not HEAVY & set(loaded.stdout.split())


def test_source_files_stay_short() -> None:
    """No source file passes 400 lines."""
    long = {str(p.relative_to(SOURCE)): n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
