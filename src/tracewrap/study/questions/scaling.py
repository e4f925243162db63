"""Imperfect scaling with accelerators: measured efficiency against n, and what the analytic form makes of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tracewrap.errors import ConfigurationError
from tracewrap.formats.profile_drawing import Chart, Series
from tracewrap.runtime.roofline.architectures import get_model
from tracewrap.runtime.roofline.estimating import prepare
from tracewrap.runtime.roofline.gpus import get_gpu
from tracewrap.runtime.roofline.scaling import request_s
from tracewrap.study.questions.answer import Answer, Row, median

QUESTION = "How imperfect is scaling over accelerators, for one request?"
SOURCE = "argonne-lcf/LLM-Inference-Bench (BSD-3-Clause), batch 1, 128 to 2048 tokens in and as many out, models of 7B and 8B"
PUBLISHED: tuple[tuple[str, str, int, int, float, float, float], ...] = (
    ("Nvidia A100 GPU", "TensorRT-LLM", 2, 15, 0.769, 0.75, 0.79),
    ("Nvidia A100 GPU", "TensorRT-LLM", 4, 15, 0.543, 0.47, 0.57),
    ("Nvidia A100 GPU", "vLLM", 2, 15, 0.735, 0.71, 0.78),
    ("Nvidia A100 GPU", "vLLM", 4, 10, 0.514, 0.50, 0.54),
    ("Nvidia H100 GPU", "TensorRT-LLM", 2, 16, 0.685, 0.65, 0.72),
    ("Nvidia H100 GPU", "TensorRT-LLM", 4, 16, 0.438, 0.40, 0.47),
    ("Nvidia H100 GPU", "vLLM", 2, 25, 0.623, 0.58, 0.63),
    ("Nvidia H100 GPU", "vLLM", 4, 25, 0.336, 0.31, 0.41),
    ("AMD MI300X GPU", "vLLM", 2, 30, 0.509, 0.45, 0.74),
    ("AMD MI300X GPU", "vLLM", 4, 30, 0.249, 0.23, 0.51),
    ("AMD MI300X GPU", "vLLM", 8, 25, 0.153, 0.12, 0.32),
)
"""Medians of that table's rows: GPU, framework, n, pairs of rows, efficiency T(1) / (n T(n)): median, least, most."""
STACKS = {
    ("Nvidia A100 GPU", "TensorRT-LLM"): "a100-sxm-40gb:trtllm-0.10",
    ("Nvidia A100 GPU", "vLLM"): "a100-sxm-40gb:vllm-0.6",
    ("Nvidia H100 GPU", "TensorRT-LLM"): "h100-sxm:trtllm-0.10",
    ("Nvidia H100 GPU", "vLLM"): "h100-sxm:vllm-0.6",
    ("AMD MI300X GPU", "vLLM"): "mi300x:vllm-rocm",
}
MODEL, TOKENS = "meta-llama/Llama-3.1-8B-Instruct", 512


METHOD = (
    "Efficiency: T(1) / (n T(n)) of one request, medians over models and lengths; analytic: an 8B model at 512 tokens in and out, "
    "with the "
    "constants of the engines of that time. Faster: what n GPUs gain over one."
)


def answer(data: Path | None) -> Answer:
    """Measured and analytic efficiency by GPU, framework and n; and a model that needs several GPUs anyway."""
    published = PUBLISHED if data is None else measured(data / "argonne" / "batch1.csv")
    rows: list[Row] = []
    for gpu, framework, n, pairs, middle, least, most in published:
        row: Row = {"gpu": gpu.replace(" GPU", ""), "framework": framework, "n": n, "pairs": pairs, "measured": middle}
        row |= {"least": least, "most": most, "analytic": _analytic(STACKS[gpu, framework], MODEL, n)}
        rows.append(row | {"faster": n * middle})
    large: list[Row] = []
    for n in (2, 4, 8):
        efficiency = _analytic("h100-sxm:vllm", "meta-llama/Llama-3.3-70B-Instruct", n, base=2)
        large.append(
            {"gpu": "H100", "framework": "70B on vLLM today, against 2", "n": n, "analytic": efficiency, "faster": None}
        )
    two, four = (median([r["measured"] for r in rows if r["n"] == n]) for n in (2, 4))
    error = median([abs(r["analytic"] / r["measured"] - 1) for r in rows])
    slower = [f"{r['n']} x {r['gpu']} with {r['framework']}" for r in rows if r["faster"] < 1.05]
    return Answer(
        QUESTION,
        METHOD,
        "gpu=GPU;framework=framework;n=GPUs|#;pairs=pairs|#;measured=measured|3;least=least|3;most=most|3;analytic=analytic|3;faster=faster|x2",
        [*rows, *large],
        [
            f"Two GPUs give {two:.0%} and four {four:.0%} of n times one at the median: a token of a small model is mostly launching and "
            "synchronising, which splitting does not shorten.",
            f"The analytic form is {error:.0%} off the measured efficiency at the median."
            + (f" Hardly or not at all faster than one: {', '.join(slower)}." if slower else ""),
            f"A 70B model splits better: 4 H100 give {large[1]['analytic']:.0%} of twice what 2 give.",
        ],
        "Split a model only as far as its memory needs; for one request at a time every doubling beyond that pays at most half in speed "
        "and all of it in dollars.",
        SOURCE + ("; medians" if data is None else "; computed from the rows"),
        [_chart(rows)],
    )


def _chart(rows: Sequence[Row]) -> Chart:
    return Chart(
        series=[
            Series(
                points=[
                    (1.0, 1.0),
                    *((float(r["n"]), r["measured"]) for r in rows if (r["gpu"], r["framework"]) == key),
                ],
                name=f"{key[0]}, {key[1]}",
            )
            for key in dict.fromkeys((r["gpu"], r["framework"]) for r in rows)
        ],
        title="Measured efficiency, 7B and 8B models",
        x_label="GPUs",
        y_label="of n times one",
        zero=True,
    )


def measured(path: Path) -> tuple[tuple[str, str, int, int, float, float, float], ...]:
    """The rows of ``PUBLISHED`` from the table itself."""
    if not path.is_file():
        raise ConfigurationError(f"--data: no file {path}; give the folder that holds argonne, or leave --data out")
    cells: dict[tuple[str, ...], dict[int, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for r in csv.DictReader(file):
            if r["e2e_s"]:
                key = (r["gpu"], r["framework"], r["model"], r["precision"], r["input_tokens"], r["output_tokens"])
                cells.setdefault(key, {})[int(r["n_gpus"])] = float(r["e2e_s"])
    found: dict[tuple[str, str, int], list[float]] = {}
    for (gpu, framework, *_), times in cells.items():
        for n in times if 1 in times else ():
            found.setdefault((gpu, framework, n), []).append(times[1] / (n * times[n]))
    out = []
    for gpu, framework, n, *_ in PUBLISHED:
        each = found[gpu, framework, n]
        out.append((gpu, framework, n, len(each), median(each), min(each), max(each)))
    return tuple(out)


def _analytic(stack: str, model: str, n: int, base: int = 1) -> float:
    """Efficiency of *n* GPUs against *base* of them."""
    gpu, _, engine = stack.partition(":")
    few, many = (prepare(get_model(model), get_gpu(gpu), n_gpus=k, stack=engine)[0] for k in (base, n))
    return base * request_s(few, TOKENS, TOKENS) / (n * request_s(many, TOKENS, TOKENS))
