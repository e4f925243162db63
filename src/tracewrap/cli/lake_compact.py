"""``tracewrap lake compact``: turn recorded calls into Parquet, one folder a day."""

from __future__ import annotations

import argparse
import json
import sys

from tracewrap.cli.arguments import add_period_arguments, period_ns, seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="span-log folders, OTLP-JSON files, jaeger://host:port or clickhouse://host:port/db.table; left as they are",
    )
    parser.add_argument("lake", metavar="LAKE", help="folder of the lake; made if it is not there")
    add_period_arguments(parser)
    parser.add_argument(
        "--wait",
        type=seconds,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for another writer (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Compact and say what was added. 0 done, 2 a source or the lake cannot be read or written, or was read in part only."""
    from tracewrap.sources.compact import compact

    since_ns, until_ns = period_ns(args)
    done = compact(args.sources, args.lake, since_ns=since_ns, until_ns=until_ns, wait_s=args.wait)
    skipped = sum(status.dropped for status in done.statuses)
    for status in done.statuses:
        for note in status.notes:
            print(f"tracewrap: {status.location}: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps({"calls": done.calls, "added": done.added, "days": list(done.days), "skipped": skipped}))
    else:
        days = f" in {len(done.days)} day{'s' if len(done.days) != 1 else ''}" if done.days else ""
        print(
            f"{args.lake}: {done.added:,} calls added{days}, {done.calls - done.added:,} were there already;"
            f" {skipped:,} lines or copies skipped"
        )
    return 0 if all(status.complete for status in done.statuses) else 2
