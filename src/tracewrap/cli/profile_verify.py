"""``tracewrap profile verify``: are these files profiles that tracewrap can use?"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path

from tracewrap.cli.profile_list import fit_errors
from tracewrap.errors import TracewrapError
from tracewrap.formats.profile_files import read_profiles
from tracewrap.runtime.profile import RuntimeProfile


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="profile or stack files")
    parser.add_argument(
        "--max-error", metavar="PERCENT", type=float, help="median error of the fit above which the exit code is 1"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a file")


def run(args: argparse.Namespace) -> int:
    """Check every file, one line each; errors go to standard error."""
    worst = 0
    for file in args.files:
        try:
            profiles = [s.profile for s in read_profiles(Path(file))]
            for profile in profiles:
                check_monotone(profile, file)
            breaches = [p for p in profiles if _breached(p, args.max_error)]
        except TracewrapError as error:
            worst = 2
            _say(args.json, file, "error", str(error))
            continue
        if breaches:
            worst = max(worst, 1)
            names = ", ".join(_stated(p) for p in breaches)
            _say(args.json, file, "breach", f"{file}: median error above {args.max_error:g}%: {names}")
        else:
            plural = "" if len(profiles) == 1 else "s"
            _say(args.json, file, "ok", f"{file}: ok, {len(profiles)} profile{plural}")
    return worst


def check_monotone(profile: RuntimeProfile, where: str) -> None:
    """Evaluate *profile* over and beyond its range; raise TracewrapError where runtime falls, or is not finite.

    The schema already forbids the causes that are known; this checks the result itself.
    """
    last = profile.max_input_tokens
    sizes = sorted({round(last * k / 64) for k in range(81)} | {round(x) for x, _ in profile.prompt_knots})
    outputs = [0, 1, 2, 64, 4 * (profile.max_output_tokens or 256)]
    previous = [0.0] * len(outputs)
    for p in sizes:
        row = [profile.runtime(p, o) for o in outputs]
        pairs = [*zip(previous, row, strict=True), *itertools.pairwise(row)]
        if not all(math.isfinite(value) for value in row) or any(b < a * (1 - 1e-12) for a, b in pairs):
            raise TracewrapError(f"{where}: {profile.model}: runtime falls or is not finite at {p} input tokens: {row}")
        previous = row


def _breached(profile: RuntimeProfile, limit_percent: float | None) -> bool:
    return limit_percent is not None and fit_errors(profile).get("median", math.inf) > limit_percent / 100


def _stated(profile: RuntimeProfile) -> str:
    median = fit_errors(profile).get("median")
    return f"{profile.model} {'(none stated)' if median is None else f'{median:.2%}'}"


def _say(as_json: bool, file: str, status: str, message: str) -> None:
    if as_json:
        print(json.dumps({"file": file, "status": status, "message": message}))
    else:
        print(message if status == "ok" else f"tracewrap: {message}", file=sys.stdout if status == "ok" else sys.stderr)
