"""Fit the constants of ``reference_profiles/stacks.toml`` to measured data and write their errors beside them.

    python benchmarks/calibrate_stacks.py --data ../shared/data [-o reference_profiles/stacks.toml]

Data: LLM-Inference-Bench (batch 1, vLLM and TensorRT-LLM), the Qwen2.5 speed table (vLLM 0.6.3, Transformers 4.46) and the
Megatron-LM measurements of arXiv 2305.02440.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from calibration import (
    GRAPH,
    PRIOR,
    QUANTIZED,
    SIGMA,
    Row,
    Table,
    argonne,
    errors,
    fit,
    hold_out,
    megatron,
    models_of,
    qwen,
    spread,
    tabulate,
)
from scipy.optimize import minimize_scalar

from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import make_setup
from tracewrap.runtime.roofline.gpus import load_gpus
from tracewrap.runtime.roofline.terms import Constants, decode_step_s, prefill_terms

LIB = "LLM-Inference-Bench (argonne-lcf@4211f5d), batch 1, input = output = 256..2048 tokens, consistent rows"
QWEN = "Qwen2.5 speed benchmark (QwenLM/Qwen3@010c37c), A100 80GB, 2048 tokens out, up to 32k in, default settings"
PAPER = "arXiv 2305.02440, Megatron-LM on A100 80GB, fp16, nine architectures"
EAGER = (
    "bandwidth_efficiency",
    "flop_efficiency",
    "attention_efficiency",
    "layer_s",
    "step_s",
    "launch_s",
    "first_s",
    "scan_s",
)


@dataclass(frozen=True, slots=True)
class StackSet:
    """A stack and the rows it is fitted to."""

    id: str
    framework: str
    version: str
    mode: str
    source: str
    rows: Sequence[Row]
    names: Sequence[str] = GRAPH
    prior: Constants = PRIOR
    sigma: Mapping[str, float] = field(default_factory=lambda: SIGMA)
    tile: int = 1

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of ``fit``."""
        return {"names": self.names, "prior": self.prior, "sigma": self.sigma}

    def table(self) -> Table:
        """The rows as arrays."""
        return tabulate(self.rows, tile=self.tile, pipeline=self.prior.pipeline)


def stack_sets(data: Path) -> list[StackSet]:
    """All stacks with data."""
    nvidia = ("a100-sxm-40gb", "h100-sxm", "gh200")
    old = dataclasses.replace(
        PRIOR, sm_bytes_s=22e9
    )  # vLLM 0.7 shows no gain of H200 over H100: both end near 2.9 TB/s
    hosted = dataclasses.replace(PRIOR, launch_s=8e-4, pipeline=True)
    paper = dataclasses.replace(PRIOR, launch_s=6e-4, tile=128, tile_fraction=1.0)
    free = {**SIGMA, "bandwidth_efficiency": 0.3}  # kernels of its own, far from the memory's peak in 2024
    loose = {**SIGMA, "kv_efficiency": 1.0, "attention_efficiency": 1.5}
    table = [r for r in qwen(data, "vLLM") if r.note in ("", "Default") and r.p <= 32768]
    hugging = [r for r in qwen(data, "Transformers") if r.precision == "bf16"]
    return [
        StackSet("vllm-0.5", "vllm", "0.5", "graph", LIB, argonne(data, "vLLM", nvidia)),
        StackSet("trtllm-0.10", "trtllm", "0.10", "graph", LIB, argonne(data, "TensorRT-LLM", nvidia)),
        StackSet("vllm-rocm-0.5", "vllm-rocm", "0.5", "graph", LIB, argonne(data, "vLLM", ("mi300x", "mi250-gcd"))),
        StackSet("deepspeed-mii-2024", "deepspeed-mii", "2024", "graph", LIB, argonne(data, "Deepspeed-MII", nvidia)),
        StackSet("llamacpp-2024", "llamacpp", "2024", "graph", LIB, argonne(data, "llama.cpp", nvidia), sigma=free),
        StackSet("vllm-0.6.3", "vllm", "0.6.3", "graph", QWEN, table, QUANTIZED, old),
        StackSet(
            "transformers-4.46",
            "transformers",
            "4.46",
            "eager",
            QWEN,
            hugging,
            (*EAGER, "kv_efficiency"),
            hosted,
            loose,
        ),
        StackSet(
            "megatron-2022",
            "megatron",
            "2022",
            "eager",
            PAPER,
            megatron(data),
            (*EAGER, "all_reduce_s"),
            paper,
            tile=128,
        ),
    ]


def calibrate(each: StackSet) -> dict[str, Any]:
    """The TOML table of one stack: constants in general and by GPU, spreads, errors."""
    table = each.table()
    gpus = sorted({row.gpu for row in each.rows})
    general = fit(table, **each.options)
    own: dict[str, Constants] = {}
    held = np.empty(len(table.rows))
    for gpu in gpus:
        mask = np.array([row.gpu == gpu for row in table.rows])
        part = table.pick(mask)
        own[gpu] = fit(part, **each.options)
        held[mask] = hold_out(part, models_of(part), **each.options)
    new_model = spread(held, table)
    new_gpu = (
        max(new_model, spread(hold_out(table, [r.gpu for r in table.rows], **each.options), table))
        if len(gpus) > 1
        else 0
    )
    off = np.abs(errors(table, held)) * 100
    return {
        "framework": each.framework,
        "version": each.version,
        "mode": each.mode,
        "calibrated": True,
        "spread_new_model": round(new_model, 3),
        "spread_new_gpu": round(new_gpu or 1.5 * new_model, 3),
        "spread_prompt": 0.25,
        "constants": units(general),
        "by_gpu": {gpu: units(constants) for gpu, constants in own.items()},
        "fit": {
            "source": each.source,
            "rows": len(table.rows),
            "models": len(set(models_of(table))),
            "left_out_model_error_median_percent": round(float(np.median(off)), 1),
            "left_out_model_error_p90_percent": round(float(np.quantile(off, 0.9)), 1),
        },
    }


def current(older: Constants, spread_gpu: float) -> dict[str, Any]:
    """vLLM 0.20 from 0.6.3: one factor on the overheads that meets its published gains (8B: 18%, 0.5B: 52%)."""
    gains = {"meta-llama/Llama-3.1-8B-Instruct": 0.82, "Qwen/Qwen2.5-0.5B-Instruct": 0.48}
    gpu = load_gpus()["h100-sxm"]

    def scaled(factor: float) -> Constants:
        keys = ("layer_s", "step_s", "vocab_s", "quantized_layer_s")
        changed = {key: getattr(older, key) * factor for key in keys}
        return dataclasses.replace(older, sm_bytes_s=30e9, flop_efficiency=_prompt_efficiency(), **changed)

    def misfit(factor: float) -> list[float]:
        out = []
        for name, gain in gains.items():
            times = [
                decode_step_s(make_setup(get_model(name), gpu, 1, "bf16", c), 1024) for c in (older, scaled(factor))
            ]
            out.append(float(np.log(times[1] / times[0] / gain)))
        return out

    best = minimize_scalar(lambda f: sum(x * x for x in misfit(f)), bounds=(0.05, 1.0), method="bounded").x
    width = float(np.sqrt(spread_gpu**2 + max(abs(x) for x in misfit(best)) ** 2 + 0.1**2))
    return {
        "framework": "vllm",
        "version": "0.20",
        "mode": "graph",
        "calibrated": False,
        "spread_new_model": round(width, 3),
        "spread_new_gpu": round(1.25 * width, 3),
        "spread_prompt": 0.35,
        "constants": units(scaled(best)),
        "fit": {
            "source": "vllm-0.6.3, overheads scaled to the published gains of 0.20 over 0.7.3 (8B, 0.5B); prompt speed of an H100",
            "overhead_factor": round(float(best), 3),
        },
    }


def _prompt_efficiency() -> float:
    """Share of an H100's peak in encoding prompts under a current vLLM, from what 1,920 more tokens cost.

    Qwen3-8B, bf16, concurrency 1, 95th percentile of the time to the first token at 128 and 2,048 tokens: 14.2 and 61.3 ms
    (silybench-data, CC BY 4.0, run of 2026-09-24, vLLM 0.30).
    """
    model = get_model("Qwen/Qwen3-8B")
    gpu = load_gpus()["h100-sxm"]
    few, many = (prefill_terms(make_setup(model, gpu, 1, "bf16", PRIOR), p) for p in (128, 2048))
    attention = (many["attention"] - few["attention"]) / PRIOR.attention_efficiency
    return (many["flops"] - few["flops"]) / ((61.3 - 14.2) * 1e-3 - attention)


def units(constants: Constants) -> dict[str, Any]:
    """Constants in the file's units, three digits."""
    out: dict[str, Any] = {}
    for key, value in dataclasses.asdict(constants).items():
        if isinstance(value, bool) or key == "tile":
            out[key] = value
        elif key == "sm_bytes_s":
            out["sm_gb_s"] = _digits(value * 1e-9)
        elif key in ("scan_s", "vocab_s"):
            out[key.removesuffix("_s") + "_ns"] = _digits(value * 1e9)
        elif key.endswith("_s"):
            out[key.removesuffix("_s") + "_us"] = _digits(value * 1e6)
        else:
            out[key] = _digits(value)
    return out


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def to_toml(stacks: Mapping[str, Mapping[str, Any]]) -> str:
    """The stacks file."""
    lines = [
        "# Constants of software stacks, fitted by benchmarks/calibrate_stacks.py: do not edit by hand.",
        "# us: microseconds, ns: nanoseconds; times per layer and context token at an H100's clock. spread_*: 90% half-width",
        "# of the error, log scale, for an unseen model on a measured GPU, an unseen GPU, and prompt processing alone.",
    ]
    for key, stack in stacks.items():
        lines += ["", f'["{key}"]', *_pairs(stack)]
        for part in ("constants", "fit"):
            lines += ["", f'["{key}".{part}]', *_pairs(stack[part])]
        for gpu, own in stack.get("by_gpu", {}).items():
            changed = {k: v for k, v in own.items() if v != stack["constants"][k]}
            lines += ["", f'["{key}".by_gpu.{gpu}]', *_pairs(changed)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return f'"{value}"' if isinstance(value, str) else repr(value)

    return [f"{key} = {text(value)}" for key, value in table.items() if not isinstance(value, dict)]


def all_stacks(data: Path) -> dict[str, dict[str, Any]]:
    """Every stack of the file, the newest vLLM first."""
    fitted = {each.id: calibrate(each) for each in stack_sets(data)}
    older = next(each for each in stack_sets(data) if each.id == "vllm-0.6.3")
    newest = current(fit(older.table(), **older.options), fitted["vllm-0.5"]["spread_new_gpu"])
    sglang = {
        **newest,
        "framework": "sglang",
        "version": "0.4",
        "fit": {"source": "not measured here: the constants of vllm-0.20"},
    }
    return {"vllm-0.20": newest, **fitted, "sglang-0.4": sglang}


def main() -> int:
    """Fit every stack, print its errors, write the file when asked to."""
    parser = argparse.ArgumentParser(description="fit the constants of reference_profiles/stacks.toml")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("-o", "--output", type=Path, help="the stacks.toml to write; none: print it")
    arguments = parser.parse_args()
    stacks = all_stacks(arguments.data)
    for key, stack in stacks.items():
        print(f"{key:<18} " + ", ".join(f"{k} {v}" for k, v in stack["fit"].items() if k != "source"))
    if arguments.output:
        arguments.output.write_text(to_toml(stacks), encoding="utf-8")
    else:
        print(to_toml(stacks))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
