"""Fitting the analytic profile's constants to measured rows: readers of the data, terms as arrays, robust fit.

Constants minimise a robust relative error with a wide log-normal prior around values of the right physical size, so that
a constant which the data do not show keeps a sane value. Used by ``calibrate_stacks.py`` and ``analytic.py``.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import make_setup
from tracewrap.runtime.roofline.gpus import load_gpus
from tracewrap.runtime.roofline.terms import Constants, decode_terms, prefill_terms

ARGONNE_GPUS = {
    "Nvidia A100 GPU": "a100-sxm-40gb",
    "Nvidia H100 GPU": "h100-sxm",
    "Nvidia GH200 GPU": "gh200",
    "AMD MI300X GPU": "mi300x",
    "AMD MI250 GPU": "mi250-gcd",
}
PRIOR = Constants(
    bandwidth_efficiency=0.85,
    sm_bytes_s=30e9,
    flop_efficiency=0.55,
    attention_efficiency=0.35,
    layer_s=30e-6,
    step_s=500e-6,
    first_s=3e-3,
    all_reduce_s=12e-6,
    kv_efficiency=0.7,
    scan_s=1e-9,
    moe_layer_s=30e-6,
    vocab_s=1e-9,
    quantized_layer_s=2e-6,
)
SIGMA = {  # prior standard deviations of the logarithms
    "bandwidth_efficiency": 0.06,
    "flop_efficiency": 0.3,
    "attention_efficiency": 0.5,
    "layer_s": 0.7,
    "step_s": 0.4,
    "first_s": 1.0,
    "all_reduce_s": 0.5,
    "kv_efficiency": 0.2,
    "scan_s": 2.0,
    "moe_layer_s": 0.7,
    "vocab_s": 1.5,
    "quantized_efficiency": 0.1,
    "quantized_flop_efficiency": 0.3,
    "quantized_layer_s": 1.5,
    "launch_s": 1.0,
}
GRAPH = tuple(key for key in SIGMA if key != "launch_s" and not key.startswith("quantized"))
QUANTIZED = tuple(key for key in SIGMA if key != "launch_s")
NOISE = 0.03
COLUMNS = (
    *("wide", "narrow", "experts", "launch", "layer", "narrow_layer", "moe_layer", "pass", "vocab", "all_reduce"),
    *("kv", "scan", "flops", "narrow_flops", "attention", "first", "given"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: model shape, where, token counts, seconds end to end."""

    model: str
    architecture: Architecture
    gpu: str
    n_gpus: int
    precision: str
    p: int
    o: int
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as arrays: terms of prefill and of the mean decode step."""

    rows: tuple[Row, ...]
    prefill: NDArray[np.float64]
    decode: NDArray[np.float64]
    steps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    bandwidth: NDArray[np.float64]
    multiprocessors: NDArray[np.float64]

    def pick(self, mask: NDArray[np.bool_]) -> Table:
        """The rows where *mask* holds."""
        rows = tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep)
        arrays = (self.prefill, self.decode, self.steps, self.seconds, self.bandwidth, self.multiprocessors)
        return Table(rows, *(a[mask] for a in arrays))


def tabulate(rows: Iterable[Row], tile: int = 1, pipeline: bool = False) -> Table:
    """Terms of every row; prompt lengths padded to *tile*."""
    kept = tuple(rows)
    gpus = load_gpus()
    base = dataclasses.replace(PRIOR, pipeline=pipeline)
    prefill, decode = [], []
    for row in kept:
        setup = make_setup(row.architecture, gpus[row.gpu], row.n_gpus, row.precision, base)
        padded = -(-row.p // tile) * tile
        first, later = prefill_terms(setup, padded), decode_terms(setup, row.p + row.o / 2)
        prefill.append([first.get(key, 0.0) for key in COLUMNS])
        decode.append([later.get(key, 0.0) for key in COLUMNS])
    return Table(
        kept,
        np.array(prefill),
        np.array(decode),
        np.array([row.o - 1.0 for row in kept]),
        np.array([row.seconds for row in kept]),
        np.array([gpus[row.gpu].bandwidth_bytes_s for row in kept]),
        np.array([float(gpus[row.gpu].sm_count) for row in kept]),
    )


def predict(table: Table, c: Constants) -> NDArray[np.float64]:
    """Seconds of every row: the array form of ``roofline_terms.seconds``."""
    return _pass(table.prefill, table, c) + table.steps * _pass(table.decode, table, c)


def _pass(terms: NDArray[np.float64], table: Table, c: Constants) -> NDArray[np.float64]:
    speed = np.minimum(table.bandwidth * c.bandwidth_efficiency, table.multiprocessors * c.sm_bytes_s)
    t = dict(zip(COLUMNS, terms.T, strict=True))
    expert_speed = c.expert_efficiency * np.where(t["narrow_layer"] > 0, c.quantized_efficiency, 1.0)
    device = (t["wide"] + t["narrow"] / c.quantized_efficiency + t["experts"] / expert_speed) / speed
    device = device + t["layer"] * c.layer_s + t["narrow_layer"] * c.quantized_layer_s + t["moe_layer"] * c.moe_layer_s
    device = (
        device
        + t["pass"] * c.step_s
        + t["vocab"] * c.vocab_s
        + t["all_reduce"] * c.all_reduce_s
        + t["kv"] / c.kv_efficiency
    )
    device = device + t["scan"] * c.scan_s + t["flops"] / c.flop_efficiency + t["attention"] / c.attention_efficiency
    device = device + t["narrow_flops"] / (c.flop_efficiency * c.quantized_flop_efficiency)
    device = device + t["first"] * c.first_s + t["given"]
    host = t["launch"] * c.launch_s
    return np.asarray((device**4 + host**4) ** 0.25)


def fit(
    table: Table, names: Sequence[str] = GRAPH, prior: Constants = PRIOR, sigma: Mapping[str, float] = SIGMA
) -> Constants:
    """The constants *names* fitted to *table* in relative error (soft L1), the others left at *prior*."""
    start = np.log([getattr(prior, name) for name in names])
    widths = np.array([sigma[name] for name in names])

    def constants(x: NDArray[np.float64]) -> Constants:
        values = {name: float(np.exp(v)) for name, v in zip(names, x, strict=True)}
        for key in values:
            if key.endswith("efficiency") and not key.startswith("quantized"):
                values[key] = min(values[key], 0.98)
        return dataclasses.replace(prior, **values)

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        error = np.log(predict(table, constants(x)) / table.seconds) / NOISE
        robust = np.sign(error) * np.sqrt(2 * (np.sqrt(1 + error**2) - 1))
        return np.concatenate([robust, (x - start) / widths])

    return constants(least_squares(residuals, start, x_scale=widths, max_nfev=60).x)


def argonne(data: Path, framework: str, gpus: Iterable[str], least: int = 129) -> list[Row]:
    """Consistent rows with input and output longer than 128 tokens."""
    wanted = {name: ARGONNE_GPUS[name] for name in ARGONNE_GPUS if ARGONNE_GPUS[name] in set(gpus)}
    rows = []
    for r in _read(data / "argonne" / "batch1.csv"):
        if r["framework"] != framework or r["gpu"] not in wanted or not 0.9 < float(r["consistency"] or 0) < 1.1:
            continue
        p, o, seconds = int(r["input_tokens"]), int(r["output_tokens"]), float(r["e2e_s"])
        if p < least or seconds / o < 1e-3:
            continue
        rows.append(Row(r["model"], _shape(r["model"]), wanted[r["gpu"]], int(r["n_gpus"]), "fp16", p, o, seconds))
    return rows


def qwen(data: Path, framework: str) -> list[Row]:
    """Rows of the Qwen2.5 speed table; its speed is output tokens over the whole time."""
    rows = []
    names = {"BF16": "bf16", "GPTQ-Int8": "int8", "GPTQ-Int4": "int4", "AWQ": "int4"}
    for r in _read(data / "qwen2.5" / "speed_a100.csv"):
        if r["framework"].startswith(framework) and r["speed"]:
            o = int(r["output_tokens"])
            note = "" if framework == "Transformers" else r["note"]
            where = ("a100-sxm-80gb", int(r["n_gpus"]), names[r["precision"]])
            shape = get_model(r["model"])
            rows.append(Row(r["model"], shape, *where, int(r["input_tokens"]), o, o / float(r["speed"]), note))
    return rows


def megatron(data: Path) -> list[Row]:
    """The paper's nine architectures on A100; TNLG with the 35 layers that were measured."""
    rows = []
    for r in _read(data / "helm-efficiency" / "megatron_a100.csv"):
        hidden, heads, ffn = int(r["hidden_size"]), int(r["num_attention_heads"]), int(r["ffn_hidden_size"])
        shape = Architecture(
            id=r["model"],
            layers=int(r["num_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=heads,
            head_dim=hidden // heads,
            ffn=ffn,
            vocab=50304,
            context=2048,
            gated=ffn < 3 * hidden,  # YaLM's narrower block is a gated one
            tied=True,
            precision="fp16",
        )
        p, o, seconds = int(r["input_tokens"]), int(r["output_tokens"]), float(r["runtime_s"])
        rows.append(Row(r["model"], shape, "a100-sxm-80gb", int(r["n_gpus"]), "fp16", p, o, seconds))
    return rows


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shape(name: str) -> Architecture:
    extra = {"BAAI/Aquila-7B": ("huggyllama/llama-7b", 100008)}
    if name in extra:
        like, vocab = extra[name]
        return dataclasses.replace(get_model(like), id=name, vocab=vocab, parameters=None)
    return get_model(re.sub(r"^mistralai/Mistral-7B-v0.1$", "mistralai/Mistral-7B-Instruct-v0.2", name))


def errors(table: Table, predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed relative errors."""
    return np.asarray(predicted / table.seconds - 1.0)


def hold_out(table: Table, groups: Sequence[str], **options: Any) -> NDArray[np.float64]:
    """Predictions of each group of rows by constants fitted to the other groups."""
    labels = np.array(groups)
    out = np.empty(len(table.rows))
    for label in dict.fromkeys(groups):
        constants = fit(table.pick(labels != label), **options)
        out[labels == label] = predict(table.pick(labels == label), constants)
    return out


def models_of(table: Table) -> list[str]:
    """The model of each row."""
    return [row.model for row in table.rows]


def spread(predicted: NDArray[np.float64], table: Table) -> float:
    """90% half-width of the error on the log scale."""
    return float(np.quantile(np.abs(np.log(predicted / table.seconds)), 0.9))
