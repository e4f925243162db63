"""Without the packages of an extra a command says in one line what to install, and never fails with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from made_days import call, write_log

EXTRAS = {
    "report": ("duckdb", "sqlglot", "rich", "jinja2", "genai_prices", "numpy", "scipy"),
    "fit": ("numpy", "scipy"),
    "profiler": ("torch", "numpy", "scipy"),
}
NEEDS = [
    ("report", "report log"),
    ("report", "compare day=2026-11-20 day=2026-11-21 --source log"),
    ("report", "whatif log"),
    ("report", "check log --limits limits.toml"),
    ("report", "lake compact log lake"),
    ("report", "export log --otlp http://127.0.0.1:9"),
    ("report", "report log -o day.html"),
    ("fit", "denoise log -o quiet/"),
    ("fit", "profile fit samples.csv -o p.json"),
    ("fit", "profile design --n 3"),
    ("fit", "profile probe --model m --max-input-tokens 10 -o p.json --yes"),
    ("profiler", "profile measure --model config.json --device cpu -o p.json"),
]


def _without(packages: tuple[str, ...], arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``tracewrap`` *arguments* where *packages* are not installed."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({packages!r}))"
    code = f"{hide}; from tracewrap.cli import main; sys.exit(main({arguments.split()!r}))"
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACEWRAP_"))}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=quiet, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A span log, limits, samples and a model's configuration."""
    write_log(tmp_path / "log" / "a.jsonl", [call(1, 0)])
    (tmp_path / "limits.toml").write_text("[limits]\nraw_p95_s = 1\n")
    (tmp_path / "samples.csv").write_text("input_tokens,output_tokens,runtime_s\n1,1,1.0\n")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("extra", "arguments"), NEEDS, ids=[arguments for _, arguments in NEEDS])
def test_one_line_names_the_extra(extra: str, arguments: str, folder: Path) -> None:
    """Exit code 2."""
    packages = EXTRAS["report"] if extra == "fit" else EXTRAS[extra]
    ran = _without(packages, arguments, folder)
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert f"pip install 'tracewrap[{extra}]'" in ran.stderr


def test_top_needs_none(folder: Path) -> None:
    """The live view of one frame runs on the core alone."""
    ran = _without(EXTRAS["report"], "top log --once", folder)
    assert ran.returncode == 0, ran.stderr
    assert "tracewrap top log" in ran.stdout
