"""``tracewrap report``: what recorded LLM traffic took, cost and would take elsewhere."""

from __future__ import annotations

import argparse
import sys
from typing import Any

SUMMARY = "raw, denoised and idealized runtime and cost of recorded calls"


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that every command over recorded calls shares: source, period, profiles, prices."""
    parser.add_argument(
        "source",
        nargs="+",
        help="span-log folder, OTLP-JSON file, Parquet lake, jaeger://host:port, clickhouse://host:port/db.table",
    )
    add_period_arguments(parser)
    add_profile_arguments(parser)


def add_period_arguments(parser: argparse.ArgumentParser) -> None:
    """``--day``, ``--since``, ``--until``, ``--timezone``."""
    parser.add_argument("--day", help="one day: 2026-11-22, today or yesterday")
    parser.add_argument("--since", metavar="WHEN", help="start of the period: 2026-11-22 or 2026-11-22T08:00")
    parser.add_argument("--until", metavar="WHEN", help="end of the period, not included; default: now")
    parser.add_argument(
        "--timezone",
        default="UTC",
        metavar="NAME",
        help="time zone of days and hours: UTC, Europe/Berlin (default: %(default)s)",
    )


def add_profile_arguments(parser: argparse.ArgumentParser) -> None:
    """``--reference``, ``--profiles``, ``--stand-in``, ``--prices``, ``--engine``."""
    parser.add_argument(
        "--reference", nargs="+", action="extend", default=[], metavar="STACK", help="reference stacks, side by side"
    )
    parser.add_argument(
        "--profiles",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="more profile and stack files, or folders of them",
    )
    parser.add_argument(
        "--stand-in",
        action="append",
        default=[],
        metavar="CLOSED=OPEN",
        help="let an open model's profile stand for a closed one",
    )
    parser.add_argument(
        "--prices", metavar="FILE", help="your own list prices, TOML or JSON; they win over genai-prices"
    )
    parser.add_argument(
        "--engine",
        choices=("duckdb", "clickhouse", "spark"),
        default="duckdb",
        help="where queries run (default: %(default)s)",
    )
    parser.add_argument("--memory", metavar="SIZE", help="memory limit of DuckDB, such as 4GB")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    parser.add_argument(
        "--group-by",
        nargs="+",
        metavar="NAME",
        help="one table a name (default: provider model service); a,b groups by both",
    )
    parser.add_argument(
        "--format",
        choices=("table", "json", "csv", "md", "html", "parquet"),
        help="default: table, or the suffix of -o",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument(
        "-o",
        "--output",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="write files, format by suffix; several at once",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        metavar="N",
        help="calls listed as slowest and most contended (default: %(default)s)",
    )
    parser.add_argument(
        "--drift-days", type=int, default=0, metavar="N", help="look back N days for drift (default: %(default)s)"
    )
    parser.add_argument(
        "--capability", metavar="FILE.csv", help="your score by model (columns model and a score): a Pareto plot"
    )
    parser.add_argument("--score", metavar="COLUMN", help="the score column of --capability, where it has several")
    parser.add_argument(
        "--trace-url",
        metavar="TEMPLATE",
        help="link to a trace in HTML: http://jaeger:16686/trace/{trace_id} (default: the Jaeger that is read)",
    )


def run(args: argparse.Namespace) -> int:
    """Build the report once, write every format asked for. 0 done, 2 usage or data error."""
    from tracewrap import report
    from tracewrap.report.render import formats as render

    chosen = "json" if args.json else args.format
    formats = {path: chosen or render.format_of(path) for path in args.output}
    options = {} if args.group_by is None else {"group_by": args.group_by}
    options |= {"scores": args.capability, "score_column": args.score}
    built = report.build(args.source, top=args.top, drift_days=args.drift_days, **source_options(args), **options)
    for path, name in formats.items():
        render.write(built, path, name, trace_url=args.trace_url)
    if not args.output:
        _show(built, chosen or "table", args.trace_url)
    return 0


def source_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of ``report.build`` from ``add_source_arguments``."""
    return {
        "day": args.day,
        "since": args.since,
        "until": args.until,
        "timezone": args.timezone,
        "references": args.reference,
        "profile_paths": args.profiles,
        "stand_ins": parse_stand_ins(args.stand_in),
        "prices": args.prices,
        "engine": args.engine,
        "memory_limit": args.memory,
    }


def parse_stand_ins(pairs: list[str]) -> dict[str, str]:
    """``CLOSED=OPEN`` pairs as a map."""
    from tracewrap.errors import ConfigurationError

    out = {}
    for pair in pairs:
        closed, found, open_model = pair.partition("=")
        if not (found and closed and open_model):
            raise ConfigurationError(f"--stand-in {pair!r}: write CLOSED=OPEN, such as gpt-4o=llama-3.1-70b")
        out[closed] = open_model
    return out


def _show(built: object, name: str, trace_url: str | None) -> None:
    from tracewrap.report.render import formats as render
    from tracewrap.report.render import table as render_table

    if name == "table" and sys.stdout.isatty():
        from rich.console import Console

        render_table.print_table(built, Console())  # type: ignore[arg-type]
        return
    sys.stdout.write(render.render(built, name, trace_url=trace_url))  # type: ignore[arg-type]
