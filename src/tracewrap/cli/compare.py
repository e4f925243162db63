"""``tracewrap compare A B``: two sources, or two selections of one source, at equal token counts."""

from __future__ import annotations

import argparse
import json

from tracewrap.cli.arguments import add_period_arguments, add_profile_arguments, source_options
from tracewrap.errors import missing_extra


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    what = "a source; with --source a selection of it: day=2026-11-21, provider=openai,model=gpt-5, reference=STACK"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the same, set beside A")
    parser.add_argument("--source", nargs="+", action="extend", default=[], help="where both selections are taken from")
    add_period_arguments(parser)
    add_profile_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare and print. 0 done, 2 usage or data error."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise missing_extra("compare", "report") from None
    from tracewrap.report.questions.compare import compare
    from tracewrap.report.questions.selection import Selection
    from tracewrap.report.render.compare import render_comparison

    options = source_options(args)
    period = {name: options.pop(name) for name in ("day", "since", "until")}
    if args.source:
        sides = [Selection.parse(text, args.source, **period) for text in (args.a, args.b)]
    else:
        sides = [Selection((text,), text=text, **period) for text in (args.a, args.b)]
    found = compare(sides[0], sides[1], **options)
    print(json.dumps(found, indent=1, allow_nan=False) if args.json else render_comparison(found), end="")
    return 0
