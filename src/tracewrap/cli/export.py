"""``tracewrap export SOURCE --otlp URL``: recorded calls as spans with their estimates, to any OTLP receiver."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.cli.arguments import add_source_arguments, source_options
from tracewrap.words import counted

if TYPE_CHECKING:
    from tracewrap.background.resending import Resent
    from tracewrap.sinks.otlp_target import Target


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    parser.add_argument(
        "--otlp",
        required=True,
        metavar="URL",
        help="base URL of the receiver, such as http://localhost:4318; headers, certificates and time-outs by OTEL_EXPORTER_OTLP_*",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="where to note what was delivered: the next run with this file sends what came after it",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Send and say what became of it. 0 all delivered, 2 a source cannot be read, or calls were not delivered."""
    from tracewrap.background.resending import Mark, resend
    from tracewrap.estimate.live_join import LiveJoin
    from tracewrap.prices.list_cost import load_pricer
    from tracewrap.report.tables.loading import catalog_of
    from tracewrap.report.tables.options import load_options, period
    from tracewrap.sinks.otlp import sender
    from tracewrap.sources import EVER, ReadStatus, read_calls
    from tracewrap.sources.progress import Progress

    to, options = _target(args.otlp), source_options(args)
    receiver = re.sub(r"//.*@", "//", to.url or "")
    mark = None if args.resume is None else Mark(Path(args.resume), receiver)
    span = period(options.pop("day"), options.pop("since"), options.pop("until"), options["timezone"])
    pricer = load_pricer(options["prices"])
    join = LiveJoin(catalog_of(args.source, span, load_options(**options)), lambda: pricer)
    first, last = EVER if span is None else (span.since_ns, span.until_ns)
    statuses: list[ReadStatus] = []
    calls = read_calls(args.source, since_ns=first, until_ns=last, statuses=statuses)
    out = sender(to)
    try:
        with Progress() as progress:
            done = resend(
                calls,
                join,
                out,
                mark=mark,
                progress=lambda so_far: progress.show(f"{so_far.delivered:,} calls delivered"),
            )
    finally:
        out.close()
    _say(done, receiver, args.json)
    return 0 if done.stopped is None and not done.lost and all(status.complete for status in statuses) else 2


def _target(url: str) -> Target:
    """The receiver; ConfigurationError where nothing can be sent there."""
    from tracewrap.errors import ConfigurationError
    from tracewrap.sinks.otlp_target import target

    to = target(url)
    if to is None or to.url is None:
        raise ConfigurationError(
            f"--otlp {url!r}: " + ("; ".join(to.notes if to else ()) or "no receiver; write http://host:4318")
        )
    for note in to.notes:
        print(f"tracewrap: {note}", file=sys.stderr)
    return to


def _say(done: Resent, receiver: str, as_json: bool) -> None:
    lost = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.lost.items()))
    if as_json:
        told = {"delivered": done.delivered, "skipped": done.skipped, "lost": dict(done.lost), "stopped": done.stopped}
        print(json.dumps({"receiver": receiver, **told}))
    else:
        before = f", {done.skipped:,} had been before" if done.skipped else ""
        print(
            f"{receiver}: {counted(done.delivered, 'call')} delivered{before}" + (f"; refused: {lost}" if lost else "")
        )
    if done.stopped is not None:
        print(
            f"tracewrap: {receiver}: {done.stopped}; nothing more was sent: repeat with --resume FILE once it answers",
            file=sys.stderr,
        )
