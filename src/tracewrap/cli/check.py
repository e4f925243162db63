"""``tracewrap check SOURCE --limits FILE``: exit 0 when every limit held, 1 when one was breached, else 2 when one cannot be judged."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tracewrap.cli.arguments import add_sampled_argument, add_source_arguments, source_options
from tracewrap.errors import ConfigurationError
from tracewrap.words import counted

if TYPE_CHECKING:
    from tracewrap.report.questions.checks import Result
    from tracewrap.report.render.notebook import BuiltReport

_WEBHOOK_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_source_arguments(parser)
    add_sampled_argument(parser)
    parser.add_argument("--limits", required=True, metavar="FILE.toml", help="[limits] raw_p95_s = 4.0, ...")
    parser.add_argument("--drift-days", type=int, default=0, metavar="N", help="look back N days for drift")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--webhook",
        default=os.environ.get("TRACEWRAP_WEBHOOK"),
        metavar="URL",
        help="where the limits that did not hold are posted, as Slack's incoming webhooks take it; default: TRACEWRAP_WEBHOOK",
    )


def run(args: argparse.Namespace) -> int:
    """Judge and print a line a limit."""
    from tracewrap import report
    from tracewrap.report.figures.sampling import parse_sampled
    from tracewrap.report.questions.checks import groupings, judge, read_limits
    from tracewrap.report.render.text import next_step, unsure

    if args.webhook is not None and not args.webhook.startswith(("http://", "https://")):
        raise ConfigurationError("--webhook is no http:// or https:// URL; give the address that the chat shows for it")
    limits = read_limits(args.limits)
    groups = groupings(limits) or ["model"]
    options = source_options(args) | {"sampled": parse_sampled(args.sampled)}
    built = report.build(args.source, group_by=groups, drift_days=args.drift_days, **options)
    results = judge(built.data, limits)
    verdicts = built["coverage"]["denoised_verdicts"]
    if args.json:
        rows = [
            {"limit": r.limit.name, "by": dict(r.limit.by), "value": r.limit.value, "found": r.found, "held": r.held}
            for r in results
        ]
        print(json.dumps({"period": built["period"], "denoised_verdicts": verdicts, "results": rows}, indent=1))
    else:
        print("\n".join(result.text for result in results))
    if not_sure := unsure(verdicts):
        print(f"tracewrap: denoised profiles that are not ok stand behind these figures{not_sure}", file=sys.stderr)
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
    told = args.webhook is None or not (breached or unknown) or _post(args.webhook, built, [*breached, *unknown])
    return 1 if breached else 2 if unknown or not told else 0


def _post(url: str, built: BuiltReport, results: Sequence[Result]) -> bool:
    """Tell the webhook at *url* of *results*; whether it took them. The address, which is a secret, is not printed."""
    period = built["period"]
    lines = [f"LLM calls of {period['since']} to {period['until']}", *(result.text for result in results)]
    body = json.dumps({"text": "\n".join(lines)}).encode()
    where = "the webhook" if (host := urlsplit(url).hostname) is None else f"the webhook at {host}"
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json", "User-Agent": "tracewrap"})
        with urllib.request.urlopen(request, timeout=_WEBHOOK_S):
            return True
    except (OSError, ValueError, HTTPException) as error:
        reason = f"{error.code} {error.reason}" if isinstance(error, HTTPError) else type(error).__name__
        print(f"tracewrap: {where} did not take the message: {reason}", file=sys.stderr)
        return False
