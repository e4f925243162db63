"""``tracewrap report``: what recorded LLM traffic took, cost and would take elsewhere."""

from __future__ import annotations

import argparse
import sys

from tracewrap.cli.arguments import add_sampled_argument, add_source_arguments, source_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    add_sampled_argument(parser)
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
    from tracewrap.report.figures.sampling import parse_sampled
    from tracewrap.report.render import formats as render

    chosen = "json" if args.json else args.format
    formats = {path: chosen or render.format_of(path) for path in args.output}
    options = {} if args.group_by is None else {"group_by": args.group_by}
    options |= {"sampled": parse_sampled(args.sampled), "scores": args.capability, "score_column": args.score}
    built = report.build(args.source, top=args.top, drift_days=args.drift_days, **source_options(args), **options)
    for path, name in formats.items():
        render.write(built, path, name, trace_url=args.trace_url)
    if not args.output:
        _show(built, chosen or "table", args.trace_url)
    return 0


def _show(built: object, name: str, trace_url: str | None) -> None:
    from tracewrap.report.render import formats as render
    from tracewrap.report.render import table as render_table

    if name == "table" and sys.stdout.isatty():
        from rich.console import Console

        render_table.print_table(built, Console())  # type: ignore[arg-type]
        return
    sys.stdout.write(render.render(built, name, trace_url=trace_url))  # type: ignore[arg-type]
