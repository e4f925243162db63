"""Every command writes what its output can hold: in any encoding, to a pipe that closes, to a stream that is closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracewrap import semconv
from tracewrap.cli import COMMANDS
from tracewrap.records import CallRecord
from tracewrap.sinks import SpanLog

PLACES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "latin-1, dumb, 30 columns": {"PYTHONIOENCODING": "latin-1", "TERM": "dumb", "COLUMNS": "30", "NO_COLOR": "1"},
    "C": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
}
HELP = [
    [*path.split(), "--help"]
    for name, target in COMMANDS.items()
    for path in ([name, *(f"{name} {inner}" for inner in target)] if isinstance(target, dict) else [name])
]
SHOWN = [
    ["report", "calls"],
    ["report", "calls", "--format", "md"],
    ["report", "calls", "--format", "csv"],
    ["report", "calls", "--format", "json"],
    ["top", "calls", "--once"],
    ["compare", "calls", "calls"],
    ["whatif", "calls"],
    ["check", "calls", "--limits", "limits.toml"],
    ["lake", "compact", "calls", "lake"],
    ["profile", "list"],
    ["profile", "show", "davinci"],
    ["profile", "design", "--n", "3"],
    ["profile", "verify", "nothing.json"],
    ["models", "llama-3.1-8b"],
    ["models"],
    ["doctor"],
]
ALL = """
import contextlib, json, sys, traceback
from tracewrap.cli import main
wrong = []
for arguments in json.loads(sys.argv[1]):
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    if code not in (0, 1, 2):
        wrong.append((arguments, code))
    print(f"== {' '.join(arguments)}: {code}")
sys.stdout.flush()
sys.exit(str(wrong) if wrong else 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of models whose names no old encoding has, and limits."""
    pytest.importorskip("duckdb")
    folder = tmp_path_factory.mktemp("streams")
    log = SpanLog(folder / "calls")
    for number, model in enumerate(["gpt-4o", "модель-8b", "模型", "llama-3.1-8b"] * 5, 1):
        start = 1_790_000_000_000_000_000 + number * 10**10
        attributes = {
            semconv.OPERATION: "chat", semconv.REQUEST_MODEL: model, semconv.PROVIDER: "openai",
            "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "tracewrap.runtime.raw": 2.0,
        }  # fmt: skip
        record = CallRecord(
            number, number, None, True, None, False, {}, "chat", start, start + 2 * 10**9, attributes, None
        )
        log.write([log.encoded(record, attributes)])
    (folder / "limits.toml").write_text('[[limit]]\nmeasure = "raw_p90_s"\nmost = 5.0\n')
    return folder


def _run(
    folder: Path, arguments: list[str], place: dict[str, str], **options: object
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment | place, timeout=300, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("place", PLACES)
def test_every_command_writes_in_every_encoding(folder: Path, place: str) -> None:
    """Help and output of all commands: no traceback, nothing undecodable, no sign where a plain one would do."""
    import json

    pytest.importorskip("openai")
    ran = _run(folder, ["-c", ALL, json.dumps(HELP + SHOWN)], PLACES[place], capture_output=True)
    encoding = PLACES[place].get("PYTHONIOENCODING", "ascii")
    out, said = ran.stdout.decode(encoding), ran.stderr.decode(encoding)
    assert ran.returncode == 0, said[-3000:]
    assert "Traceback" not in said + out
    assert out.count("\n== ") >= len(HELP + SHOWN) - 1
    drawing = out.partition("== profile list")[2].partition("== profile show")[0]
    assert "??" not in drawing, "boxes and curves have plain signs of their own"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    """Output that cannot be written: said in one line, exit code 2."""
    with open("/dev/full", "w") as full:
        ran = _run(folder, ["-m", "tracewrap", "profile", "list"], {}, stdout=full, stderr=subprocess.PIPE)
    assert (ran.returncode, ran.stderr.count(b"\n"), b"Traceback" in ran.stderr) == (2, 1, False), ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell's pipes")
@pytest.mark.parametrize("how", ["| true", ">&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_no_error(folder: Path, how: str) -> None:
    """`| head` ends the reading, a daemon has no streams: quietly, without a traceback."""
    shell = f'set -o pipefail; "$0" -m tracewrap profile list {how}'
    ran = subprocess.run(
        ["bash", "-c", shell, sys.executable], cwd=folder, capture_output=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
