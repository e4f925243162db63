"""``tracewrap profile measure`` on a 30M-parameter model on this CPU: how long it takes, and how well its profile predicts.

    python benchmarks/measure.py [--clock wall|cpu] [--points 24] [--json FILE]

Held-out points are drawn anew (log-uniform in prompt and output length, inside the measured range), none of them measured
for the profile; their value is the lower quartile of three runs, as the profile's own. On a busy machine use ``--clock cpu``
(processor seconds of one thread) and read the load that is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tracewrap.cli import main as tracewrap
from tracewrap.profiler.decoder.blueprint_config import find_model
from tracewrap.profiler.decoder.measure import Setup, measure
from tracewrap.profiler.decoder.repeats import quiet_value, values_of
from tracewrap.runtime.files import load_profile, write_whole
from tracewrap.runtime.quantiles import quantile

CONFIG = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 7,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1408,
    "vocab_size": 16_384,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}
LIMITS = {"seconds": 60.0, "median": 0.10, "p90": 0.25}
MOST_INPUT, MOST_OUTPUT = 1920, 128


def main() -> int:
    """Measure, predict, print; 0 when within the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--points", type=int, default=24, help="held-out points (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), args.clock, args.points, args.seed)
    show(result)
    if args.json:
        write_whole(args.json, json.dumps(result, indent=1) + "\n")
    held = all(float(result[name]) <= limit for name, limit in LIMITS.items())
    return 0 if held else 1


def run(folder: Path, clock: str, count: int, seed: int) -> dict[str, float | str]:
    """Measure a profile by the command line, then the held-out points."""
    config = folder / "model-30m" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(CONFIG))
    load, began, cpu = os.getloadavg()[0], time.monotonic(), time.process_time()
    output = folder / "profile.json"
    command = ["profile", "measure", "--model", str(config), "--device", "cpu", "--clock", clock, "-o", str(output)]
    if tracewrap([*command, "--max-input-tokens", str(MOST_INPUT)]):
        sys.exit("measuring failed")
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    profile = load_profile(output)
    blueprint, _ = find_model(config)
    points = held_out(count, seed)
    done = measure(Setup(blueprint=blueprint, clock=clock, seed=9), points, str(folder / "held-out.csv"), repeats=3)
    errors, inside = [], 0
    for p, o in points:
        actual, estimate = quiet_value(values_of(done.rows, (p, o))), profile.estimate(p, o)
        errors.append(abs(estimate.value / actual - 1))
        inside += estimate.low <= actual <= estimate.high
    return {
        "clock": clock,
        "parameters": blueprint.parameters,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "points": len(points),
        "median": round(quantile(errors, 0.5), 4),
        "p90": round(quantile(errors, 0.9), 4),
        "worst": round(max(errors), 4),
        "inside_interval": round(inside / len(points), 3),
    }


def held_out(count: int, seed: int) -> list[tuple[int, int]]:
    """Distinct random (input, output) tokens, log-uniform."""
    draw, found = random.Random(seed), set()
    while len(found) < count:
        p, o = (round(math.exp(draw.uniform(0.0, math.log(most)))) for most in (MOST_INPUT, MOST_OUTPUT))
        found.add((p, o))
    return sorted(found)


def show(result: dict[str, float | str]) -> None:
    """The result as a table, with the limits."""
    for name, value in result.items():
        limit = f"   limit {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name:<16} {value}{limit}")


if __name__ == "__main__":
    raise SystemExit(main())
