"""How well the analytic profile predicts models, cards and engines that its constants were not fitted to.

    python benchmarks/analytic.py [--data ../shared/data] [--by model|gpu|none] [--json FILE]

Each line: a set of measured rows, absolute relative error in percent (median / 90th percentile), the share of rows that the 90%
interval covers, and the error of two simpler models beside it: the pure roofline (peak bandwidth and operations, no overhead) and
the same with one efficiency fitted to the other rows of the set. ``--by model`` (the default) predicts every model by constants
fitted without any of its rows, in whatever table; ``gpu`` does so for cards; ``none`` shows the shipped constants on the rows they
were fitted to. Widths of intervals come from the errors of the groups other than the one they are judged on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibrate_stacks import held_by, spread_of, training_rows
from calibration import Table, fit, predict, tabulate
from measured import Row, left_out, qwen, serving_table
from numpy.typing import NDArray

from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import make_setup, prepare, server_times
from tracewrap.runtime.roofline.gpus import get_gpu, load_gpus
from tracewrap.runtime.roofline.terms import Constants, decode_step_s, prefill_s

PURE = Constants(
    bandwidth_efficiency=1.0,
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
Choice = Callable[[Row], bool]
SETS: dict[str, tuple[Choice, str]] = {
    "serving: time per token, dense": (lambda r: _served(r) and r.kind == "dense" and r.quantity != "first", "8 / 20"),
    "serving: time per token, mixtures": (
        lambda r: _served(r) and r.kind == "mixture" and r.quantity != "first",
        "14 / 38",
    ),
    "serving: first token, 1k or more, one user": (
        lambda r: _first(r) and r.p >= 1000 and r.concurrency < 2,
        "15 / 40",
    ),
    "serving: first token, 200 or more, one user": (lambda r: _first(r) and r.p >= 200 and r.concurrency < 2, ""),
    "serving: first token, 1k or more, 4 in flight": (
        lambda r: _first(r) and r.p >= 1000 and r.concurrency >= 2,
        "25 / 60",
    ),
    "argonne: vLLM and TensorRT-LLM of 2024, A100, H100": (lambda r: _core(r) and r.gpu != "gh200", "4 / 10"),
    "argonne: the same and GH200": (lambda r: _core(r), ""),
    "Qwen2.5 to 32k, vLLM": (lambda r: r.data == "qwen2.5" and r.stack.startswith("vllm"), "8 / 15"),
    "Megatron-LM, A100 (the paper's)": (lambda r: r.data == "paper", "4 / 13"),
}
BY: dict[str, Callable[[Row], str]] = {"model": lambda row: row.architecture.id, "gpu": lambda row: row.gpu}


def _served(row: Row) -> bool:
    return row.data == "serving"


def _first(row: Row) -> bool:
    return _served(row) and row.quantity == "first"


def _core(row: Row) -> bool:
    return row.stack in ("vllm-0.5", "trtllm-0.10") and row.data == "argonne"


def pure(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The roofline at peak rates: no efficiency, no overhead."""
    gpus, out = load_gpus(), []
    for row in rows:
        setup = make_setup(row.architecture, gpus[row.gpu], row.n_gpus, row.precision, PURE)
        first, step = prefill_s(setup, row.p), decode_step_s(setup, row.p + row.o / 2, row.concurrency)
        out.append({"first": first, "token": step, "total": first + (row.o - 1) * step}[row.quantity])
    return np.array(out)


def one_efficiency(
    base: NDArray[np.float64], seconds: NDArray[np.float64], groups: Sequence[str]
) -> NDArray[np.float64]:
    """The roofline divided by one efficiency, the median of the other groups' rows."""
    labels, out = np.array(groups), np.empty(len(base))
    for label in dict.fromkeys(groups):
        others = labels != label
        known = others if others.any() else ~others
        out[~others] = base[~others] * np.median((seconds / base)[known])
    return out


def summary(predicted: NDArray[np.float64], seconds: NDArray[np.float64]) -> list[float]:
    """Median and 90th percentile of the absolute relative error, in percent."""
    off = np.abs(predicted / seconds - 1) * 100
    return [round(float(np.median(off)), 1), round(float(np.quantile(off, 0.9)), 1)]


def lines(
    table: Table, predicted: NDArray[np.float64], widths: NDArray[np.float64], groups: Sequence[str]
) -> list[dict[str, Any]]:
    """One line a set."""
    out = []
    labels = np.array(groups)
    for name, (choice, target) in SETS.items():
        mask = np.array([choice(row) for row in table.rows]) & ~np.isnan(predicted)
        if not mask.any():
            continue
        seconds = table.seconds[mask]
        base = pure([row for row, own in zip(table.rows, mask, strict=True) if own])
        out.append(
            {
                "case": name,
                "rows": int(mask.sum()),
                "error_percent": summary(predicted[mask], seconds),
                "target_percent": target,
                "coverage": round(float(np.mean(np.abs(np.log(predicted[mask] / seconds)) <= widths[mask])), 3),
                "pure_roofline_percent": summary(base, seconds),
                "one_efficiency_percent": summary(one_efficiency(base, seconds, list(labels[mask])), seconds),
            }
        )
    return out


def long_context(data: Path) -> list[dict[str, Any]]:
    """Qwen2.5 out to 129k tokens under vLLM 0.6.3: each of its engine settings fitted by itself."""
    rows = [r for r in qwen(data) if r.stack.startswith("vllm") and (r.note == "" or r.p > 32768)]
    setting = {"": "default", "setting-64k": "64k", "Setting 4": "64k"}
    labels = np.array([setting.get(row.note, "128k") for row in rows])
    table = tabulate(rows)
    predicted = np.empty(len(rows))
    for label in dict.fromkeys(labels):
        part = table.pick(labels == label)
        predicted[labels == label] = predict(part, fit(part))
    return [
        {
            "case": "Qwen2.5 to 129k, fitted setting by setting",
            "rows": len(rows),
            "error_percent": summary(predicted, table.seconds),
            "target_percent": "3 / 8",
        }
    ]


PUBLISHED = (  # model, GPU, precision, input, output, ms per output token of one request, source; no constant is fitted to them
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 128, 128, 6.84, "silybench-data 2026-09-24, vLLM 0.30, CC BY 4.0"),
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 2048, 2048, 7.01, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "bf16", 8192, 512, 7.30, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 128, 128, 4.62, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 2048, 2048, 4.80, "same"),
    ("Qwen/Qwen3-8B", "h100-sxm", "fp8", 8192, 512, 5.11, "same"),
    ("meta-llama/Llama-3.1-8B", "a100-sxm-40gb", "bf16", 1024, 128, 13.3, "johnmusgrave.com, vLLM 0.23"),
)


def published() -> list[dict[str, Any]]:
    """Single-stream decoding of current vLLM that no constant was fitted to, beside the default stack's estimate."""
    out = []
    for model, gpu, precision, p, o, measured, source in PUBLISHED:
        setup, stack = prepare(get_model(model), get_gpu(gpu), n_gpus=1, precision=precision)
        token = server_times(setup, stack, p, o).token_s
        out.append(
            {
                "case": f"{model} {precision} {gpu} {p}+{o}",
                "source": source,
                "measured_ms": measured,
                "estimated_ms": round(1e3 * token.value, 2),
                "within_interval": token.low <= measured / 1e3 <= token.high,
            }
        )
    return out


def judge(data: Path, by: str) -> list[dict[str, Any]]:
    """The lines of one way of leaving rows out."""
    table = tabulate(training_rows(data))
    fitted = fit(table)
    groups = [BY.get(by, lambda row: "all")(row) for row in table.rows]
    predicted, distances = held_by(table, fitted, None if by == "none" else groups)
    widths = np.empty(len(predicted))
    for label in dict.fromkeys(groups):
        own = np.array([each == label for each in groups])
        known = ~own if (~own).any() else own
        widths[own] = spread_of(table, predicted, distances, known, own)
    return lines(table, predicted, widths, groups)


def main() -> int:
    """Print the table; write JSON when asked to."""
    parser = argparse.ArgumentParser(description="accuracy of analytic profiles on what they were not fitted to")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--by", choices=("model", "gpu", "none"), default="model", help="what is left out whole")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    result = [*judge(arguments.data, arguments.by), *long_context(arguments.data)]
    left = {"model": "a model left out", "gpu": "a card left out", "none": "nothing left out"}[arguments.by]
    print(f"{left:<52} {'rows':>5} {'error %':>12} {'target':>8} {'covered':>8} {'pure':>14} {'one efficiency':>15}")
    for x in result:
        pair = {k: "{:.1f} / {:.1f}".format(*x[k]) for k in x if k.endswith("percent") and k != "target_percent"}
        covered = f"{x['coverage']:.0%}" if "coverage" in x else ""
        print(
            f"{x['case']:<52} {x['rows']:>5} {pair['error_percent']:>12} {x['target_percent']:>8} {covered:>8}"
            f" {pair.get('pure_roofline_percent', ''):>14} {pair.get('one_efficiency_percent', ''):>15}"
        )
    several, twice = (len(each) for each in left_out(serving_table(arguments.data)))
    print(
        f"\nleft out of the serving table: {several} times per token of servers that draft several tokens a step, {twice} rows that"
        " repeat another with a larger number of GPUs (measured.left_out says how they are known)"
    )
    single = published()
    print("\npublished time per token of one request, default stack, nothing fitted to them")
    for x in single:
        off = x["estimated_ms"] / x["measured_ms"] - 1
        print(f"{x['case']:<60} {x['measured_ms']:6.2f} ms  estimated {x['estimated_ms']:6.2f} ms  {off:+.1%}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"lines": result, "published": single}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
