"""``tracewrap report``: what recorded LLM traffic took, cost and would take elsewhere."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from tracewrap.cli.arguments import (
    add_sampled_argument,
    add_source_arguments,
    add_training_argument,
    add_where_argument,
    source_options,
)

if TYPE_CHECKING:
    from tracewrap.report.render.notebook import BuiltReport


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    add_sampled_argument(parser)
    add_where_argument(parser)
    parser.add_argument(
        "--group-by",
        nargs="+",
        metavar="NAME",
        help="one table a name (default: provider model service): model, tenant, day, hour, any attribute; a,b groups by both",
    )
    parser.add_argument(
        "--grid",
        metavar="COUNTRY|G_PER_KWH",
        help="emissions of the idealized energy on this grid: DEU, or grams of CO2e a kWh; default: TRACEWRAP_GRID",
    )
    add_training_argument(parser)
    _add_output_arguments(parser)
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


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """In what formats the report is written, and where to."""
    from tracewrap.report.render.formats import FORMATS

    parser.add_argument(
        "--format",
        choices=FORMATS,
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
        "--trace-url",
        metavar="TEMPLATE",
        help="link to a trace in HTML: http://jaeger:16686/trace/{trace_id} (default: the Jaeger that is read)",
    )


def run(args: argparse.Namespace) -> int:
    """Build the report once, write every format asked for. 0 done, 2 usage or data error."""
    from tracewrap import report
    from tracewrap.report.figures.sampling import parse_sampled
    from tracewrap.report.render import formats as render
    from tracewrap.report.tables.names import parse_where
    from tracewrap.runtime.training import served
    from tracewrap.settings import settings

    chosen = "json" if args.json else args.format
    formats = {path: chosen or render.format_of(path) for path in args.output}
    options = {} if args.group_by is None else {"group_by": args.group_by}
    options |= {"scores": args.capability, "score_column": args.score}
    options["grid"] = args.grid or settings().grid
    options["training"] = None if args.training is None else served(args.training)
    options |= {"where": parse_where(args.where), "sampled": parse_sampled(args.sampled)}
    built = report.build(args.source, top=args.top, drift_days=args.drift_days, **source_options(args), **options)
    for path, name in formats.items():
        render.write(built, path, name, trace_url=args.trace_url)
    if not args.output:
        sys.stdout.write(
            _table(built) if chosen in (None, "table") else render.render(built, chosen, trace_url=args.trace_url)
        )
    return 0


def _table(built: BuiltReport) -> str:
    """The table as wide as the terminal, in its styles; as wide as COLUMNS says, or ``WIDTH``, where there is none."""
    from tracewrap.report.render.table import WIDTH, coloured_table, render_table

    width = shutil.get_terminal_size((WIDTH, 24)).columns
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR"):
        return coloured_table(built.data, width)
    return render_table(built.data, width)
