"""Commands load what they use: --help no more than its arguments, doctor no SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tracewrap.cli import seam_search
from tracewrap.vendors import adapters

HEAVY = (
    "numpy",
    "duckdb",
    "opentelemetry",
    "asyncio",
    "openai",
    "anthropic",
    "cohere",
    "google.genai",
    "httpx",
    "tracewrap.report.building",
)


def _loaded(arguments: list[str], folder: Path) -> set[str]:
    """The modules of HEAVY that ``tracewrap`` with *arguments* has loaded when it ends."""
    code = (
        "import sys\nfrom tracewrap.cli import main\ntry:\n    main(sys.argv[2:])\nexcept SystemExit:\n    pass\n"
        "print(*(name for name in sys.argv[1].split(',') if name in sys.modules))"
    )
    command = [sys.executable, "-c", code, ",".join(HEAVY), *arguments]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACEWRAP_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=folder, env=quiet)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["report", "compare", "check", "top", "doctor", "denoise", "lake compact", "run"])
def test_help_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    """No numeric package, no OpenTelemetry, no SDK, and not the report itself."""
    assert not _loaded([*command.split(), "--help"], tmp_path)


def test_doctor_imports_no_sdk(tmp_path: Path) -> None:
    """Healthy SDKs are judged by their metadata and their source."""
    assert not _loaded(["doctor"], tmp_path) & {"openai", "anthropic", "cohere", "google.genai", "httpx"}


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.package)
def test_source_and_import_agree(adapter: object) -> None:
    """Every seam of an installed SDK is found in its source as it is found by importing it."""
    try:
        version(adapter.package)  # type: ignore[attr-defined]
    except PackageNotFoundError:
        pytest.skip("not installed")
    for seam in adapter.seams:  # type: ignore[attr-defined]
        module, _, name = seam.target.partition(":")
        assert hasattr(getattr(import_module(module), name), seam.method)
        assert seam_search.has_method(seam.target, seam.method)


def test_what_the_source_does_not_show_is_not_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own methods, inherited ones, renamed imports and stars are found; a class made by code, a missing one and no package are None."""
    package = tmp_path / "made_up_sdk"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from .inner import *\nfrom .base import (\n    Base as Renamed,\n)\nMade = type('Made', (), {})\n"
    )
    (package / "inner" / "__init__.py").write_text(
        "from ..base import Base\n\n\nclass Client(Base[dict[str, int]], metaclass=type):\n    x = 1\n"
    )
    (package / "base.py").write_text(
        "class Base(Generic[T]):\n    async def request(self): ...\n\n\ndef other(self): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert seam_search.has_method("made_up_sdk:Client", "request") is True
    assert seam_search.has_method("made_up_sdk:Renamed", "request") is True
    assert seam_search.has_method("made_up_sdk:Client", "other") is None
    assert seam_search.has_method("made_up_sdk:Made", "request") is None
    assert seam_search.has_method("made_up_sdk.nowhere:Client", "request") is None
    assert seam_search.has_method("no_such_sdk:Client", "request") is None
    assert "made_up_sdk" not in sys.modules
