"""``tracewrap sql SOURCE --engine clickhouse``: the join as tables and views of a warehouse of one's own."""

from __future__ import annotations

import argparse
import sys

from tracewrap.cli.arguments import add_period_arguments, add_profile_arguments, source_options
from tracewrap.words import counted


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "source",
        nargs="+",
        help="calls of the kinds that the warehouse holds (its own table, a lake, a span log): profiles and prices are looked up for them",
    )
    add_period_arguments(parser)
    add_profile_arguments(
        parser, engines=("duckdb", "clickhouse", "spark", "bigquery", "snowflake"), what="whose SQL to write"
    )
    parser.add_argument(
        "--rows",
        choices=("spans", "lake"),
        help="spans: the Collector's table (ClickHouse and DuckDB; default for ClickHouse); lake: the calls of a lake",
    )
    parser.add_argument("--table", metavar="NAME", help="the table of these rows; default: otel_traces or calls")
    parser.add_argument(
        "--prefix",
        default="tracewrap",
        metavar="NAME",
        help="how names of tables and views begin (default: %(default)s)",
    )
    parser.add_argument(
        "--materialized", action="store_true", help="ClickHouse: join every span as it arrives, into a table"
    )
    parser.add_argument(
        "--tables-only", action="store_true", help="only the small tables of profiles and prices, to refresh them"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Write the script. 0 done, 2 usage or data error."""
    from tracewrap.report.tables import warehouse
    from tracewrap.report.tables.loading import load
    from tracewrap.report.tables.options import load_options, period
    from tracewrap.runtime.files import write_whole

    collector = (args.rows or ("spans" if args.engine == "clickhouse" else "lake")) == "spans"
    table = args.table or (warehouse.COLLECTOR if collector else warehouse.LAKE)
    to = warehouse.Warehouse(args.engine, table, collector, args.prefix, args.materialized)
    options = source_options(args) | {"engine": "duckdb"}
    span = period(options.pop("day"), options.pop("since"), options.pop("until"), options["timezone"])
    joined = load(args.source, span, load_options(**options))
    statements = list(warehouse.script(to, joined.dims, joined.stacks, tables_only=args.tables_only))
    warehouse.parse(statements, to.dialect)
    text = warehouse.written(to, joined.dims, statements)
    if args.output is None:
        print(text, end="")
    else:
        write_whole(args.output, text)
    told = [f"{args.output or 'SQL'}: {counted(len(joined.dims), 'kind')} of calls", *warehouse.known(joined.dims)]
    print(", ".join(told), file=sys.stderr)
    return 0
