"""Measure the reference models on this machine's CUDA GPU, one after another; run again to go on where it stopped.

    python examples/measure_reference.py                    # all models, into reference_profiles/measured/
    python examples/measure_reference.py --only Qwen/Qwen3-8B --max-input-tokens 8192 -o here
    python examples/measure_reference.py --dry-run          # what would be run

bf16, batch 1, prompts to 32,768 and answers to 256 tokens, CUDA graphs. A model that does not fit is measured with as many
layers as do and scaled, which its profile says. After each model other points are measured, the analytic profile for the same GPU
is computed, and both profiles are compared at those points. What one card measured becomes one reference stack.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
from pathlib import Path

from tracewrap.cli import main as tracewrap
from tracewrap.runtime.files import load_profile, read_json
from tracewrap.runtime.profile import SCHEMA as PROFILE_SCHEMA
from tracewrap.runtime.stack import ReferenceStack, save_stack

MODELS = {
    "meta-llama/Llama-3.1-8B": "dense, 8B",
    "Qwen/Qwen3-8B": "dense, 8B",
    "Qwen/Qwen3-14B": "dense, 14B",
    "Qwen/Qwen3-32B": "dense, 30B class",
    "Qwen/Qwen3-30B-A3B": "mixture of experts, 3B of 30B active",
}
POINTS = 15
CHECKS = [(320, 100), (900, 200), (2600, 48), (7000, 150), (14_000, 24), (27_000, 96)]
"""Points that are measured after the fit and not told to it: between those of the design."""


def main() -> int:
    """Measure every model; 0 when all were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--only", action="append", metavar="MODEL", help="this model (may be repeated; also a config.json)"
    )
    parser.add_argument("--max-input-tokens", type=int, default=32_768)
    parser.add_argument("--max-output-tokens", type=int, default=256)
    parser.add_argument("--who", default="the tracewrap project", help="who measured (default %(default)s)")
    parser.add_argument("--n", type=int, default=POINTS, help="points a model (default %(default)s)")
    parser.add_argument("--budget-s", type=float, default=900.0, help="seconds a model (default %(default)s)")
    parser.add_argument("-o", "--output", default="reference_profiles/measured", metavar="FOLDER")
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    args = parser.parse_args()
    folder, failed = Path(args.output), 0
    for model in args.only or MODELS:
        file = folder / f"{Path(model).name.removesuffix('.json')}.json"
        command = ["profile", "measure", "--model", model, "--device", args.device, "--n", str(args.n)]
        command += ["--max-input-tokens", str(args.max_input_tokens), "--who", args.who]
        command += ["--max-output-tokens", str(args.max_output_tokens)]
        command += ["--budget-s", str(args.budget_s), "-o", str(file)]
        print("tracewrap", *command, flush=True)
        if args.dry_run:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        sys.argv = ["tracewrap", *command]  # what the profile says it was measured with
        code = tracewrap(command)
        failed += code != 0
        if code == 0 and args.device != "cpu":
            print(compare(model, file, args), flush=True)
    if not args.dry_run and (stack := stack_of(folder)) is not None:
        save_stack(stack, folder / f"{stack.id}.json")
        print(f"{folder / stack.id}.json: reference stack of {len(stack.profiles)} models")
    return 1 if failed else 0


def stack_of(folder: Path) -> ReferenceStack | None:
    """One reference stack of the profiles in *folder* that one card and one software measured; None without any."""
    profiles = [
        load_profile(file)
        for file in sorted(folder.glob("*.json"))
        if not file.name.endswith(".analytic.json") and read_json(file).get("schema") == PROFILE_SCHEMA
    ]
    if not profiles:
        return None
    facts = [{key: p.stack.get(key) for key in ("gpu", "device_name", "torch", "precision")} for p in profiles]
    if any(one != facts[0] for one in facts):
        raise SystemExit(f"{folder}: profiles of several cards or versions; measure each into a folder of its own")
    version = str(facts[0]["torch"]).split("+")[0]
    name = facts[0]["gpu"] or str(facts[0]["device_name"]).lower().replace(" ", "-")
    return ReferenceStack(
        id=f"{name}_torch-{version}-{facts[0]['precision']}",
        description=f"{facts[0]['device_name']}, a plain torch decoder with CUDA graphs, batch 1, random weights",
        gpu=str(name),
        software={"torch": version},
        precision=str(facts[0]["precision"]),
        profiles={profile.model: profile for profile in profiles},
    )


def compare(model: str, file: Path, args: argparse.Namespace) -> str:
    """One line: errors of the measured fit and of the analytic profile at points that the fit was not told."""
    measured = load_profile(file)
    gpu = measured.stack.get("gpu")
    if gpu is None:
        return f"{model}: {measured.stack.get('device_name')} is not in gpus.toml, so no analytic profile"
    analytic = file.with_suffix(".analytic.json")
    with contextlib.redirect_stdout(io.StringIO()):
        code = tracewrap(
            ["profile", "estimate", "--model", model, "--gpu", str(gpu), "--precision", "bf16", "-o", str(analytic)]
        )
    if code:
        return f"{model}: no analytic profile"
    computed, found = load_profile(analytic), check(model, file, args)
    lines = [
        f"{model}: {p:>6} input {o:>4} output: {s:.4g} s, fit {measured.runtime(p, o) / s - 1:+.1%}, "
        f"analytic {computed.runtime(p, o) / s - 1:+.1%}"
        for (p, o), s in found.items()
    ]
    for name, profile in (("fit", measured), ("analytic", computed)):
        errors = [abs(profile.runtime(p, o) / seconds - 1) for (p, o), seconds in found.items()]
        lines.append(f"{model}: {name} off by {statistics.median(errors):.1%} (median), {max(errors):.1%} (worst)")
    return "\n".join(lines)


def check(model: str, file: Path, args: argparse.Namespace) -> dict[tuple[int, int], float]:
    """(input tokens, output tokens) -> seconds measured at ``CHECKS``."""
    from tracewrap.profiler.decoder.blueprint_config import find_model
    from tracewrap.profiler.decoder.measure import Setup, measure
    from tracewrap.profiler.decoder.repeats import quiet_value, values_of

    points = [(p, o) for p, o in CHECKS if p <= args.max_input_tokens and o <= args.max_output_tokens]
    setup = Setup(blueprint=find_model(model)[0], device=args.device, precision="bf16")
    done = measure(setup, points, str(file.with_suffix(".check.csv")), repeats=3, budget_s=args.budget_s / 3)
    return {point: quiet_value(values_of(done.rows, point)) for point in points}


if __name__ == "__main__":
    raise SystemExit(main())
