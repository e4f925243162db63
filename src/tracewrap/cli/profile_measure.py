"""``tracewrap profile measure``: a model's runtime profile on this machine's GPU or CPU, with random weights."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tracewrap.errors import ConfigurationError, missing_extra

if TYPE_CHECKING:
    from tracewrap.profiler.decoder.blueprint import Blueprint
    from tracewrap.profiler.decoder.measure import Measured, Setup
    from tracewrap.runtime.profile import RuntimeProfile

_MOST_TOKENS = {"cpu": 2048, "cuda": 32_768}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--model", required=True, help="a shipped model's name, or a Hugging Face config.json")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default %(default)s)")
    parser.add_argument("--n", type=int, metavar="N", help="points to measure (default 10; with --until 40 at most)")
    parser.add_argument(
        "--until", metavar="SHARE", help="stop once the profile's own interval, over the region, is so narrow: 2%%"
    )
    parser.add_argument(
        "--max-input-tokens", type=int, metavar="N", help="longest prompt (default 2048 on a CPU, 32768 on a GPU)"
    )
    parser.add_argument(
        "--max-output-tokens", type=int, default=64, metavar="N", help="longest answer (default %(default)s)"
    )
    parser.add_argument("--precision", help="fp32, bf16, fp16 or fp8 (default fp32 on a CPU, bf16 on a GPU)")
    parser.add_argument("--repeats", type=int, default=5, help="samples of a point at most (default %(default)s)")
    parser.add_argument("--budget-s", type=float, metavar="SECONDS", help="stop after so long, one round at least")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads (default %(default)s: more collapse beside other work)"
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor seconds, for a busy machine; one thread",
    )
    parser.add_argument("--layers", type=int, metavar="N", help="build N layers and scale (default: all that fit)")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--who", help="who measured, for the profile (default user@host)")
    parser.add_argument(
        "-o", "--output", required=True, metavar="PROFILE.json", help="samples go to .samples.csv beside it"
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure, fit, write the profile."""
    _check(args)
    try:
        from tracewrap.profiler.decoder.blueprint_config import find_model
        from tracewrap.profiler.decoder.machine_profile import measured_profile
        from tracewrap.profiler.decoder.measure import measure
        from tracewrap.profiler.sample_file import samples_path
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "numpy", "scipy"):
            raise
        raise missing_extra("profile measure", "profiler") from None
    from tracewrap.runtime.files import save_profile
    from tracewrap.runtime.fit.stopping import measure_until, share

    blueprint, _ = find_model(args.model)
    setup, points = _setup(args, blueprint), design_points(args, blueprint)
    samples, began, shown = samples_path(args.output), time.monotonic(), _Progress(len(points)).show
    done: list[Measured] = []

    def take(count: int) -> tuple[RuntimeProfile, bool]:
        left = None if args.budget_s is None else max(args.budget_s - (time.monotonic() - began), 0.0)
        found = measure(setup, points[:count], samples, repeats=args.repeats, budget_s=left, progress=shown)
        done.append(found)
        told = {"command": _command(args), "who": args.who, "samples_file": samples}
        return measured_profile(blueprint.id, found.stack, found.rows, **told), found.complete

    if args.until is None:
        profile, _ = take(len(points))
    else:
        region = max(p for p, _ in points), max(o for _, o in points)
        profile, count, expected = measure_until(take, share(args.until), len(points), region)
        short = (
            ""
            if expected <= share(args.until)
            else " not reached: more points by --n, a longer --budget-s, or a quieter device"
        )
        print(f"{count} points, expected error {expected:.1%} (--until {args.until}{short})", file=sys.stderr)
    save_profile(profile, args.output)
    _report(args, profile, done[-1], samples)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.until is not None:
        from tracewrap.runtime.fit.stopping import share

        share(args.until)
    for name in ("n", "max_input_tokens", "max_output_tokens", "repeats", "threads", "layers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigurationError(f"--{name.replace('_', '-')} is {value}, must be at least 1")
    folder = Path(args.output).resolve().parent
    if not folder.is_dir():
        raise ConfigurationError(f"{args.output}: folder {folder} is not there; make it first")


def _setup(args: argparse.Namespace, blueprint: Blueprint) -> Setup:
    from tracewrap.profiler.decoder.measure import Setup

    return Setup(
        blueprint=blueprint,
        device=args.device,
        precision=args.precision or ("fp32" if args.device == "cpu" else "bf16"),
        threads=args.threads,
        clock=args.clock,
        layers=args.layers,
        graphs=not args.eager,
    )


def design_points(args: argparse.Namespace, blueprint: Blueprint) -> list[tuple[int, int]]:
    """The points to measure, within the model's context; with --until the longest first, as the decoder is built for it."""
    most = min(args.max_input_tokens or _MOST_TOKENS["cpu" if args.device == "cpu" else "cuda"], blueprint.context)
    points = _design(args, most)
    over = max(p + o for p, o in points) - blueprint.context
    if over > 0:
        points = _design(args, max(1, most - over))
    longest = max(points, key=sum)
    return points if args.until is None else [longest, *(point for point in points if point != longest)]


def _design(args: argparse.Namespace, max_input_tokens: int) -> list[tuple[int, int]]:
    from tracewrap.runtime.fit.design import design
    from tracewrap.runtime.fit.stopping import MOST_POINTS

    n = args.n or (10 if args.until is None else MOST_POINTS)
    chosen = design(n, max_input_tokens=max_input_tokens, max_output_tokens=args.max_output_tokens)
    return [(point.input_tokens, point.output_tokens) for point in chosen]


def _command(args: argparse.Namespace) -> str:
    return " ".join(["tracewrap", *sys.argv[1:]]) if len(sys.argv) > 1 else f"profile measure --model {args.model}"


class _Progress:
    """One line on standard error that replaces itself, on a terminal, once two seconds have passed."""

    def __init__(self, points: int) -> None:
        self.began = time.monotonic()
        self.points = points

    def show(self, text: str) -> None:
        """Show *text*."""
        if sys.stderr.isatty() and time.monotonic() - self.began > 2.0:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _report(args: argparse.Namespace, profile: RuntimeProfile, done: Measured, samples: str) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    slowed = sum(bool(row["slowed"]) for row in done.rows)
    load = max((float(row["load"]) for row in done.rows if row["load"]), default=None)
    summary = {
        "profile": args.output,
        "samples": samples,
        "count": len(done.rows),
        "slowed": slowed,
        "complete": done.complete,
        "highest_load": load,
        "fit": dict(profile.fit),
    }
    if args.json:
        print(json.dumps(summary, default=str))
        return
    print(f"{args.output}: {profile.id}, {len(done.rows)} samples in {samples}")
    first, later = profile.runtime(512, 1), profile.runtime(512, 129) - profile.runtime(512, 1)
    print(f"512 input tokens take {first:.4g} s, each output token after them {later / 128:.4g} s")
    if profile.stack.get("layers"):
        print(f"note: {profile.stack['layers']}")
    if slowed:
        print(
            f"note: {slowed} samples were taken while the device was slowed or busy; they are marked, and used only where no other is"
        )
    if not done.complete:
        print("note: the budget ended before every point had its repeats; run again to go on")
    if load is not None and profile.stack.get("clock") == "wall" and load > 1.5:
        print(f"note: load was up to {load:.1f}; a quiet machine measures better, or --clock cpu")
