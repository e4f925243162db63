"""``tracewrap whatif SOURCE``: recorded traffic on other hardware, list price beside it."""

from __future__ import annotations

import argparse
import json

from tracewrap.cli.arguments import add_source_arguments, add_training_argument, source_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_source_arguments(parser)
    parser.add_argument(
        "--batch", type=float, default=8.0, metavar="N", help="calls in flight on one replica (default: %(default)g)"
    )
    parser.add_argument(
        "--utilisation",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of the time that rented hardware is busy (default: %(default)g)",
    )
    add_training_argument(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Compute and print. 0 done, 2 usage or data error."""
    from tracewrap.report.questions.whatif import whatif
    from tracewrap.report.render.whatif import render_whatif
    from tracewrap.runtime.training import served

    options = {name: value for name, value in source_options(args).items() if name not in ("learn", "learn_s")}
    shared = None if args.training is None else served(args.training)
    found = whatif(args.source, batch=args.batch, utilisation=args.utilisation, training=shared, **options)
    print(json.dumps(found, indent=1, allow_nan=False) + "\n" if args.json else render_whatif(found), end="")
    return 0
