"""``tracewrap profile design --n 10``: the points to measure, in order."""

from __future__ import annotations

import argparse
import json

from tracewrap.errors import ConfigurationError, missing_extra


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--n", type=int, required=True, help="how many points")
    parser.add_argument("--max-input-tokens", type=int, default=2048, help="largest prompt of interest (default 2048)")
    parser.add_argument("--max-output-tokens", type=int, default=64, help="most output tokens to spend (default 64)")
    parser.add_argument("--known", metavar="SAMPLES.csv", help="points measured already")
    parser.add_argument("--prior", metavar="PROFILE.json", help="what is known of the runtime already")
    parser.add_argument("--budget-s", type=float, help="stop before this many seconds, by --prior")
    parser.add_argument("--max-usd", type=float, metavar="USD", help="stop before this many dollars, a query a point")
    for kind in ("input", "output"):
        flag = f"--usd-per-million-{kind}-tokens"
        parser.add_argument(flag, type=float, metavar="USD", help=f"price of {kind} tokens, for --max-usd")
    parser.add_argument("--noise", type=float, metavar="SHARE", help="relative deviation of one measurement, as 0.03")
    parser.add_argument("--json", action="store_true", help='{"points": [{"input_tokens": .., "output_tokens": ..}]}')


def _check(args: argparse.Namespace) -> None:
    """A budget in dollars and both prices, or none of the three."""
    names = ("max_usd", "usd_per_million_input_tokens", "usd_per_million_output_tokens")
    missing = [name for name in names if getattr(args, name) is None]
    if missing and len(missing) < len(names):
        flags = {name: "--" + name.replace("_", "-") for name in names}
        given = " and ".join(flags[name] for name in names if name not in missing)
        raise ConfigurationError(f"{given} needs {' and '.join(flags[name] for name in missing)} as well")


def run(args: argparse.Namespace) -> int:
    """Print the points."""
    _check(args)
    try:
        from tracewrap.runtime.fit.design import Point, TokenPrices, design
    except ImportError:
        raise missing_extra("profile design", "fit") from None
    from tracewrap.runtime.files import load_profile
    from tracewrap.runtime.samples import read_samples

    known = [] if args.known is None else read_samples(args.known)
    prices = None
    if args.max_usd is not None:
        prices = TokenPrices(args.usd_per_million_input_tokens, args.usd_per_million_output_tokens)
    points = design(
        args.n,
        max_input_tokens=args.max_input_tokens,
        max_output_tokens=args.max_output_tokens,
        known=[Point(s.input_tokens, s.output_tokens) for s in known],
        prior=None if args.prior is None else load_profile(args.prior),
        budget_s=args.budget_s,
        budget_usd=args.max_usd,
        prices=prices,
        noise=args.noise,
    )
    if args.json:
        rows = [{"input_tokens": point.input_tokens, "output_tokens": point.output_tokens} for point in points]
        print(json.dumps({"points": rows}, indent=1))
    else:
        print("input_tokens,output_tokens")
        for point in points:
            print(f"{point.input_tokens},{point.output_tokens}")
    return 0
