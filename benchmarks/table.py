"""Speed in one table: each figure of tracewrap beside its best peer or limit, in one run of a quarter of an hour on two cores.

    python benchmarks/table.py [--only background report] [--calls 1000000] [--lake-calls 10000000] [--json FILE] [--compare FILE]

Runs ``overhead.py``, ``background.py``, ``report.py`` and the commands' start-up, each within a bounded time; one that fails or takes
longer is said so and the others go on. ``beside`` is measured in the same run: a bare OpenTelemetry span in place, the batch processor
with an exporter that discards, DuckDB alone over the same file, a bare interpreter. ``limit`` is what the project asks of itself: of the
ratio where it ends with x, else of the figure. ``--compare``: an earlier run's JSON; each figure over its earlier value. Ratios of one run
can be compared between machines, seconds cannot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = {"overhead": 240, "background": 150, "report": 480, "starts": 60}
"""What each part may take, in seconds; together a little more than a quarter of an hour, and usually half of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``limit``: of ``value``, or of the ratio to ``beside`` where ``of_ratio``."""

    metric: str
    unit: str
    value: float
    name: str = ""
    """What is beside it."""
    beside: float | None = None
    limit: float | None = None
    of_ratio: bool = False

    @property
    def ratio(self) -> float | None:
        """tracewrap over what is beside it."""
        return None if not self.beside else self.value / self.beside

    @property
    def held(self) -> bool | None:
        """Whether the limit is; None without one."""
        judged = self.ratio if self.of_ratio else self.value
        return None if self.limit is None or judged is None else judged <= self.limit


def overhead_rows(found: Any) -> Iterator[Row]:
    """The caller."""
    plain, stream = found["plain_us"], found["stream_us"]
    yield Row("plain call, added", "us", plain["tracewrap"][0], "bare span", plain["floor"][0], 1.2, True)
    yield Row("plain call, added, own provider", "us", plain["provider"][0], "bare span", plain["floor"][0], 2.2, True)
    rest = (stream["tracewrap"][0] - plain["tracewrap"][0]) / 200
    yield Row("a chunk, in place", "us", rest, limit=0.8)
    yield Row("a chunk, reader alone", "us", found["chunk_us"], limit=1.0)
    yield Row("sensors, plain call", "us", found["sensors_us"], limit=10.0)
    yield Row("join of a span", "us", found["joiner_us"])
    yield Row("import tracewrap / OpenTelemetry's SDK", "x", found["import_over_sdk"], limit=1.3)


def background_rows(found: Any) -> Iterator[Row]:
    """Behind the caller."""
    ours, otel = found["tracewrap"], found["otel"]
    yield Row("background, CPU a span", "us", found["background_us"], limit=45.0)
    yield Row("lost of 10,000 spans/s", "spans", found["lost"], limit=0.0)
    yield Row(
        "event loop late, p99, 600 calls/s", "ms", ours["lag_p99_ms"], "otel batch", otel["lag_p99_ms"], 1.5, True
    )
    yield Row("call p99.9, 600 calls/s", "ms", ours["call_p999_ms"], "otel batch", otel["call_p999_ms"], 1.5, True)


def report_rows(found: Any) -> Iterator[Row]:
    """Reports, learning included; seconds and the process's peak memory."""
    bare = {(row["source"], row["calls"]): row for row in found if row["what"] == "bare"}
    limits = {("report", "log"): 12.0, ("again", "log"): 1.5, ("models", "models"): 8.0}
    for row in found:
        if row["what"] == "bare":
            continue
        millions = f"{row['calls'] / 1e6:g}M"
        name = {"again": "span log, again", "models": "lake, 10,000 models"}.get(row["what"], row["source"])
        beside = bare.get((row["source"], row["calls"]))
        large = row["source"] == "lake" and row["calls"] >= 10**7
        limit = limits.get((row["what"], row["source"]), 6.0 if large else 1.2)
        yield Row(
            f"report, {millions} {name}",
            "s",
            row["wall_s"],
            "bare DuckDB" if beside else "",
            beside and beside["wall_s"],
            limit,
        )
        if beside and not large:
            yield Row(
                f"report, {millions} {name}, to bare", "s", row["wall_s"], "bare DuckDB", beside["wall_s"], 3.5, True
            )
        if large or row["what"] == "models":
            yield Row(f"report, {millions} {name}, memory", "MB", row["peak_mb"], limit=1500.0)


def start_rows(repeats: int = 7) -> Iterator[Row]:
    """CPU from the start of a command to its end, least of some."""

    def cpu(*arguments: str) -> float:
        least = float("inf")
        for _ in range(repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *arguments], capture_output=True, check=False, cwd=tempfile.gettempdir())
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return least * 1000

    python = cpu("-c", "pass")
    for command, limit in (("--help", 100.0), ("report --help", 100.0), ("top --help", 100.0), ("doctor", 500.0)):
        yield Row(f"tracewrap {command}", "ms", cpu("-m", "tracewrap", *command.split()), "python", python, limit)


def part(name: str, rows: Callable[[Any], Iterator[Row]], *arguments: str) -> list[Row]:
    """The rows of ``NAME.py``, run within its time; none, and a line on standard error, where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(out), *arguments]
        try:
            subprocess.run(command, check=True, timeout=SECONDS[name], stdout=subprocess.DEVNULL)
            return list(rows(json.loads(out.read_text(encoding="utf-8"))))
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{name}: not measured ({type(error).__name__})", file=sys.stderr)
            return []


def show(rows: list[Row], earlier: dict[str, float]) -> None:
    """Print the table."""
    print(
        f"{'metric':<42} {'tracewrap':>12} {'beside':>24} {'ratio':>7} {'limit':>9}  {'':<6}{'then' if earlier else ''}"
    )
    for row in rows:
        beside = "" if row.beside is None else f"{row.name} {row.beside:,.1f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        limit = "" if row.limit is None else f"{row.limit:g}{' x' if row.of_ratio else ''}"
        verdict = {True: "held", False: "MISSED", None: ""}[row.held]
        before = earlier.get(row.metric)
        then = f"x {row.value / before:.2f}" if before else ""
        print(
            f"{row.metric:<42} {f'{row.value:,.1f} {row.unit}':>12} {beside:>24} {ratio:>7} {limit:>9}  {verdict:<6} {then}"
        )


def main() -> None:
    """Measure, print, optionally write and compare JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECONDS), default=list(SECONDS), help="these parts alone")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of the log and the small lakes")
    parser.add_argument("--lake-calls", type=int, default=10_000_000, help="calls of the large lake; 0: leave it out")
    parser.add_argument("--folder", help="where the calls are made and kept (default: a temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier run's table")
    args = parser.parse_args()
    folder = ["--folder", args.folder] if args.folder else []
    parts: dict[str, Callable[[], list[Row]]] = {
        "overhead": lambda: part("overhead", overhead_rows, "--rounds", "20"),
        "background": lambda: part("background", background_rows, "--seconds", "5"),
        "report": lambda: part(
            "report", report_rows, "--calls", str(args.calls), "--lake-calls", str(args.lake_calls), *folder
        ),
        "starts": lambda: list(start_rows()),
    }
    rows = [row for name in args.only for row in parts[name]()]
    earlier = json.loads(args.compare.read_text(encoding="utf-8"))["rows"] if args.compare else []
    show(rows, {row["metric"]: row["value"] for row in earlier})
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}" + ("" if load is None else f", load {load:.1f}")
    )
    if args.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": load}
        found = [asdict(row) | {"ratio": row.ratio, "held": row.held} for row in rows]
        args.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
