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
    "systems": set(),
    "lazy": set(),
    "semconv": {"records"},
    "runtime": {"systems", "records", "errors"},
    "formats": {"runtime", "words", "records", "errors"},
    "prices": {"vendors", "records", "semconv", "errors"},
    "vendors": {"records", "errors"},
    "capture": {"systems", "vendors", "records", "semconv", "errors"},
    "forks": {"systems"},
    "settings": {"errors"},
    "learn": {"systems", "runtime", "records", "semconv", "forks", "errors"},
    "estimate": {"prices", "formats", "runtime", "words", "records", "semconv", "errors"},
    "sinks": {"lazy", "systems", "estimate", "records", "words", "semconv", "errors"},
    "sources": {"lazy", "systems", "settings", "records", "semconv", "errors"},
    "live": {"systems", "sources", "runtime", "words", "records", "semconv", "errors"},
    "report": {
        "lazy",
        "systems",
        "sources",
        "words",
        "learn",
        "estimate",
        "prices",
        "formats",
        "runtime",
        "records",
        "semconv",
        "errors",
    },
    "study": {"sources", "report", "estimate", "prices", "formats", "runtime", "words", "records", "semconv", "errors"},
    "profiler": {"prices", "formats", "runtime", "testing", "capture", "vendors", "records", "errors"},
    "background": {"systems", "estimate", "sinks", "records", "semconv", "forks", "errors"},
    "pipeline": {
        "background",
        "capture",
        "estimate",
        "prices",
        "learn",
        "sinks",
        "settings",
        "records",
        "semconv",
        "errors",
    },
    "start": {"capture", "pipeline", "settings", "estimate", "sinks", "semconv", "errors"},
    "testing": {"background", "capture", "records", "semconv"},
    "pytest_plugin": {"testing"},
    "demo": {
        "systems",
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
"""Room -> rooms it may import. cli, the package's own __init__ and its hook for PyInstaller may import all."""

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
    if room in ("cli", "__init__", "__main__", "__pyinstaller"):
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


def _modules() -> dict[str, Path]:
    """Dotted name, without the package, of every file; a folder's is that of its ``__init__``, the package's own is empty."""
    named = {path.relative_to(SOURCE).with_suffix(""): path for path in SOURCE.rglob("*.py")}
    return {".".join(part for part in name.parts if part != "__init__"): path for name, path in named.items()}


def test_files_form_no_circle() -> None:
    """Following the imports of a file, those for type checkers and inside functions included, never leads back to it.

    The package's own ``__init__`` is left out: it imports the public names of every room.
    """
    modules = {name: path for name, path in _modules().items() if name}
    arrows = {
        name: {
            next((known for known in (target, target.rpartition(".")[0]) if known in modules), "")
            for target in _imports(path)
        }
        - {"", name}
        for name, path in modules.items()
    }
    circles = [cycle for name in arrows if (cycle := _way_back(arrows, name))]
    assert not circles, "\n".join(" -> ".join(cycle) for cycle in circles)


def _way_back(arrows: dict[str, set[str]], start: str) -> list[str]:
    """A shortest way from *start* along *arrows* back to it; empty when there is none."""
    ways = {name: [start, name] for name in sorted(arrows[start])}
    frontier = list(ways)
    while frontier:
        name = frontier.pop(0)
        for further in sorted(arrows[name]):
            if further == start:
                return [*ways[name], start]
            if further not in ways:
                ways[further] = [*ways[name], further]
                frontier.append(further)
    return []


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


MAX_LINES = 40
"""Lines of a function's statements; its signature and docstring, where keywords and their meaning stand, are not counted."""


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _is_a_table(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether more than half of *function* is one table, which splitting would only hide: SQL by column, a record field by field."""
    tables = (
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Dict | ast.List) or (isinstance(node, ast.Call) and len(node.keywords) > 20)
    )
    return any(2 * ((node.end_lineno or 0) - node.lineno + 1) > _lines(function) for node in tables)


def test_functions_stay_short() -> None:
    """No function has more than 40 lines of statements, unless it is one table."""
    long = {
        f"{path.relative_to(SOURCE)}: {node.name}": _lines(node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _lines(node) > MAX_LINES
        and not _is_a_table(node)
    }
    assert not long
