"""Where programs run: host x way x {calls made, recorded, doubled, seconds to exit}. Every row made = recorded, none doubled.

    python benchmarks/hosts.py [--hosts script uvicorn ...] [--ways run ...] [--frozen] [--markdown] [--json FILE]

Each row is a program of its own that makes six calls to a vendor in its memory, under one of the ways to have them recorded:
``wrap()`` or ``instrument()`` in the program, `tracewrap run`, `opentelemetry-instrument`. Servers and workers are ended by SIGTERM as
soon as their calls are made. Seconds to exit: from the last call to the end of the process. Hosts whose packages are missing are named
and left out; ``--frozen`` builds a PyInstaller program, which takes minutes. Exit 1 when a row is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipapp
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import host_programs
from host_programs import CALLS, HOSTS, Host

WAYS = ("wrap", "instrument", "run", "opentelemetry-instrument")
INSTRUMENT = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Row:
    """One host under one way. ``said``: the end of what it printed where it is wrong."""

    host: str
    way: str
    made: int
    recorded: int
    doubled: int
    exit_s: float | None
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether every call is recorded once and the host ended by itself."""
        return self.made == self.recorded == CALLS and self.doubled == 0 and self.exit_s is not None


def run(name: str, way: str, limit_s: float = LIMIT_S) -> Row:
    """Start host *name* under *way*, have it make its calls, end it, and read what it left."""
    host = HOSTS[name]
    with tempfile.TemporaryDirectory(prefix="hosts-") as home:
        folder = Path(home)
        _write(host, folder)
        port = str(host_programs.free_port())
        with (folder / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                _command(host, way, folder, port), cwd=folder, env=_environment(folder, way),
                stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            exit_s = _used(host, process, folder / "made", port, time.monotonic() + limit_s)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        made, spans = _size(folder / "made"), _span_ids(folder / "calls")
        row = Row(name, way, made, len(set(spans)), len(spans) - len(set(spans)), exit_s)
        text = (folder / "said.txt").read_text(errors="replace")[-6000:]
        return row if row.ok else Row(*list(asdict(row).values())[:-1], text)


def _write(host: Host, folder: Path) -> None:
    (folder / "inside").mkdir()
    for file, text in host_programs.files(host).items():
        (folder / file).write_text(text)
        (folder / "inside" / file.replace("program", "__main__")).write_text(text)
    if "program.pyz" in host.command:
        zipapp.create_archive(folder / "inside", folder / "program.pyz")
    if "FROZEN" in host.command:
        _freeze(folder)


def _freeze(folder: Path) -> None:
    left_out = [f"--exclude-module={name}" for name in ("torch", "pandas", "pyarrow", "numpy", "scipy")]
    command = [sys.executable, "-m", "PyInstaller", "--onedir", "--log-level", "ERROR", *left_out, "program.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=_environment(folder, "build"))


def _command(host: Host, way: str, folder: Path, port: str) -> list[str]:
    arguments = [argument.replace("PORT", port) for argument in host.command]
    if arguments == ["FROZEN"]:
        return [str(folder / "dist" / "program" / "program")]
    program = [sys.executable, *arguments]
    if way == "run":
        return [sys.executable, "-m", "tracewrap", "run", "--quiet", "--", *program]
    if way == "opentelemetry-instrument":
        return [sys.executable, "-c", INSTRUMENT, *program]
    return program


def _environment(folder: Path, way: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("TRACEWRAP_", "OTEL_"))}
    none = {f"OTEL_{kind}_EXPORTER": "none" for kind in ("TRACES", "METRICS", "LOGS")}
    paths = os.pathsep.join(filter(None, [str(folder), mine.get("PYTHONPATH")]))
    places = {"MADE": str(folder / "made"), "TRACEWRAP_SPAN_LOG": str(folder / "calls"), "PYTHONPATH": paths}
    return mine | none | places | {"WAY": way, "HOME": str(folder), "PYTHONFAULTHANDLER": "1"}


def _used(host: Host, process: subprocess.Popen[bytes], made: Path, port: str, until: float) -> float | None:
    """Have the host make its calls and end; seconds from its last call to its end, None if it did not end."""
    if host.served:
        host_programs.answers(port, CALLS, until)
    while host.ended and _size(made) < CALLS and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    if host.ended:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return max(0.0, time.time() - made.stat().st_mtime) if made.exists() else 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _span_ids(folder: Path) -> list[str]:
    """The id of every call in the span log, as often as it is there."""
    return [
        span["spanId"]
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["name"].startswith("chat")
    ]


def table(rows: Sequence[Row]) -> str:
    """*rows* as Markdown: a host a line, the ways beside each other."""
    lines = ["| host | way | made | recorded | doubled | seconds to exit |", "|---|---|---|---|---|---|"]
    for row in rows:
        end = "did not end" if row.exit_s is None else f"{row.exit_s:.1f}"
        lines.append(f"| {row.host} | {row.way} | {row.made} | {row.recorded} | {row.doubled} | {end} |")
    return "\n".join(lines)


def main() -> int:
    """Print a row as it is known; 1 when one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", nargs="+", choices=list(HOSTS), default=list(HOSTS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--frozen", action="store_true", help="PyInstaller too")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown at the end")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    rows: list[Row] = []
    print(f"{'host':<34} {'way':<26} {'made':>5} {'recorded':>9} {'doubled':>8} {'exit s':>7}")
    for name in args.hosts:
        host = HOSTS[name]
        if host.missing or ("FROZEN" in host.command and not args.frozen):
            print(f"{name:<34} left out: {f'{host.missing} is not installed' if host.missing else 'give --frozen'}")
            continue
        for way in [way for way in args.ways if way in host.ways]:
            row = run(name, way)
            rows.append(row)
            end = "-" if row.exit_s is None else f"{row.exit_s:.1f}"
            print(f"{name:<34} {way:<26} {row.made:>5} {row.recorded:>9} {row.doubled:>8} {end:>7}", flush=True)
            if not row.ok:
                print(row.said, flush=True)
    if args.markdown:
        print(table(rows))
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
