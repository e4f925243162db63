"""The README is true: its commands exist and parse, its Python runs, its files are there."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tracewrap.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> list[str]:
    """Every ``tracewrap ...`` line of the README's indented blocks, without its comment."""
    lines = [line.strip() for line in README.splitlines() if line.startswith("    tracewrap ")]
    return [line.partition("  #")[0].strip() for line in lines]


def _words(command: str) -> list[str]:
    """The command's words that name it: ``profile fit``."""
    words = shlex.split(command)[1:]
    return words[:2] if isinstance(COMMANDS.get(words[0]), dict) else words[:1]


@pytest.mark.parametrize("command", _commands())
def test_command_exists_and_knows_its_options(command: str) -> None:
    """Each command answers --help, and its help names every option that the README uses."""
    words = _words(command)
    ran = subprocess.run(
        [sys.executable, "-m", "tracewrap", *words, "--help"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", command):
        assert option in ran.stdout, f"{command}: {option} is not an option"


def test_every_command_of_the_readme_is_listed_once() -> None:
    """No command is shown twice with the same words and options."""
    assert len(_commands()) == len(set(_commands())) > 10


def _paths() -> list[str]:
    """Every command that there is: ``profile fit``."""
    return [
        path
        for name, target in COMMANDS.items()
        for path in ([f"{name} {inner}" for inner in target] if isinstance(target, dict) else [name])
    ]


@pytest.mark.parametrize("path", _paths())
def test_every_command_is_in_the_readme(path: str) -> None:
    """No command is a secret: its name stands in a command line of the README."""
    assert re.search(rf"(?:`|^ {{4}})tracewrap {path}\b", README, re.MULTILINE)


def test_python_blocks_are_python() -> None:
    """Python in the README compiles."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)


def test_linked_files_exist() -> None:
    """Relative links lead somewhere, and every benchmark named is there."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in set(re.findall(r"python (benchmarks/\w+\.py)", README)):
        assert (ROOT / script).exists(), script


def test_make_targets_exist() -> None:
    """``make demo`` and ``make test`` are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make (\w+)`?", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
