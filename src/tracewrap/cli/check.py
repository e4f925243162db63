"""``tracewrap check SOURCE --limits FILE``: exit 0 when every limit held, 1 when one was breached, else 2 when one cannot be judged."""

from __future__ import annotations

import argparse
import json
import sys

from tracewrap.cli.arguments import add_sampled_argument, add_source_arguments, source_options
from tracewrap.words import counted


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_source_arguments(parser)
    add_sampled_argument(parser)
    parser.add_argument("--limits", required=True, metavar="FILE.toml", help="[limits] raw_p95_s = 4.0, ...")
    parser.add_argument("--drift-days", type=int, default=0, metavar="N", help="look back N days for drift")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Judge and print a line a limit."""
    from tracewrap import report
    from tracewrap.report.figures.sampling import parse_sampled
    from tracewrap.report.questions.checks import groupings, judge, read_limits
    from tracewrap.report.render.text import next_step

    limits = read_limits(args.limits)
    groups = groupings(limits) or ["model"]
    options = source_options(args) | {"sampled": parse_sampled(args.sampled)}
    built = report.build(args.source, group_by=groups, drift_days=args.drift_days, **options)
    results = judge(built.data, limits)
    if args.json:
        rows = [
            {"limit": r.limit.name, "by": dict(r.limit.by), "value": r.limit.value, "found": r.found, "held": r.held}
            for r in results
        ]
        print(json.dumps({"period": built["period"], "results": rows}, indent=1))
    else:
        print("\n".join(result.text for result in results))
    breached = [result for result in results if result.held is False]
    unknown = [result for result in results if result.held is None]
    if unknown:
        names = ", ".join(dict.fromkeys(result.limit.name for result in unknown))
        step = next_step(built.data, None)
        print(
            f"tracewrap: {counted(len(unknown), 'limit')} cannot be judged, the figure is unknown for these calls: {names}"
            + (f" (denoised runtime: {step})" if step else ""),
            file=sys.stderr,
        )
    if breached:
        print(f"tracewrap: {counted(len(breached), 'limit')} breached", file=sys.stderr)
    return 1 if breached else 2 if unknown else 0
