"""``tracewrap profile fit SAMPLES.csv -o PROFILE.json``."""

from __future__ import annotations

import argparse
import json
import time

from tracewrap.errors import missing_extra


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("samples", metavar="SAMPLES.csv", help="columns input_tokens,output_tokens,runtime_s")
    parser.add_argument("-o", "--output", required=True, metavar="PROFILE.json")
    parser.add_argument("--model", help="fit the rows whose column 'model' is this")
    parser.add_argument("--id", help="id of the profile (default: the model, or the file)")
    parser.add_argument("--n-gpus", type=int, help="accelerators the model ran on")
    parser.add_argument("--prior", metavar="PROFILE.json", help="few samples: a profile whose shape is trusted")
    parser.add_argument("--prior-sd", type=float, default=0.1, help="how far it is trusted, log scale (default 0.1)")
    parser.add_argument("--noise", type=float, metavar="SHARE", help="relative deviation of one measurement, as 0.03")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Read, fit, write the profile whole, print the summary."""
    try:
        from tracewrap.runtime.fit.fitting import fit
    except ImportError:
        raise missing_extra("profile fit", "fit") from None
    from tracewrap.runtime.files import load_profile, save_profile
    from tracewrap.runtime.samples import read_samples

    samples = read_samples(args.samples, args.model)
    name = args.model or args.samples
    result = fit(
        samples,
        id=args.id or name,
        model=name,
        prior=None if args.prior is None else load_profile(args.prior),
        prior_sd=args.prior_sd,
        noise=args.noise,
        n_gpus=args.n_gpus,
        measured={
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": f"tracewrap profile fit {args.samples}",
        },
    )
    save_profile(result.profile, args.output)
    if args.json:
        facts = {"profile": result.profile.to_dict(), "noise": result.noise, "warnings": list(result.warnings)}
        print(json.dumps(facts, indent=1))
    else:
        print(result.summary())
        print(f"written: {args.output}")
    return 0
