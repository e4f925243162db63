"""How fast a report is: a day of calls from span logs and from the lake, beside DuckDB scanning and grouping the same file bare.

    python benchmarks/report.py [--calls 1000000] [--lake-calls 10000000] [--folder DIR] [--json FILE]

Every run is a fresh process with two threads, start-up included; peak memory is the process's. ``bare``: the same three groupings, with
counts, sums and the 50%, 90%, 99% quantiles of raw runtime, no join, no estimates, no prices. ``models``: the small lake with
10,000 models in place of four, as fine-tunes and many hosts make them, and with the given denoised profiles alone (``--no-learn``). The
log is reported on twice: ``report`` parses it, ``again`` reads what that kept.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEMORY = "3GB"
MODELS = 2500
"""Variants of each model in the lake of many models."""


def run_report(source: str, profiles: str, learn: bool | None = None) -> dict[str, Any]:
    """One report in this process: calls and a figure to show that it was made."""
    from tracewrap import report

    built = report.build(
        source,
        day="2026-11-20",
        profile_paths=[profiles],
        references=["h100x4"],
        threads=2,
        memory_limit=MEMORY,
        now_ns=2**62,
        learn=learn,
    )
    return {"calls": built["totals"]["calls"], "denoised_calls": built["totals"]["denoised"]["n"]}


def run_bare(source: str, _: str) -> dict[str, Any]:
    """DuckDB alone over the same Parquet: three groupings, sums and quantiles of raw columns."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET enable_progress_bar = false")
    calls = 0
    for key in ("provider", "response_model", "service_name"):
        rows = connection.execute(
            f"SELECT {key}, count(*), sum(input_tokens), sum(output_tokens), sum(attempts), sum(retry_s), sum(raw_runtime_s),"
            f" quantile_cont(raw_runtime_s, [0.5, 0.9, 0.99]) FROM read_parquet('{source}/**/*.parquet') GROUP BY 1"
        ).fetchall()
        calls = sum(row[1] for row in rows)
    return {"calls": calls}


def measure(kind: str, source: str, profiles: str) -> dict[str, Any]:
    """Wall and CPU seconds and peak memory of one fresh process."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--child", kind, source, profiles]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"wall_s": wall, "cpu_s": cpu, "rows_per_s": found["calls"] / wall}


def child(kind: str, source: str, profiles: str) -> None:
    """Run and print one JSON line."""
    kinds = {
        "report": run_report,
        "again": run_report,
        "models": functools.partial(run_report, learn=False),
        "bare": run_bare,
    }
    found = kinds[kind](source, profiles)
    print(json.dumps(found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Make the data, measure, print a table."""
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:5])
        return
    parser = argparse.ArgumentParser(description="Speed of reports.")
    parser.add_argument(
        "--calls", type=int, default=1_000_000, help="calls of the day in the span log and the small lake"
    )
    parser.add_argument(
        "--lake-calls", type=int, default=10_000_000, help="calls of the day in the large lake; 0: leave it out"
    )
    parser.add_argument("--folder", help="where the data is made and kept (default: a temporary folder)")
    parser.add_argument("--json", metavar="FILE", help="also write the results here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = benchmark(Path(args.folder or temporary), args.calls, args.lake_calls)
    show(results)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


def benchmark(folder: Path, calls: int, lake_calls: int) -> list[dict[str, Any]]:
    """All measurements, each with what it is."""
    import report_day

    profiles = folder / "profiles"
    report_day.write_profiles(profiles)
    log, lakes = folder / f"log-{calls}", [folder / f"lake-{n}" for n in (calls, lake_calls) if n]
    if not log.exists():
        report_day.write_span_log(log, calls)
    for lake in lakes:
        if not lake.exists():
            report_day.write_lake(lake, int(lake.name.split("-")[1]))
    many = folder / f"models-{calls}"
    if not many.exists():
        report_day.write_lake(many, calls, models=MODELS)
    shutil.rmtree(log / ".tracewrap", ignore_errors=True)
    cases = [
        ("report", log),
        ("again", log),
        ("models", many),
        *((kind, lake) for lake in lakes for kind in ("report", "bare")),
    ]
    out = []
    for kind, source in cases:
        out.append({"what": kind, "source": source.name.split("-")[0]} | measure(kind, str(source), str(profiles)))
        print(f"{kind} {source.name}: {out[-1]['wall_s']:.1f} s", file=sys.stderr)
    return out


def show(results: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(
        f"{'what':<8} {'source':<6} {'calls':>11} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'rows/s':>12} {'to bare':>8}"
    )
    bare = {(r["source"], r["calls"]): r["wall_s"] for r in results if r["what"] == "bare"}
    for r in results:
        ratio = r["wall_s"] / bare[r["source"], r["calls"]] if (r["source"], r["calls"]) in bare else None
        r["times_bare"] = ratio
        text = "" if ratio is None else f"{ratio:.1f} x"
        print(
            f"{r['what']:<8} {r['source']:<6} {r['calls']:>11,} {r['wall_s']:>8.1f} {r['cpu_s']:>8.1f} {r['peak_mb']:>8.0f}"
            f" {r['rows_per_s']:>12,.0f} {text:>8}"
        )
    print(f"{os.cpu_count()} cores, 2 threads")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
