"""How well the analytic profile predicts models and GPUs that its constants were not fitted to.

    python benchmarks/analytic.py [--data ../shared/data] [--json FILE]

Each line: absolute relative error of the end-to-end time in percent (median / 90th percentile), how many of the points
the 90% interval covers, and beside it two simpler models: the pure roofline (peak bandwidth and peak operations, no
overhead) and the same with one efficiency factor fitted to the same rows as the constants were.

Intervals are honest: the width for a held-out group is the 90% quantile of the held-out errors of the *other* groups.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibrate_stacks import StackSet, stack_sets
from calibration import PRIOR, Row, Table, errors, fit, hold_out, models_of, predict, qwen, tabulate
from numpy.typing import NDArray

from tracewrap.runtime.fit.fitting import Sample
from tracewrap.runtime.fit.fitting import fit as refine
from tracewrap.runtime.profile import RuntimeProfile
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import estimate_profile
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.terms import Constants

PURE = Constants(
    bandwidth_efficiency=1.0,
    sm_bytes_s=1e15,
    flop_efficiency=1.0,
    attention_efficiency=1.0,
    layer_s=0.0,
    step_s=0.0,
    first_s=0.0,
    all_reduce_s=0.0,
    kv_efficiency=1.0,
    scan_s=0.0,
    moe_layer_s=0.0,
)


def pure(table: Table) -> NDArray[np.float64]:
    """The roofline at peak rates: no efficiency, no overhead."""
    return predict(table, dataclasses.replace(PURE))


def one_efficiency(table: Table, groups: Sequence[str]) -> NDArray[np.float64]:
    """The roofline divided by one efficiency, the median of the other groups' rows."""
    base, labels = pure(table), np.array(groups)
    out = np.empty(len(base))
    for label in dict.fromkeys(groups):
        others = labels != label
        out[~others] = base[~others] * np.median((table.seconds / base)[others])
    return out


def coverage(table: Table, predicted: NDArray[np.float64], groups: Sequence[str]) -> float:
    """Share of rows within the interval whose width comes from the other groups' held-out errors."""
    off, labels = np.abs(np.log(predicted / table.seconds)), np.array(groups)
    inside = np.zeros(len(off), dtype=bool)
    for label in dict.fromkeys(groups):
        others = labels != label
        inside[~others] = off[~others] <= np.quantile(off[others], 0.9)
    return float(inside.mean())


def line(name: str, table: Table, predicted: NDArray[np.float64], groups: Sequence[str], target: str) -> dict[str, Any]:
    """One line of the result."""

    def summary(values: NDArray[np.float64]) -> list[float]:
        off = np.abs(errors(table, values)) * 100
        return [round(float(np.median(off)), 1), round(float(np.quantile(off, 0.9)), 1)]

    return {
        "case": name,
        "rows": len(table.rows),
        "error_percent": summary(predicted),
        "target_percent": target,
        "coverage": round(coverage(table, predicted, groups), 3),
        "pure_roofline_percent": summary(pure(table)),
        "one_efficiency_percent": summary(one_efficiency(table, groups)),
    }


def together(tables: Sequence[Table]) -> Table:
    """Several tables as one."""
    arrays = ("prefill", "decode", "steps", "seconds", "bandwidth", "multiprocessors")
    merged = {key: np.concatenate([getattr(t, key) for t in tables]) for key in arrays}
    return Table(rows=tuple(row for t in tables for row in t.rows), **merged)


def served(sets: dict[str, StackSet]) -> list[dict[str, Any]]:
    """LLM-Inference-Bench: a model, then a GPU, left out; constants always of the row's own stack."""
    parts, held, groups, lines = [], [], [], []
    for key in ("vllm-0.5", "trtllm-0.10"):
        table = sets[key].table()
        for gpu in ("a100-sxm-40gb", "h100-sxm"):
            part = table.pick(np.array([row.gpu == gpu for row in table.rows]))
            parts.append(part)
            held.append(hold_out(part, models_of(part), **sets[key].options))
            groups += models_of(part)
            lines.append(line(f"model left out: {key} {gpu}", part, held[-1], models_of(part), "4 / 10"))
    whole = line("model left out: all four", together(parts), np.concatenate(held), groups, "4 / 10")
    return [whole, *lines, *_gpu_left_out(sets)]


def _gpu_left_out(sets: dict[str, StackSet]) -> list[dict[str, Any]]:
    tables, held, groups = [], [], []
    for key in ("vllm-0.5", "trtllm-0.10"):
        table = sets[key].table()
        gpus = [row.gpu for row in table.rows]
        tables.append(table)
        held.append(hold_out(table, gpus, **sets[key].options))
        groups += [f"{key} {gpu}" for gpu in gpus]
    table, predicted, labels = together(tables), np.concatenate(held), np.array(groups)
    lines = [line("GPU left out: all", table, predicted, groups, "8 / 16")]
    for label in dict.fromkeys(groups):
        mask = labels == label
        part = table.pick(mask)
        lines.append(line(f"GPU left out: {label}", part, predicted[mask], models_of(part), "8 / 16"))
    return lines


def long_context(sets: dict[str, StackSet], data: Path) -> list[dict[str, Any]]:
    """The Qwen2.5 table: constants from elsewhere, refitted, and out to 129k tokens."""
    each, other = sets["vllm-0.6.3"], sets["vllm-0.5"]
    table = each.table()
    a100 = other.table().pick(np.array([row.gpu == "a100-sxm-40gb" for row in other.rows]))
    elsewhere = predict(table, fit(a100, **other.options))
    lines = [line("Qwen2.5 to 32k, constants of vllm-0.5 on A100 40GB", table, elsewhere, models_of(table), "8 / 15")]
    refitted = predict(table, fit(table, **each.options))
    lines.append(line("Qwen2.5 to 32k, refitted", table, refitted, models_of(table), "3 / 8"))
    held = hold_out(table, models_of(table), **each.options)
    lines.append(line("Qwen2.5 to 32k, model left out", table, held, models_of(table), ""))
    every = [row for row in qwen(data, "vLLM") if row.note in ("", "Default") or row.p > 32768]
    far = tabulate(every)
    lines.append(
        line("Qwen2.5 to 129k, refitted, all settings", far, predict(far, fit(far, **each.options)), models_of(far), "")
    )
    wide = [row.precision == "bf16" for row in far.rows]
    part = far.pick(np.array(wide))
    lines.append(
        line(
            "Qwen2.5 to 129k, refitted, 16-bit rows",
            part,
            predict(part, fit(part, **each.options)),
            models_of(part),
            "",
        )
    )
    lines.append(_by_setting(far, each))
    return lines


def _by_setting(far: Table, each: StackSet) -> dict[str, Any]:
    """Rows to 129k, each engine setting refitted by itself around the constants of the default one."""
    groups = {"": "default", "Default": "default", "setting-64k": "64k", "Setting 4": "64k"}
    labels = np.array([groups.get(row.note, "128k") for row in far.rows])
    default = fit(far.pick(labels == "default"), **each.options)
    predicted = np.empty(len(far.rows))
    for label in dict.fromkeys(labels):
        part = far.pick(labels == label)
        predicted[labels == label] = predict(part, fit(part, **{**each.options, "prior": default}))
    return line("Qwen2.5 to 129k, refitted setting by setting", far, predicted, models_of(far), "3 / 8")


def paper(sets: dict[str, StackSet]) -> list[dict[str, Any]]:
    """The paper's A100 measurements, a model left out."""
    each = sets["megatron-2022"]
    table = each.table()
    held = hold_out(table, models_of(table), **each.options)
    return [line("model left out: Megatron-LM, A100 (the paper's)", table, held, models_of(table), "4 / 13")]


PUBLISHED = (  # model, GPU, precision, input, output, ms per output token at concurrency 1, source
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 128, 128, 6.84, "silybench-data 2026-09-24, vLLM 0.30, CC BY 4.0"),
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 2048, 2048, 7.01, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 8192, 512, 7.30, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 128, 128, 4.62, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 2048, 2048, 4.80, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 8192, 512, 5.11, "same"),
    (
        "meta-llama/Llama-3.1-8B",
        "a100-sxm-40gb",
        "bf16",
        1024,
        128,
        13.3,
        "johnmusgrave.com, vLLM 0.23: about 75 tokens/s",
    ),
)


def published() -> list[dict[str, Any]]:
    """Single-stream decoding of current vLLM that no constant was fitted to, beside the default stack's estimate."""
    lines = []
    for model, gpu, precision, p, o, measured, source in PUBLISHED:
        profile = estimate_profile(get_model(model), get_gpu(gpu), n_gpus=1, precision=precision)
        estimate = profile.estimate(p, o)
        ms = 1e3 * profile.decode_time(p, o) / (o - 1)
        inside = estimate.low / estimate.value <= measured / ms <= estimate.high / estimate.value
        row = {
            "model": model,
            "gpu": gpu,
            "precision": precision,
            "input_tokens": p,
            "output_tokens": o,
            "source": source,
        }
        lines.append({**row, "measured_ms": measured, "estimated_ms": round(ms, 2), "within_interval": inside})
    return lines


def few_shot(sets: dict[str, StackSet]) -> list[dict[str, Any]]:
    """The default stack's profile refined by the shortest one or two rows of each served model on H100; the longer rows predicted."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for key in ("vllm-0.5", "trtllm-0.10"):
        for row in sets[key].rows:
            if row.gpu == "h100-sxm":
                groups.setdefault((key, row.model, row.n_gpus), []).append(row)
    lines = []
    for count in (0, 1, 2):
        off, inside = [], []
        for rows in groups.values():
            ordered = sorted(rows, key=lambda row: row.p)
            profile = _refined(ordered[:count], ordered[0])
            for row in ordered[2:]:
                estimate = profile.estimate(row.p, row.o)
                off.append(100 * abs(estimate.value / row.seconds - 1))
                inside.append(estimate.low <= row.seconds <= estimate.high)
        error = [round(float(np.quantile(off, q)), 1) for q in (0.5, 0.9)]
        lines.append(
            {"samples": count, "rows": len(off), "error_percent": error, "coverage": round(float(np.mean(inside)), 3)}
        )
    return lines


def _refined(rows: Sequence[Row], like: Row) -> RuntimeProfile:
    prior = estimate_profile(like.architecture, get_gpu(like.gpu), n_gpus=like.n_gpus, precision=like.precision)
    if not rows:
        return prior
    samples = [Sample(row.p, row.o, row.seconds) for row in rows]
    return refine(samples, id="refined", model=like.model, prior=prior, prior_sd=prior.interval.base / 1.645).profile


def main() -> int:
    """Print the table; write JSON when asked to."""
    parser = argparse.ArgumentParser(description="accuracy of analytic profiles on what they were not fitted to")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    sets = {each.id: each for each in stack_sets(arguments.data)}
    lines = [*served(sets), *long_context(sets, arguments.data), *paper(sets)]
    print(
        f"{'case':<52} {'rows':>5} {'error %':>12} {'target':>8} {'covered':>8} {'pure roofline':>14} {'one efficiency':>15}"
    )
    for x in lines:
        pair = {
            key: "{:.1f} / {:.1f}".format(*x[key]) for key in x if key.endswith("percent") and key != "target_percent"
        }
        print(
            f"{x['case']:<52} {x['rows']:>5} {pair['error_percent']:>12} {x['target_percent']:>8} {x['coverage']:>8.0%}"
            f" {pair['pure_roofline_percent']:>14} {pair['one_efficiency_percent']:>15}"
        )
    single = published()
    print("\npublished single-stream times per output token, default stack (vLLM), nothing fitted to them")
    for x in single:
        case = f"{x['model']} {x['precision']} {x['gpu']} {x['input_tokens']}+{x['output_tokens']}"
        off = x["estimated_ms"] / x["measured_ms"] - 1
        print(f"{case:<60} {x['measured_ms']:6.2f} ms  estimated {x['estimated_ms']:6.2f} ms  {off:+.1%}")
    shots = few_shot(sets)
    print("\nfew-shot on H100: the default stack's profile (vLLM 0.20), refined by samples of the stack of 2024")
    for x in shots:
        print(
            "{samples} samples: {error_percent[0]:5.1f} / {error_percent[1]:.1f} %, covered {coverage:.0%}, {rows} rows".format(
                **x
            )
        )
    if arguments.json:
        result = {"few_shot": shots, "lines": lines, "published": single, "prior": dataclasses.asdict(PRIOR)}
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
