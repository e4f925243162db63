"""What an answer is, and where measured A100 times are from: the project's fitted profiles, or a folder of measurements."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracewrap.errors import ConfigurationError
from tracewrap.formats.profile_drawing import Chart
from tracewrap.runtime.files import read_json, reference_folder
from tracewrap.runtime.stack import ReferenceStack

Row = dict[str, Any]
Seconds = Mapping[tuple[int, int], float]
"""Runtime by (input, output tokens)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One page. ``columns``: of ``rows``, as ``page.table`` takes them. ``use``: the one sentence to act on, with which the page ends.

    ``source``: what the figures are computed from.
    """

    question: str
    method: str
    columns: str
    rows: Sequence[Row]
    found: Sequence[str]
    use: str
    source: str
    charts: Sequence[Chart] = field(default=())
    skipped: Sequence[str] = field(default=())


PAPER_STACK = "a100-sxm-80gb_megatron-fp16.json"
NOISE = 0.0025
"""Relative deviation of a point of the A100 logs: what is added to fitted times that stand in for measured ones."""
_SHORT = (1, 16, 32, 64, 128, 192, 256, 320, 384, 428, 472, 512, 576, 640, 704, 768, 832, 896, 960, 1024)
INPUTS: tuple[int, ...] = (*_SHORT, 1152, 1280, 1408, 1536, 1664, 1792, 1920)
OUTPUTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
"""The grid that the paper measured."""
MEASURED = {
    "gptj_6b": "EleutherAI/gpt-j-6b",
    "ai21_j1_large": "ai21/j1-large",
    "ai21_j1_grande": "ai21/j1-grande",
    "anthropic": "anthropic/stanford-online-all-v4-s3",
    "yalm": "yandex/yalm-100b",
    "bloom": "bigscience/bloom",
    "openai_davinci": "openai/davinci",
    "ai21_j1_jumbo": "ai21/j1-jumbo",
    "mt_nlg": "microsoft/TNLGv2_530B",
}
"""Architectures of the A100 measurements and their models on the reference stack; of ``mt_nlg`` a third of the layers was measured."""


def paper_stack() -> ReferenceStack:
    """The paper's models, refitted: part of the project."""
    return ReferenceStack.from_dict(read_json(reference_folder() / PAPER_STACK), PAPER_STACK)


def grids(data: Path | None) -> tuple[dict[str, Seconds], str]:
    """Seconds of the nine measured architectures on the paper's grid, and what they are.

    *data*: the folder that holds ``helm-efficiency``. Without it the fitted profiles with the measurements' noise: then the form
    of T is given, and errors are those of choosing and fitting alone.
    """
    if data is not None:
        return _measured(
            data / "helm-efficiency" / "megatron_a100.csv"
        ), "measured on A100 (arXiv 2305.02440), 2,430 points"
    stack, dice = paper_stack(), random.Random(7)
    out: dict[str, Seconds] = {}
    for model in MEASURED.values():
        profile = stack.profiles[model]
        out[model] = {(p, o): profile.runtime(p, o) * (1.0 + dice.gauss(0.0, NOISE)) for p in INPUTS for o in OUTPUTS}
    return out, "the project's fitted profiles of nine measured models, with the 0.25% noise of a measured point"


def _measured(path: Path) -> dict[str, Seconds]:
    if not path.is_file():
        raise ConfigurationError(
            f"--data: no file {path}; give the folder that holds helm-efficiency, or leave --data out"
        )
    out: dict[str, dict[tuple[int, int], float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            factor = 3.0 if row["model"] == "mt_nlg" else 1.0
            point = (int(row["input_tokens"]), int(row["output_tokens"]))
            out.setdefault(MEASURED[row["model"]], {})[point] = factor * float(row["runtime_s"])
    return dict(out)


def quantile(values: Sequence[float], share: float) -> float:
    """The *share* quantile, by linear interpolation."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return quantile(values, 0.5)
