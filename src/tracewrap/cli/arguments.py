"""Arguments that the commands over recorded calls share, and what the library takes for them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any


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


def add_sampled_argument(parser: argparse.ArgumentParser) -> None:
    """``--sampled``; default: TRACEWRAP_SAMPLED."""
    parser.add_argument(
        "--sampled",
        default=os.environ.get("TRACEWRAP_SAMPLED"),
        metavar="P|tail",
        help="the source holds a sample: each trace was kept with probability P (where its records do not say),"
        " or slow and failed ones were (tail); default: TRACEWRAP_SAMPLED",
    )


def period_ns(args: argparse.Namespace) -> tuple[int, int]:
    """[since, until) in Unix nanoseconds from ``add_period_arguments``; all of time where no period was given."""
    from tracewrap.report.tables.options import period
    from tracewrap.sources import EVER

    span = period(args.day, args.since, args.until, args.timezone)
    return EVER if span is None else (span.since_ns, span.until_ns)


def add_profile_arguments(
    parser: argparse.ArgumentParser,
    engines: Sequence[str] = ("duckdb", "clickhouse", "spark"),
    what: str = "where queries run",
) -> None:
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
        "--no-learn",
        action="store_true",
        help="do not learn denoised profiles from the calls; without it, --profiles win where they describe a deployment",
    )
    parser.add_argument(
        "--learn-seconds",
        type=seconds,
        metavar="S",
        help="learn no other deployment after so long (default: 15), the most used ones are first; the next report goes on",
    )
    parser.add_argument(
        "--prices", metavar="FILE", help="your own list prices, TOML or JSON; they win over genai-prices"
    )
    parser.add_argument(
        "--engine",
        choices=engines,
        default="duckdb",
        help=f"{what} (default: %(default)s)",
    )
    parser.add_argument("--memory", metavar="SIZE", help="memory limit of DuckDB, such as 4GB")


def add_where_argument(parser: argparse.ArgumentParser) -> None:
    """``--where``."""
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="only calls with these: model=gpt-5,tenant=acme,status=error or any attribute; NAME= for calls without it",
    )


def add_training_argument(parser: argparse.ArgumentParser) -> None:
    """``--training``."""
    parser.add_argument(
        "--training",
        metavar="SERVED_TOKENS",
        help="what these calls bear of the training of their models, shared over so many served tokens, such as 1e12",
    )


def source_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of ``report.build`` from ``add_source_arguments``; what is not given is as TRACEWRAP_* or pyproject says."""
    from tracewrap.settings import settings

    found = settings()
    return {
        "day": args.day,
        "since": args.since,
        "until": args.until,
        "timezone": args.timezone,
        "references": args.reference or list(found.references),
        "profile_paths": args.profiles or list(found.profiles),
        "stand_ins": {**(found.stand_ins or {}), **parse_stand_ins(args.stand_in)},
        "prices": args.prices or found.prices,
        "learn": not args.no_learn,
        **({} if args.learn_seconds is None else {"learn_s": args.learn_seconds}),
        "engine": args.engine,
        "memory_limit": args.memory,
    }


def seconds(text: str) -> float:
    """A number of seconds that is not negative."""
    value = float(text)
    if not 0.0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no time; write a number of seconds, such as 60")
    return value


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
