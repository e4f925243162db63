"""``tracewrap profile import``: HELM's runtime table as profiles; a load generator's result as samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from tracewrap.errors import ProfileNotFoundError
from tracewrap.formats.helm import profile_from_helm, read_helm
from tracewrap.formats.load_tests import read_load_test, write_samples
from tracewrap.runtime.files import save_profile, to_json
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.stack import ReferenceStack, save_stack
from tracewrap.words import counted, table


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "format",
        choices=["helm", "load-test"],
        help="helm: HELM's inference_*_runtimes.json, to profiles; load-test: the JSON of vllm bench serve (--save-detailed), of"
        " sglang's bench_serving (--output-details), of guidellm, or aiperf's profile_export.jsonl, to samples",
    )
    parser.add_argument("file", metavar="FILE", help="the table or result")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write; without it only a summary is printed")
    parser.add_argument("--model", help="one model of the table; written as a profile file, else all as a stack file")
    parser.add_argument("--id", help="id of the stack or profile (default: from the file name)")
    parser.add_argument("--gpu", default="unknown", help="accelerator of the table, a key of gpus.toml")
    parser.add_argument("--n-gpus", type=int, help="accelerators per model; only with --model")
    parser.add_argument("--json", action="store_true", help="print the JSON that -o would write")


def run(args: argparse.Namespace) -> int:
    """Convert, print a summary, write when asked to."""
    if args.format == "load-test":
        return _load_test(args)
    profiles = _profiles(args)
    stack = _stack(args, profiles)
    if args.output:
        if args.model:
            save_profile(profiles[0], args.output)
        else:
            save_stack(stack, args.output)
    if args.json:
        print(to_json(profiles[0].to_dict() if args.model else stack.to_dict()), end="")
        return 0
    rows = [["model", "ms per output token", "overhead ms", "prompt sizes", "made monotone"]]
    for p in profiles:
        changed = f"{p.fit['keys_made_monotone']} (up to {p.fit['largest_change']:.0%})"
        overhead = f"{p.overhead_s * 1000:g}" if p.overhead_s else "-"
        rows.append([p.model, f"{p.d0 * 1000:g}", overhead, str(len(p.prompt_knots)), changed])
    print("\n".join(table(rows)))
    if args.output:
        print(f"{len(profiles)} profiles written to {args.output}" if not args.model else f"written to {args.output}")
    return 0


def _load_test(args: argparse.Namespace) -> int:
    found = read_load_test(args.file)
    if args.output:
        write_samples(found.rows, args.output)
    if args.json:
        print(to_json({"samples": len(found.rows), "failed": found.failed, "at_once": found.at_once}), end="")
        return 0
    left_out = f"; {counted(found.failed, 'request')} left out: failed, or without counts" if found.failed else ""
    print(f"{counted(len(found.rows), 'sample')}{' in ' + args.output if args.output else ''}{left_out}")
    samples = args.output or "SAMPLES.csv"
    if found.at_once == 1:
        print(f"one request at a time: tracewrap profile fit {samples} -o PROFILE.json")
    else:
        crowd = "an unknown number of" if found.at_once is None else f"up to {found.at_once}"
        print(
            f"{crowd} requests at once, so these runtimes hold contention: tracewrap denoise {samples} -o PROFILE.json;"
            " for fitting, run the generator with one at a time"
        )
    return 0


def _profiles(args: argparse.Namespace) -> list[RuntimeProfile]:
    entries = read_helm(args.file)
    if args.model is not None and args.model not in entries:
        raise ProfileNotFoundError(f"{args.file}: no model {args.model!r}; it holds {', '.join(entries)}")
    names = [args.model] if args.model is not None else list(entries)
    stack_id = args.id or Path(args.file).stem
    measured = {"source": f"HELM runtime table {Path(args.file).name}"}
    return [
        profile_from_helm(
            name,
            entries[name],
            id=args.id if args.model and args.id else f"{stack_id}/{name}",
            n_gpus=args.n_gpus,
            stack={"id": stack_id, "gpu": args.gpu},
            measured=measured,
        )
        for name in names
    ]


def _stack(args: argparse.Namespace, profiles: list[RuntimeProfile]) -> ReferenceStack:
    return ReferenceStack(
        id=args.id or Path(args.file).stem,
        gpu=args.gpu,
        precision="unknown",
        description=f"imported from HELM's {Path(args.file).name}",
        profiles={p.model: p for p in profiles},
    )
