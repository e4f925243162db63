"""Documents for those who carry the project on are true: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tracewrap"
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|toml|json|md|txt|cff|yaml|yml))")


def _named(text: str) -> list[tuple[str, str]]:
    """(path, the line's first path before it) for every path in backticks; a bare name "there" belongs to that folder."""
    found = []
    for line in text.splitlines():
        paths = [quoted for quoted in re.findall(r"`([^`\s]+)`", line) if _PATH.fullmatch(quoted)]
        found += [(path, paths[0]) for path in paths]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_named_are_there(document: str) -> None:
    """Every file and folder in backticks exists: from the root, in the package, beside the document, or in the row's folder."""
    missing = []
    for path, first in _named((ROOT / document).read_text(encoding="utf-8")):
        places = (ROOT, SOURCE, (ROOT / document).parent, ROOT / first, SOURCE / first)
        if not any((place / path).exists() for place in places):
            missing.append(path)
    assert not missing


def test_every_room_is_on_the_map() -> None:
    """ARCHITECTURE.md names every folder and every file of the package's first floor, and no other."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("## The rooms")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    there = {path.name for path in SOURCE.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")}
    assert named == there


def test_make_targets_named_exist() -> None:
    """``make x`` in a document is a target of the Makefile, and every target a user calls is in CONTRIBUTING.md."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in (*DOCUMENTS, "README.md"):
        asked = set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)`", (ROOT / document).read_text(encoding="utf-8")))
        assert asked <= targets, document
    helped = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [target for target in targets if f"make {target}" not in helped]


def test_every_benchmark_is_explained() -> None:
    """benchmarks/README.md has a row for every script of the folder, and no other; ``make bench`` runs scripts that are there."""
    folder = ROOT / "benchmarks"
    rows = set(re.findall(r"^\| `(\w+\.py)`", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {path.name for path in folder.glob("*.py")}
    default = re.search(r"^B \?= (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert default is not None
    assert {f"{name}.py" for name in default[1].split()} <= rows
