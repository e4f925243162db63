"""The documentation is true: its commands and code run, its reference has everything the code has, it builds without a warning.

A page's ``python`` and ``sh`` blocks run in their order, in a folder that holds some days of calls; ``toml`` blocks are written to the file
that their first line names. ``console`` blocks are what would install something or need a server that is not here.
"""

from __future__ import annotations

import ast
import os
import random
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

import made_days
import tracewrap
from fake_jaeger import FakeJaeger
from fake_vendor import FakeVendor
from tracewrap import cli, records, semconv, settings
from tracewrap.estimate import joiner
from tracewrap.records import Call, TokenUsage

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if "reference" not in path.relative_to(DOCS).parts and "_build" not in path.parts
)
ELSEWHERE = ("pip install ", "docker compose ", "export ", "OTEL_TRACES_EXPORTER=", "tracewrap ")
"""How lines begin that are shown and not run here: installing, servers, and commands that need one."""
MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found]


def calls() -> list[Call]:
    """Two days of two models, forty calls each, some of them slowed."""
    dice = random.Random(3)
    made = []
    for number in range(1, 161):
        p, o = dice.choice((100, 800, 3000)), dice.choice((1, 30, 200))
        raw = (0.2 + 1e-4 * p + 0.01 * o) * (1.0 + (dice.random() < 0.3) * dice.random())
        model = (MODEL, "gpt-4o-mini")[number % 2]
        made.append(
            made_days.call(
                number,
                number * 0.29,
                request_model=model,
                response_model=model,
                raw_runtime_s=raw,
                usage=TokenUsage(p, o, source="reported"),
            )
        )
    return made


@pytest.fixture
def jaeger() -> Iterator[FakeJaeger]:
    """A Jaeger that holds the calls."""
    server = FakeJaeger(calls())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _prepare(folder: Path) -> None:
    """What a reader of the pages has: calls, the program of the first page, samples of a measurement."""
    made_days.write_log(folder / "calls" / "spans-1.jsonl", calls())
    (program,) = [text for language, text in blocks(DOCS / "getting-started.md") if language == "python"]
    bare = re.sub(r"tracewrap\.wrap\((.*)\)$", r"\1", program, flags=re.MULTILINE)
    (folder / "app.py").write_text(
        "\n".join(line for line in bare.splitlines() if "tracewrap" not in line) + "\n", encoding="utf-8"
    )
    rows = [f"{p},{o},{0.05 + 5e-5 * p + 0.01 * o}" for p in (1, 256, 512, 1024, 2048) for o in (1, 32, 64)]
    (folder / "samples.csv").write_text("\n".join(["input_tokens,output_tokens,runtime_s", *rows]), encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path, vendor: FakeVendor, jaeger: FakeJaeger) -> None:
    """Every command and every piece of Python of a page ends well, in the order of the page."""
    _prepare(tmp_path)
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": vendor.openai_url,
        "TRACEWRAP_JAEGER": jaeger.source,
    }
    command = f'"{sys.executable}" -m tracewrap '
    for language, text in blocks(page):
        if language == "python":
            run = [sys.executable, "-c", text]
        elif language == "sh":
            here = re.sub(r"^tracewrap ", lambda _: command, text, flags=re.MULTILINE)
            run = [
                "sh",
                "-ec",
                here.replace("-- python ", f'-- "{sys.executable}" ').replace(
                    "jaeger://localhost:16686", jaeger.source
                ),
            ]
        else:
            if language == "toml":
                (tmp_path / text.split()[1]).write_text(text, encoding="utf-8")
            continue
        ran = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, f"{text}\n{ran.stdout[-1500:]}{ran.stderr[-1500:]}"
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_is_at_least_there(page: Path) -> None:
    """Languages are known; a command that is only shown has options and subcommands that exist; extras exist."""
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for language, text in blocks(page):
        assert language in ("python", "sh", "toml", "console", "text"), language
        for line in text.splitlines() if language == "console" else ():
            assert line.startswith(ELSEWHERE), line
            for extra in re.findall(r"tracewrap\[([\w,]+)\]", line):
                assert all(re.search(rf"^{one} = \[", extras, re.MULTILINE) for one in extra.split(",")), line
            if line.startswith("tracewrap "):
                words = shlex.split(line.partition(" -- ")[0])[1:]
                target = cli.COMMANDS[words[0]]
                known = reference_pages().commands_page()
                assert f"## tracewrap {' '.join(words[: 2 if isinstance(target, dict) else 1])}\n" in known
                assert all(word in known for word in words if word.startswith("-")), line


def reference_pages():  # type: ignore[no-untyped-def]
    """The module that makes the reference."""
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    return import_module("reference_pages")


def test_reference_has_every_setting() -> None:
    """Each setting with its variable, what it means and what it may be; no other."""
    page = reference_pages().settings_page()
    names = re.findall(r"^\| `(\w+)` \| `(\w+)`", page, re.MULTILINE)
    assert names == [(one.name, settings.PREFIX + one.name.upper()) for one in fields(settings.Settings)]
    assert not re.search(r"\|\s*\|$", page, re.MULTILINE)


def test_reference_has_every_attribute() -> None:
    """Each name on the wire with its meaning; no other."""
    page = reference_pages().attributes_page()
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", page, re.MULTILINE)
    there = {
        value
        for name, value in vars(semconv.names).items()
        if name.isupper() and isinstance(value, str) and "." in value
    }
    assert {name for name, _ in rows} == there
    assert all(meaning.strip() for _, meaning in rows)


def test_reference_has_every_status() -> None:
    """Each status that the join can give, and each verdict; no other."""
    tree = ast.parse(Path(joiner.__file__).read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    pages = reference_pages()
    shape = re.compile(r"(?:no|not|unknown)_[a-z_]+|partial|failed|ok")
    assert set(pages.STATUSES) == {text for text in texts if shape.fullmatch(text)}
    assert set(pages.VERDICTS) == set(get_args(records.Verdict))


def test_reference_has_every_metric_command_and_name() -> None:
    """Metrics have a meaning and a unit, commands their help, public names their docstring."""
    pages = reference_pages()
    assert all(one.description and one.unit for one in pages.metrics_recorded())
    assert re.findall(r"^## tracewrap (.*)$", pages.commands_page(), re.MULTILINE) == list(pages.commands())
    assert re.findall(r"^## (\w+)$", pages.python_page(), re.MULTILINE) == list(tracewrap.__all__)


def test_documentation_builds(tmp_path: Path) -> None:
    """Sphinx builds it, links and contents included, without a warning."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-n", "-b", "html", str(DOCS), str(tmp_path / "site")]
    ran = subprocess.run([*command, "-d", str(tmp_path / "trees")], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "site" / "howto" / "jaeger.html").exists()
