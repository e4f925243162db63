"""``tracewrap suite [MODEL ...]``: models and stacks over standard token mixes, as a table or a page to publish."""

from __future__ import annotations

import argparse

from tracewrap.cli.arguments import add_period_arguments, add_profile_arguments, source_options

FORMATS = ("table", "json", "csv", "html")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "models", metavar="MODEL", nargs="*", help="models by any host's name; default: five open ones, small and large"
    )
    parser.add_argument(
        "--mix", nargs="+", action="extend", default=[], metavar="NAME", help="only these mixes; default: all seven"
    )
    parser.add_argument(
        "--source",
        nargs="+",
        action="extend",
        default=[],
        help="recorded calls: what their deployments take on a quiet day beside",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE, whole or not at all")
    add_period_arguments(parser)
    add_profile_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compute and print or write. 0 done, 2 usage or data error."""
    from tracewrap.runtime.files import write_whole
    from tracewrap.study.suite import suite
    from tracewrap.study.suite_page import render

    found = suite(args.models, mixes=args.mix, source=args.source, **source_options(args))
    text = render(found, args.format)
    if args.output is None:
        print(text, end="")
    else:
        write_whole(args.output, text)
        print(args.output)
    return 0
