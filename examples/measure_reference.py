"""Measure the reference models on this machine's CUDA GPU, one after another; run again to go on where it stopped.

    python examples/measure_reference.py                    # all models, into reference_profiles/measured/
    python examples/measure_reference.py --only Qwen/Qwen3-8B --max-input-tokens 8192 -o here
    python examples/measure_reference.py --dry-run          # what would be run

bf16, batch 1, prompts to 32,768 tokens, CUDA graphs. A model that does not fit is measured with as many layers as do and
scaled, which its profile says. After each model the analytic profile for the same GPU is computed and both are compared at
the points measured.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import statistics
from pathlib import Path

from tracewrap.cli import main as tracewrap
from tracewrap.runtime.files import load_profile

MODELS = {
    "meta-llama/Llama-3.1-8B": "dense, 8B",
    "Qwen/Qwen3-8B": "dense, 8B",
    "Qwen/Qwen3-14B": "dense, 14B",
    "Qwen/Qwen3-32B": "dense, 30B class",
    "Qwen/Qwen3-30B-A3B": "mixture of experts, 3B of 30B active",
}
POINTS = 15


def main() -> int:
    """Measure every model; 0 when all were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--only", action="append", metavar="MODEL", help="this model (may be repeated; also a config.json)"
    )
    parser.add_argument("--max-input-tokens", type=int, default=32_768)
    parser.add_argument("--n", type=int, default=POINTS, help="points a model (default %(default)s)")
    parser.add_argument("--budget-s", type=float, default=900.0, help="seconds a model (default %(default)s)")
    parser.add_argument("-o", "--output", default="reference_profiles/measured", metavar="FOLDER")
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    args = parser.parse_args()
    folder, failed = Path(args.output), 0
    for model in args.only or MODELS:
        file = folder / f"{Path(model).name.removesuffix('.json')}.json"
        command = ["profile", "measure", "--model", model, "--device", args.device, "--n", str(args.n)]
        command += ["--max-input-tokens", str(args.max_input_tokens), "--budget-s", str(args.budget_s), "-o", str(file)]
        print("tracewrap", *command, flush=True)
        if args.dry_run:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        code = tracewrap(command)
        failed += code != 0
        if code == 0 and args.device != "cpu":
            print(compare(model, file))
    return 1 if failed else 0


def compare(model: str, file: Path) -> str:
    """One line: errors of the measured fit and of the analytic profile at the points measured."""
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
    errors: dict[str, list[float]] = {"fit": [], "analytic": []}
    with file.with_suffix(".samples.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            p, o, seconds = int(row["input_tokens"]), int(row["output_tokens"]), float(row["runtime_s"])
            errors["fit"].append(abs(measured.runtime(p, o) / seconds - 1))
            errors["analytic"].append(abs(load_profile(analytic).runtime(p, o) / seconds - 1))
    shares = ", ".join(f"{name} {statistics.median(e):.1%} (worst {max(e):.1%})" for name, e in errors.items())
    return f"{model}: median error {shares}"


if __name__ == "__main__":
    raise SystemExit(main())
