"""``tracewrap lake compact``: turn span logs into Parquet, one folder a day."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "logs", nargs="+", metavar="LOGS", help="span-log folders or OTLP-JSON files; they are left as they are"
    )
    parser.add_argument("lake", metavar="LAKE", help="folder of the lake; made if it is not there")
    parser.add_argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for another writer (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Compact and say what was added. 0 done, 2 a log or the lake cannot be read or written."""
    from tracewrap.sources.compact import compact

    done = compact(args.logs, args.lake, wait_s=args.wait)
    skipped = sum(status.dropped for status in done.statuses)
    if args.json:
        print(json.dumps({"calls": done.calls, "added": done.added, "days": list(done.days), "skipped": skipped}))
        return 0
    days = f" in {len(done.days)} day{'s' if len(done.days) != 1 else ''}" if done.days else ""
    print(
        f"{args.lake}: {done.added:,} calls added{days}, {done.calls - done.added:,} were there already;"
        f" {skipped:,} lines or copies skipped"
    )
    return 0
