"""``tracewrap profile estimate``: the analytic profile of a model on a GPU."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import math
import sys

from tracewrap.errors import ConfigurationError, SourceError, missing_extra
from tracewrap.runtime.files import save_profile
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.quantiles import Z90
from tracewrap.runtime.roofline.gpus import DEFAULT_POWER_FRACTION, Gpu, get_gpu, load_gpus
from tracewrap.runtime.roofline.stacks import Stack
from tracewrap.runtime.roofline.terms import Setup
from tracewrap.runtime.stack import Price
from tracewrap.words import bounds, joules, usd

SIZE = (1024, 256)
"""Input and output tokens of the request whose cost, energy and sensitivity are shown."""
SHOWN = 5
"""How many of the inputs that move it are shown."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", metavar="M", help="a model's name at any host, such as llama-3.1-8b-instant")
    model.add_argument("--config", metavar="FILE", help="a Hugging Face config.json instead of a known model")
    model.add_argument(
        "--table", metavar="IN.csv", help="estimate every row of a table: model,gpu,input_tokens,output_tokens and more"
    )
    parser.add_argument("--gpu", metavar="G", help="GPU id, such as h100-sxm")
    parser.add_argument("--gpus-file", metavar="FILE", help="TOML file that overrides or adds GPUs and their prices")
    parser.add_argument("--n-gpus", metavar="N", type=int, help="how many; default: the fewest that fit")
    parser.add_argument(
        "--stack", metavar="S", help="software, such as vllm, vllm-0.11.2, sglang, trtllm-1.2, llamacpp, transformers"
    )
    parser.add_argument("--concurrency", metavar="C", type=float, help="requests in flight; default: 1, uncontended")
    parser.add_argument("--precision", metavar="P", help="of the weights; default: the published one")
    parser.add_argument(
        "--samples", metavar="FILE", help="CSV with 1 to 8 measured queries to refine the estimate with"
    )
    parser.add_argument("-o", "--output", metavar="PROFILE.json", help="where to write the profile, or the table")
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")


def run(args: argparse.Namespace) -> int:
    """Make the profile; write it, print a summary, or print it as JSON."""
    if args.table:
        return _table(args)
    if not args.gpu:
        raise ConfigurationError("--gpu is missing; name one, such as --gpu h100-sxm")
    from tracewrap.runtime.roofline.estimating import profile_of

    gpu = get_gpu(args.gpu, load_gpus(args.gpus_file))
    concurrency = 1.0 if args.concurrency is None else args.concurrency
    setup, stack = _prepare(args, gpu, concurrency)
    profile = profile_of(setup, stack, concurrency)
    if args.samples:
        profile = _refine(profile, args.samples)
    if args.output:
        save_profile(profile, args.output)
    if args.json or not args.output:
        text = json.dumps(profile.to_dict(), indent=1) if args.json else _summary(profile)
        print(text if args.json else "\n".join([text, *_beside(setup, profile, concurrency)]))
    return 0


def _prepare(args: argparse.Namespace, gpu: Gpu, concurrency: float) -> tuple[Setup, Stack]:
    from tracewrap.runtime.roofline.architectures import get_model, read_config
    from tracewrap.runtime.roofline.estimating import prepare

    model = read_config(args.config) if args.config else get_model(args.model)
    chosen = {"n_gpus": args.n_gpus, "stack": args.stack, "precision": args.precision}
    return prepare(model, gpu, **chosen, concurrency=concurrency)


def _table(args: argparse.Namespace) -> int:
    """Add the estimate's columns to every row of the table; a row that cannot be estimated says why in ``note``."""
    from tracewrap.runtime.files import write_whole
    from tracewrap.runtime.roofline.table import ADDED, estimate_row

    own = {"--gpu": args.gpu, "--n-gpus": args.n_gpus, "--stack": args.stack, "--precision": args.precision}
    own |= {"--concurrency": args.concurrency, "--samples": args.samples, "--json": args.json or None}
    given = [name for name, value in own.items() if value is not None]
    if given:
        raise ConfigurationError(f"{given[0]} does not go with --table; the table's columns say it, row by row")
    header, rows = _read_table(args.table)
    gpus = load_gpus(args.gpus_file)
    out = io.StringIO()
    writer = csv.DictWriter(
        out, [*(name for name in header if name not in ADDED), *ADDED], lineterminator="\n", extrasaction="ignore"
    )
    writer.writeheader()
    failed = 0
    for row in rows:
        added = estimate_row(row, gpus)
        failed += not added["provenance"]
        writer.writerow({**row, **added})
    if args.output:
        write_whole(args.output, out.getvalue())
        print(f"{args.output}: {len(rows)} rows, {failed} without an estimate (see the column note)")
    else:
        sys.stdout.write(out.getvalue())
    return 0


def _read_table(path: str) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of the CSV file at *path*; SourceError naming what is wrong with it."""
    from tracewrap.runtime.roofline.table import NEEDED

    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = list(reader)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not a CSV file ({error})") from None
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise SourceError(f"{path}: column {missing[0]!r} is missing; needed are {', '.join(NEEDED)}")
    if not rows:
        raise SourceError(f"{path}: holds no row under its header")
    return header, rows


def _refine(prior: RuntimeProfile, path: str) -> RuntimeProfile:
    """The posterior of the analytic *prior* given the measured samples in *path*."""
    from tracewrap.runtime.samples import read_samples

    try:
        from tracewrap.runtime.fit.fitting import fit
    except ModuleNotFoundError as error:
        raise missing_extra("profile estimate --samples", "fit") from error
    widest = math.hypot(prior.interval.base, max(prior.interval.prompt, prior.interval.decode))
    deviation = max(0.1, widest / Z90)
    result = fit(
        read_samples(path),
        id=f"{prior.id}+samples",
        model=prior.model,
        prior=prior,
        prior_sd=deviation,
        provenance="few_shot",
        stack=prior.stack,
        n_gpus=prior.n_gpus,
    )
    return dataclasses.replace(result.profile, max_output_tokens=prior.max_output_tokens)


def _summary(profile: RuntimeProfile) -> str:
    lines = [f"{profile.id} ({profile.provenance}, {profile.n_gpus} GPU{'s' if profile.n_gpus != 1 else ''})"]
    largest = int(profile.max_input_tokens)
    for p, o in ((1024, 1), (1024, 256), (min(8192, largest), 256)):
        estimate = profile.estimate(p, o)
        lines.append(f"  {p:>6} in {o:>4} out  {estimate.value:9.4f} s  ({estimate.low:.4f} to {estimate.high:.4f})")
    lines.append(f"  time per output token {1e3 * (profile.d0 + profile.d1 * 1024):.2f} ms at 1024 tokens of context")
    if profile.stack.get("note"):
        lines.append(f"  {profile.stack['note']}")
    return "\n".join(lines)


def _beside(setup: Setup, profile: RuntimeProfile, concurrency: float) -> list[str]:
    """What a request of ``SIZE`` costs and draws, how the GPUs scale, and what its runtime hangs on most."""
    from tracewrap.runtime.roofline.scaling import CHANGE, parallel_efficiency, request_s, swings

    gpu, n, runtime = setup.gpu, setup.n_gpus, profile.runtime(*SIZE)
    size = f"{SIZE[0]} in {SIZE[1]} out"
    watts = gpu.watts(concurrency)
    power = f"{watts / gpu.tdp_w:.0%} of {gpu.tdp_w:g} W a GPU" + (
        "" if gpu.power_fraction else f" ({DEFAULT_POWER_FRACTION:.0%} for one request assumed)"
    )
    lines = [f"  power {power}: {size} {joules(runtime * n * watts / concurrency)}"]
    if gpu.price is not None:
        ends = sorted(gpu.asked_prices, key=lambda each: each.usd_per_gpu_hour)
        asked = "; vendors ask " + " to ".join(map(_price, (ends[0], ends[-1]))) if len(ends) > 1 else ""
        hours = runtime * n / concurrency / 3600
        cost = usd(hours * gpu.price.usd_per_gpu_hour)
        cost += bounds(usd, hours * ends[0].usd_per_gpu_hour, hours * ends[-1].usd_per_gpu_hour) if ends else ""
        lines.append(f"  price {_price(gpu.price)} per GPU-hour{asked}: {size} {cost}")
    if n > 1:
        lines.append(f"  {n} GPUs give {parallel_efficiency(setup, *SIZE):.0%} of {n} times the speed of one")
    now = request_s(setup, *SIZE, concurrency)
    moved = (
        f"{x.input} {x.low / now - 1:+.0%} {x.high / now - 1:+.0%}" for x in swings(setup, *SIZE, concurrency)[:SHOWN]
    )
    lines.append(f"  {size} moves most with, each {CHANGE:.0%} off: {'; '.join(moved)}")
    return lines


def _price(price: Price) -> str:
    return f"{usd(price.usd_per_gpu_hour)} ({price.source}, {price.date})"
