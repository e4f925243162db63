"""Measured servers as rows: readers of the public tables beside the project (``../shared/data``)."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracewrap.errors import TracewrapError
from tracewrap.runtime.roofline.architecture import Architecture
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import resolve_precision

ARGONNE_GPUS = {
    "Nvidia A100 GPU": "a100-sxm-40gb",
    "Nvidia H100 GPU": "h100-sxm",
    "Nvidia GH200 GPU": "gh200",
    "AMD MI300X GPU": "mi300x",
    "AMD MI250 GPU": "mi250-gcd",
}
ARGONNE_STACKS = {
    "vLLM": "vllm-0.5",
    "TensorRT-LLM": "trtllm-0.10",
    "Deepspeed-MII": "deepspeed-mii-2024",
    "llama.cpp": "llamacpp-2024",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number: model shape, where it ran, token counts, requests in flight, seconds.

    ``quantity``: ``total`` (end to end), ``first`` (to the first token) or ``token`` (per further output token).
    ``data``: the table it is from. ``note``: engine settings where they differ.
    """

    data: str
    model: str
    architecture: Architecture
    gpu: str
    n_gpus: int
    stack: str
    precision: str
    p: int
    o: int
    concurrency: float
    quantity: str
    seconds: float
    note: str = ""

    @property
    def kind(self) -> str:
        """``mixture`` or ``dense``."""
        return "mixture" if self.architecture.is_moe else "dense"


def argonne(data: Path, least: int = 129) -> list[Row]:
    """LLM-Inference-Bench: batch 1, end to end; consistent rows with input and output longer than 128 tokens."""
    rows = []
    for r in _read(data / "argonne" / "batch1.csv"):
        if r["framework"] not in ARGONNE_STACKS or r["gpu"] not in ARGONNE_GPUS:
            continue
        p, o, seconds = int(r["input_tokens"]), int(r["output_tokens"]), float(r["e2e_s"])
        if not 0.9 < float(r["consistency"] or 0) < 1.1 or p < least or seconds / o < 1e-3:
            continue
        gpu, stack = ARGONNE_GPUS[r["gpu"]], ARGONNE_STACKS[r["framework"]]
        if gpu.startswith("mi"):
            if r["framework"] != "vLLM":  # llama.cpp's early AMD build, two to five times slower than anything since
                continue
            stack = "vllm-rocm-0.5"
        where = (gpu, int(r["n_gpus"]), stack, "fp16")
        rows.append(Row("argonne", r["model"], _shape(r["model"]), *where, p, o, 1.0, "total", seconds))
    return rows


def qwen(data: Path) -> list[Row]:
    """The Qwen2.5 speed table; its speed is output tokens over the whole time."""
    rows = []
    precisions = {"BF16": "bf16", "GPTQ-Int8": "int8", "GPTQ-Int4": "int4", "AWQ": "int4"}
    for r in _read(data / "qwen2.5" / "speed_a100.csv"):
        hosted = r["framework"].startswith("Transformers")
        if not r["speed"] or (hosted and r["precision"] != "BF16"):
            continue
        o, note = int(r["output_tokens"]), "" if hosted or r["note"] == "Default" else r["note"]
        stack = "transformers-4.46" if hosted else "vllm-0.6.3"
        where = ("a100-sxm-80gb", int(r["n_gpus"]), stack, precisions[r["precision"]])
        seconds = o / float(r["speed"])
        rows.append(
            Row(
                "qwen2.5",
                r["model"],
                get_model(r["model"]),
                *where,
                int(r["input_tokens"]),
                o,
                1.0,
                "total",
                seconds,
                note,
            )
        )
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
        where = ("a100-sxm-80gb", int(r["n_gpus"]), "megatron-2022", "fp16")
        rows.append(Row("paper", r["model"], shape, *where, p, o, 1.0, "total", seconds))
    return rows


FASTER = 0.9
"""A time per token this share or less of the same server's at a shorter output is not a decode step's."""


def serving(data: Path) -> list[Row]:
    """Servers of 2023 to 2026: first token and time per token where given, else end to end; without ``left_out``."""
    rows = []
    table = serving_table(data)
    several, twice = left_out(table)
    for i, r in enumerate(table):
        if i in twice:
            continue
        if i in several:
            r = {**r, "time_per_output_token_s": ""}
        shape = get_model(r["model"])
        where = (r["gpu"], int(r["n_gpus"]), r["stack"], resolve_precision(shape, r["precision"]))
        case = (int(r["input_tokens"]), int(r["output_tokens"]), max(1.0, round(float(r["concurrency"]), 1)))
        measured = {"first": r["ttft_s"], "token": r["time_per_output_token_s"], "total": r["end_to_end_s"]}
        if measured["first"] or measured["token"]:
            measured["total"] = ""
        for quantity, value in measured.items():
            if value:
                rows.append(Row("serving", r["model"], shape, *where, *case, quantity, float(value), r["source"]))
    return rows


def serving_table(data: Path) -> list[dict[str, str]]:
    """The table of served models as it is."""
    return _read(data / "serving" / "latency.csv")


def left_out(table: Sequence[Mapping[str, str]]) -> tuple[set[int], set[int]]:
    """Rows whose time per token is of another kind, and rows that repeat another, by index.

    The first: servers that draft several tokens a step. No file says so, but a longer output, so a longer context, cannot make
    a step shorter, while drafts are accepted the more the longer the output: where it takes ``FASTER`` or less, that server's
    times per token (those of the same rank where two servers share a name) are left out, and those of the same software,
    model, precision and card where every comparison shows it. The second: one measurement listed under two numbers of GPUs,
    of which the smaller is kept.
    """
    name = ("source", "model", "gpu", "stack", "precision", "concurrency")
    cells: dict[tuple[str, ...], dict[tuple[int, int], list[float]]] = {}
    for r in table:
        if r["time_per_output_token_s"]:
            sizes = int(r["input_tokens"]), int(r["output_tokens"])
            cell = cells.setdefault((*(r[key] for key in name), r["n_gpus"]), {}).setdefault(sizes, [])
            if float(r["time_per_output_token_s"]) not in cell:
                cell.append(float(r["time_per_output_token_s"]))
    drafting, compared = set(), {}
    for server, cell in cells.items():
        for (p, o), values in cell.items():
            for (q, longer), others in cell.items():
                if p == q and longer > o and len(values) == len(others):
                    for rank, (x, y) in enumerate(zip(sorted(values), sorted(others), strict=True)):
                        compared.setdefault(server[:-1], []).append(y <= FASTER * x)
                        drafting |= {(server, rank)} if y <= FASTER * x else set()
    every = {software for software, found in compared.items() if all(found)}
    several = set()
    for i, r in enumerate(table):
        server = (*(r[key] for key in name), r["n_gpus"])
        if r["time_per_output_token_s"]:
            cell = sorted(cells[server][int(r["input_tokens"]), int(r["output_tokens"])])
            if server[:-1] in every or (server, cell.index(float(r["time_per_output_token_s"]))) in drafting:
                several.add(i)
    return several, _twice(table)


def _twice(table: Sequence[Mapping[str, str]]) -> set[int]:
    """Rows that are equal to another one but for a larger number of GPUs, in every number that was measured."""
    least: dict[tuple[str, ...], int] = {}
    keys = [tuple(value for key, value in r.items() if key != "n_gpus") for r in table]
    for key, r in zip(keys, table, strict=True):
        least[key] = min(int(r["n_gpus"]), least.get(key, int(r["n_gpus"])))
    return {i for i, (key, r) in enumerate(zip(keys, table, strict=True)) if int(r["n_gpus"]) > least[key]}


def everything(data: Path) -> list[Row]:
    """All rows that constants are fitted to: every table, Qwen2.5 with its default engine settings up to 32k tokens."""
    default = [row for row in qwen(data) if row.note in ("", "Default") and row.p <= 32768]
    return [*argonne(data), *default, *megatron(data), *serving(data)]


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Rows without exact repetitions: some tables list one measurement twice."""
    return list(dict.fromkeys(rows))


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shape(name: str) -> Architecture:
    """The shape of a model of LLM-Inference-Bench; Aquila-7B is Llama-7B with another vocabulary."""
    name = name.replace("Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.2")
    if name == "BAAI/Aquila-7B":
        return dataclasses.replace(get_model("huggyllama/llama-7b"), id=name, vocab=100008, parameters=None)
    try:
        return get_model(name)
    except TracewrapError:
        return get_model(re.sub(r"^mistralai/Mistral-7B-v0.1$", "mistralai/Mistral-7B-Instruct-v0.2", name))
